"""What was found about a network, as a folder of files that can be read again: tables, samples, figures, page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from poolscope.report import panels, save_panels, summary, write_report
from poolscope.sensitivity import Result, read_result

if TYPE_CHECKING:
    import pandas as pd

_TABLES = ("shares", "contrasts", "spectrum")
_MODELS = ("model", "first", "second")  # columns with names of models: contrasts of models have them in the last two


@dataclass
class Findings:
    """Tables and samples of one network, or of several side by side.

    Tables of a single amplitude, as ``measure`` and ``compare`` make them, are given its columns ``displacement`` and
    ``cutoff`` from the record, so that they stand beside those of several; contrasts of models, which belong to none
    of them, an empty ``model``.

    Attributes:
        results: D, G, R of every layer and variant.
        record: how it was measured.
        shares: the table of ``pooling_share``, if channels were shuffled.
        contrasts: paired log ratios of R between variants or models, if there are several.
        spectrum: the table of ``filter_spectrum``, if filters were looked at.
        samples: the first images, deformed and noisy ones, ``[n, C, H, W]`` each.
        remarks: sentences of the page that no table holds.
    """

    results: pd.DataFrame
    record: dict[str, Any]
    shares: pd.DataFrame | None = None
    contrasts: pd.DataFrame | None = None
    spectrum: pd.DataFrame | None = None
    samples: tuple[Tensor, Tensor, Tensor] | None = None
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        deformation = self.record.get("deformation")
        if isinstance(deformation, dict) and {"displacement", "cutoff"} <= deformation.keys():
            amplitude = {key: deformation[key] for key in ("displacement", "cutoff")}
            self.results = _filled(self.results, amplitude)
            if self.contrasts is not None:
                self.contrasts = _filled(self.contrasts, amplitude)
        if self.contrasts is not None:
            self.contrasts = _filled(self.contrasts, {"model": ""})

    def summary(self) -> list[str]:
        """Say in plain words what was found."""
        return summary(self.results, self.shares, self.contrasts, self.spectrum, record=self.record)

    def save(self, folder: Path, title: str) -> list[Path]:
        """Write tables (Parquet), samples (safetensors), figures (PNG and PDF) and ``report.html``; return their paths.

        Args:
            folder: an existing folder.
            title: of the page.
        """
        from safetensors.torch import save

        from poolscope._files import written_whole

        record = {**self.record, "remarks": self.remarks} if self.remarks else self.record
        paths = [Result(self.results, record).save(folder / "measurement.parquet")]
        for name in _TABLES:
            table = getattr(self, name)
            if table is not None:
                paths.append(Result(table, {"of": self.record.get("model")}).save(folder / f"{name}.parquet"))
        if self.samples is not None:
            names = ("images", "moved", "noisy")
            named = {name: part.contiguous() for name, part in zip(names, self.samples, strict=True)}
            with written_whole(folder / "samples.safetensors") as temporary:
                temporary.write_bytes(save(named))
            paths.append(folder / "samples.safetensors")
        paths += save_panels(
            panels(self.results, shares=self.shares, spectrum=self.spectrum, samples=self.samples), folder
        )
        paths.append(
            write_report(
                folder / "report.html",
                title=title,
                results=self.results,
                record=self.record,
                shares=self.shares,
                contrasts=self.contrasts,
                spectrum=self.spectrum,
                samples=self.samples,
                remarks=self.remarks,
            )
        )
        return paths


def _filled(table: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    """Return the table with the columns that it lacks."""
    return table.assign(**{name: value for name, value in columns.items() if name not in table})


def read_findings(path: str | Path) -> Findings:
    """Read a folder that ``Findings.save`` wrote, or a saved result alone.

    Raises:
        FileNotFoundError: no such file, or a folder without ``measurement.parquet``.
        ValueError: a file that is not a result, is cut short, or was altered.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    folder = path if path.is_dir() else None
    measured = read_result(path / "measurement.parquet" if folder else path)
    remarks = measured.record.pop("remarks", [])
    found = Findings(measured.table, measured.record, remarks=remarks)
    if folder is None:
        return found
    for name in _TABLES:
        if (folder / f"{name}.parquet").is_file():
            setattr(found, name, read_result(folder / f"{name}.parquet").table)
    samples = folder / "samples.safetensors"
    if samples.is_file():
        try:
            parts = load_file(samples)
            found.samples = (parts["images"], parts["moved"], parts["noisy"])
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"{samples} must hold images, moved and noisy, whole; {error}") from None
    return found


def side_by_side(found: Sequence[Findings], names: Sequence[str]) -> Findings:
    """Put several findings into the tables of one, each model under a name of its own.

    Args:
        found: one or more.
        names: of each, put behind the model's name where two models are called the same.
    """
    import pandas as pd

    if len(found) == 1:
        return found[0]
    found = _told_apart(found, names)
    tables: dict[str, pd.DataFrame | None] = {}
    for name in ("results", *_TABLES):
        parts = [table for each in found if (table := getattr(each, name)) is not None]
        tables[name] = pd.concat(parts, ignore_index=True) if parts else None
    records = [each.record for each in found]
    shared = {
        key: value
        for key, value in records[0].items()
        if key not in ("model", "compared") and all(record.get(key) == value for record in records)
    }
    record = {**shared, "model": _model_names(found), "reports": records}
    samples = next((each.samples for each in found if each.samples is not None), None)
    results = tables["results"]
    assert results is not None
    return Findings(results, record, tables["shares"], tables["contrasts"], tables["spectrum"], samples)


def _model_names(found: Sequence[Findings]) -> list[str]:
    return list(dict.fromkeys(str(model) for each in found for model in each.results["model"]))


def _told_apart(found: Sequence[Findings], names: Sequence[str]) -> list[Findings]:
    models = [set(each.results["model"]) for each in found]
    apart = []
    for each, own, name in zip(found, models, names, strict=True):
        twice = {model for model in own if sum(model in other for other in models) > 1}
        renamed = {model: f"{model} ({name})" for model in twice}
        tables = {
            key: table.assign(**{column: table[column].replace(renamed) for column in _MODELS if column in table})
            for key in ("results", *_TABLES)
            if (table := getattr(each, key)) is not None
        }
        apart.append(replace(each, **tables))
    return apart
