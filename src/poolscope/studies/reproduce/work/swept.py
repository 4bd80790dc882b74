"""R of a trained network and of its initial weights on the same perturbed images, over displacements and cutoffs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poolscope.perturb import Deformation, Diffeomorphism
from poolscope.sensitivity import Result
from poolscope.sensitivity.comparing import log_ratio
from poolscope.sensitivity.estimate import quantile_t
from poolscope.sensitivity.moments import Covariance
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source
from poolscope.sensitivity.together import process_together
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work.data import measured_images
from poolscope.studies.reproduce.work.work import Work
from poolscope.training.finished import read_run

_MOST_FOLDED = 0.01  # share of fields, beyond which a point is marked
_BISECTIONS = 12


def _do(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    import pandas as pd

    run = read_run(needs["network"])
    images = measured_images(run, settings["images"])
    size = (images.shape[-2], images.shape[-1])
    models = {
        variant: run.model("initial" if variant.startswith("initial") else "best") for variant in settings["variants"]
    }
    cells, orders, folding = [], [], []
    for cutoff in settings["cutoff"]:
        folding.append({"cutoff": cutoff, "displacement": displacement_of_folding(cutoff, size)})
        for displacement in settings["displacement"]:
            deformation = Diffeomorphism(displacement, cutoff, fold="ignore")
            table, order = together(
                models, images, deformation, seed=settings["seed"], batch_size=settings["batch_size"], device=device
            )
            where = {
                "displacement": displacement,
                "cutoff": cutoff,
                "fold_probability": deformation.fold_probability(size),
            }
            cells.append(table.assign(**where))
            orders.append(order.assign(**where))
        say(f"cutoff {cutoff}")
    record = {"settings": dict(settings), "network": run.configuration.model}
    for name, tables in (("cells", cells), ("orders", orders)):
        Result(pd.concat(tables, ignore_index=True), record).save(folder / f"{name}.parquet")
    Result(pd.DataFrame(folding), record).save(folder / "folding.parquet")


def together(
    models: Mapping[str, nn.Module],
    images: Tensor,
    deformation: Deformation,
    *,
    seed: int,
    batch_size: int,
    device: str = "cpu",
) -> tuple[Any, Any]:
    """Measure the outputs of several networks on the same images, deformations and noise.

    Args:
        models: by variant; after a slash how batch norm works ("eval", "batch"). The first is compared with the others.
        images: ``[N, C, H, W]``.
        deformation: of all.
        seed: of deformation and noise.
        batch_size: images a forward; what batch norms of "batch" take their statistics from.
        device: "cpu" or "cuda".

    Returns:
        Two tables. One row a variant, as ``measure`` has it, with ``batch_norm``. And one row a comparison:
        ``batch_norm`` of the other network, ``R_first``, ``R_other``, ``log_ratio`` = log(R_first / R_other), natural,
        ``log_ratio_se``, ``low`` and ``high``, its 95 % interval, paired over images.
    """
    import pandas as pd

    names = list(models)
    with ExitStack() as stack:
        sessions = []
        for variant, model in models.items():
            how = make_settings(
                deformation,
                layers=["output"],
                seed=seed,
                batch_size=batch_size,
                device=device,
                bn=variant.partition("/")[2] or "eval",  # type: ignore[arg-type]
                memory_format="channels_last",  # twice as fast, the same to rounding
            )
            sessions.append(stack.enter_context(Session(model, open_source(images, model), how)))
        joint = Covariance(len(sessions) - 1, 4)
        for part, indices in sessions[0].pieces():
            powers = [power[-1, :2] for power in process_together(sessions, part, indices)]  # of the output
            joint.update(torch.stack([torch.cat([other, powers[0]]) for other in powers[1:]]))
        rows = [
            session.result(name, name.partition("/")[0]).table.assign(batch_norm=name.partition("/")[2] or "eval")
            for session, name in zip(sessions, names, strict=True)
        ]
    cells = pd.concat([table[table["kind"] == "output"] for table in rows], ignore_index=True).drop(columns="model")
    R = cells["R"].tolist()
    order = []
    for number in range(1, len(names)):
        ratio, error = log_ratio(joint.mean[number - 1], joint.covariance[number - 1], joint.count)
        reach = quantile_t(joint.count - 1) * error
        order.append(
            {
                "batch_norm": cells["batch_norm"].iloc[number],
                "R_first": R[0],
                "R_other": R[number],
                "log_ratio": ratio,
                "log_ratio_se": error,
                "low": ratio - reach,
                "high": ratio + reach,
            }
        )
    return cells, pd.DataFrame(order)


def displacement_of_folding(cutoff: int, size: tuple[int, int]) -> float:
    """Return the rms displacement, in pixels, at which 1 % of the fields of a cutoff fold, to 0.2 %; from 512 draws."""
    low, high = 0.0, float(min(size))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        folded = Diffeomorphism(middle, cutoff, fold="ignore").fold_probability(size) > _MOST_FOLDED
        low, high = (low, middle) if folded else (middle, high)
    return high


def swept(
    network: Job,
    *,
    displacement: Sequence[float],
    cutoff: Sequence[int],
    images: int,
    variants: Sequence[str] = ("trained", "initial", "initial/batch"),
    batch_size: int = 100,
    seed: int = 0,
) -> Job:
    """Return the job that measures the output of a trained and an initial network over amplitudes.

    Files: ``cells``, rows of ``measure``; ``orders``, R of the trained network beside that of each other one, in pairs
    of the same perturbed images (`together`), both with ``displacement``, ``cutoff`` and ``fold_probability``, the
    share of fields that fold; ``folding``, the ``displacement`` at which 1 % of the fields of a ``cutoff`` do. Fields
    that fold are used like the others.

    Args:
        network: job that trains it.
        displacement: true rms displacements in pixels.
        cutoff: highest modes.
        images: so many of the run's test images.
        variants: "trained" first, then "initial", and after a slash how batch norm works ("eval", "batch").
        batch_size: images a forward, whose statistics "initial/batch" uses.
        seed: of the perturbations, the same at all amplitudes.
    """
    settings = {
        "variants": list(variants),
        "displacement": list(displacement),
        "cutoff": list(cutoff),
        "images": images,
        "batch_size": batch_size,
        "seed": seed,
    }
    return Job("swept", WORK.version, settings, {"network": network}, network.threads, network.device, 2.0)


WORK = Work("swept", 1, _do)
