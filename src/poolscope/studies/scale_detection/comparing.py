"""Simple CNNs of several activations side by side, under both protocols of noise (figures B1 and B2, erratum 25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.report import (
    Panel,
    Section,
    Table,
    plot_noisy_errors,
    plot_pileup,
    plot_scaling,
    save_panels,
    write_page,
)
from poolscope.report.figures import spectrum_panels
from poolscope.sensitivity import Result
from poolscope.studies.scale_detection.magnitudes import under_noise
from poolscope.studies.scale_detection.run import Simple, average_shares, one_network

if TYPE_CHECKING:
    import pandas as pd

_NOISES = ("rectified", "plain")


@dataclass
class Compared:
    """Simple CNNs of several experiments on one task.

    Attributes:
        found: each experiment's results, by name.
        averages: D, G and R over seeds, below each other, ``model`` the experiment's name.
        pileup: coherent shares over seeds.
        growth: how G grows over the layers: ``model``, ``variant``, ``noise``, ``first`` and ``last``, G at the first
            and at the last layer, ``smallest``, ``largest``; ``to_reference``, the geometric mean over layers of G over
            that of the first experiment under the same noise, and ``to_rectified``, over that of the first experiment
            under rectified noise: the published picture has ReLU's G from the one and tanh's from the other.
        noisy_layers: G of each layer for plain noise of several magnitudes (of its norm to the rms of |τx - x|):
            ``model``, ``seed``, ``magnitude``, ``k``, ``G``, ``G_scaled`` = G over the square of the magnitude, the
            same at all of them where the network is linear in the noise.
        noisy_errors: ``model``, ``seed``, ``magnitude``, ``error``, ``error_se`` on all pairs of the task.
    """

    found: Mapping[str, Simple]
    averages: pd.DataFrame
    pileup: pd.DataFrame
    growth: pd.DataFrame
    noisy_layers: pd.DataFrame
    noisy_errors: pd.DataFrame

    def summary(self) -> list[tuple[str, list[str]]]:
        """Say in plain words what came out."""
        trained = self.growth[self.growth["variant"] == "trained"]
        said = [
            f"{row['model']}, {row['noise']} noise: G goes from {row['first']:.3g} at layer 1 to {row['last']:.3g} at "
            f"the last (largest over smallest {row['largest'] / row['smallest']:.2f}); geometric mean over layers "
            f"{row['to_reference']:.2f} of that of {next(iter(self.found))} under the same noise, "
            f"{row['to_rectified']:.2f} of that one's under rectified noise."
            for row in trained.to_dict("records")
        ]
        return [
            ("Noise", said),
            *[(name, lines) for name, each in self.found.items() for _, lines in each.summary()[:1]],
        ]

    def save(self, folder: Path, record: dict[str, Any]) -> list[Path]:
        """Write tables (Parquet), figures (PNG and PDF) and ``report.html``; return their paths."""
        tables = {
            "averages": self.averages,
            "pileup": self.pileup,
            "growth": self.growth,
            "noisy_layers": self.noisy_layers,
            "noisy_errors": self.noisy_errors,
        }
        paths = [Result(table, record).save(folder / f"{name}.parquet") for name, table in tables.items()]
        panels = self._panels()
        filters = [
            panel
            for name, each in self.found.items()
            for panel in spectrum_panels(one_network(each.spectrum).assign(model=name))[:1]
        ]
        filters = [
            Panel(f"filters-{name}", panel.caption, panel.size, panel.draw, panel.alt)
            for name, panel in zip(self.found, filters, strict=True)
        ]
        paths += save_panels([*panels, *filters], folder)
        names = " and ".join(self.found)
        paths.append(
            write_page(
                folder / "report.html",
                f"{names}: simple CNNs compared",
                subtitle=next(iter(self.found.values())).runs.experiment.task,
                summary=self.summary(),
                sections=[
                    Section("D, G and R by layer", panels=panels),
                    Section("The filters", panels=filters),
                    Section(
                        "The numbers", tables=[Table(name.replace("_", " "), table) for name, table in tables.items()]
                    ),
                ],
                record=record,
            )
        )
        return paths

    def _panels(self) -> list[Panel]:
        rows = self.averages[self.averages["variant"].isin(["trained", "mean_channel"])]
        first = next(iter(self.found.values()))
        theory = first.theory[first.theory["label"] == "exact, homogeneous filters"]
        panels = []
        for quantity, noise in (("D", "rectified"), *[(quantity, noise) for noise in _NOISES for quantity in "GR"]):
            shown = rows[rows["noise"] == noise]
            reference = theory if noise == "rectified" else None
            words = "" if quantity == "D" else f", {noise} noise for all"
            panels.append(
                Panel(
                    f"{quantity}-{noise}",
                    f"{quantity} by layer{words}; bands: 95 % over seeds. Grey: exact theory, homogeneous filters.",
                    (5.2, 4.4),
                    lambda ax, shown=shown, quantity=quantity, reference=reference: plot_scaling(  # type: ignore[misc]
                        shown, quantity, reference, x="k", ax=ax
                    ),
                )
            )
        panels.append(
            Panel(
                "noisy-errors",
                "Error on all pairs of the task under plain noise; magnitude: its norm to the rms of |τx - x|. Thin: "
                "seeds.",
                (5.2, 4.4),
                lambda ax: plot_noisy_errors(self.noisy_errors, ax=ax),
            )
        )
        panels.append(
            Panel(
                "pileup",
                "Share of the response to plain noise that all draws have in common.",
                (5.2, 4.4),
                lambda ax: plot_pileup(self.pileup, ax=ax),
            )
        )
        return panels


def compare(found: Mapping[str, Simple]) -> Compared:
    """Set experiments on one task side by side.

    Args:
        found: two or more, by name; the first is what the others are compared with.

    Raises:
        ValueError: fewer than two, or experiments of different tasks or depths.
    """
    import pandas as pd

    kinds = {(each.runs.experiment.task, each.runs.experiment.depth) for each in found.values()}
    if len(found) < 2 or len(kinds) > 1:
        raise ValueError(f"two or more experiments of one task and depth are needed; got {', '.join(map(str, kinds))}")
    averages = pd.concat([each.averages.assign(model=name) for name, each in found.items()], ignore_index=True)
    shares = [average_shares(each.pileup).assign(model=name) for name, each in found.items() if each.pileup is not None]
    layers, errors = _under_noise(found)
    growth = _growth(averages, next(iter(found)))
    return Compared(found, averages, pd.concat(shares, ignore_index=True), growth, layers, errors)


def _under_noise(found: Mapping[str, Simple]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return G by layer and errors under plain noise of several magnitudes."""
    import pandas as pd

    layers, errors = zip(*(under_noise(each.runs, name=name) for name, each in found.items()), strict=True)
    return pd.concat(layers, ignore_index=True), pd.concat(errors, ignore_index=True)


def _growth(averages: pd.DataFrame, reference: str) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    rows = []
    for (model, variant, noise), part in averages.groupby(["model", "variant", "noise"], sort=False):
        part = part.sort_values("k")
        of = {
            kind: averages[
                (averages["model"] == reference) & (averages["variant"] == variant) & (averages["noise"] == kind)
            ].sort_values("k")
            for kind in {noise, "rectified"}
        }
        ratio = {
            kind: float(np.exp(np.log(part["G"].to_numpy() / rows_["G"].to_numpy()).mean()))
            for kind, rows_ in of.items()
        }
        rows.append(
            {
                "model": model,
                "variant": variant,
                "noise": noise,
                "first": part["G"].iloc[0],
                "last": part["G"].iloc[-1],
                "smallest": part["G"].min(),
                "largest": part["G"].max(),
                "to_reference": ratio[noise],
                "to_rectified": ratio["rectified"],
            }
        )
    return pd.DataFrame(rows)
