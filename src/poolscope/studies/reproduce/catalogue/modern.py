"""Networks of today on the same images: a ResNet, a ConvNeXt, a ViT and a Swin, small, or with weights of yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poolscope.report import Panel, plot_quantity
from poolscope.sensitivity import read_result
from poolscope.studies.reproduce.catalogue.networks import DISPLACEMENTS
from poolscope.studies.reproduce.claim import PUBLISHED
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.study import NotRun, Settings, Sources, Study, Tables
from poolscope.studies.reproduce.work.given import given
from poolscope.studies.reproduce.work.training import training
from poolscope.training.finished import read_run

if TYPE_CHECKING:
    import pandas as pd

_ADAM = {"optimizer": "adam", "lr": 0.002, "weight_decay": 0.0, "memory_format": "contiguous"}

#: Constructor's options, small enough for 32 pixels and two cores, and what differs from the recipe.
_NETWORKS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "resnet18": ("poolscope:resnet18", {"width": 0.125}, {}),
    "convnext": ("timm:convnext_atto", {"dims": [32, 64, 128, 256], "depths": [1, 1, 2, 1], "patch_size": 2}, _ADAM),
    "vit": (
        "timm:vit_tiny_patch16_224",
        {"img_size": 32, "patch_size": 4, "embed_dim": 64, "depth": 4, "num_heads": 2},
        _ADAM,
    ),
    "swin": (
        "timm:swin_tiny_patch4_window7_224",
        {"img_size": 32, "patch_size": 4, "window_size": 4, "embed_dim": 48, "depths": [2, 2], "num_heads": [3, 6]},
        _ADAM,
    ),
}


_GIVEN = "-given"  # behind the name of a network from a file
_EPOCHS = {"initial": 0, "trained": 1}  # of such a network: all that counts is which comes before


class Modern(Settings):
    """Networks on the images.

    Attributes:
        networks: of resnet18, convnext, vit, swin, trained small.
        weights: files of networks of yours, which `write_weights` made, measured beside; as trained as they are.
        seeds: one run each.
        train_images: learn from so many, or all.
        epochs: of the recipe "laptop".
        measured: test images for D, G, R.
        validation: training images to choose the epoch by.
    """

    networks: tuple[str, ...]
    weights: tuple[str, ...] = ()
    seeds: tuple[int, ...]
    train_images: int | None
    epochs: int
    measured: int
    validation: int


def _runs(settings: Modern, sources: Sources) -> dict[str, Job]:
    unknown = [name for name in settings.networks if name not in _NETWORKS]
    if unknown:
        raise ValueError(f"networks must be of {', '.join(_NETWORKS)}; got {', '.join(unknown)}")
    if find_spec("timm") is None and any(name != "resnet18" for name in settings.networks):
        raise NotRun("timm, which has these networks, is not installed: pip install poolscope[timm]")
    found = {}
    for name in settings.networks:
        model, options, changes = _NETWORKS[name]
        for seed in settings.seeds:
            found[f"{name}/{seed}"] = training(
                model,
                sources,
                recipe="laptop",
                changes={"epochs": settings.epochs, "dead_after": max(10, settings.epochs), **changes},
                seed=seed,
                options=options,
                train_images=settings.train_images,
                validation=settings.validation,
                measure_at=[0, "last"],
                measure={"images": settings.measured, "displacement": list(DISPLACEMENTS), "layers": "auto"},
            )
    for file in settings.weights:
        name = f"{Path(file).stem}{_GIVEN}"
        if name in found:
            raise ValueError(f"files of weights must have names of their own, they name the networks; got {name} twice")
        found[name] = given(file, sources, displacement=DISPLACEMENTS, images=settings.measured)
    return found


def _tables(settings: Modern, found: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    import pandas as pd

    outcomes, measured = [], []
    for name, folder in found.items():
        if name.endswith(_GIVEN):
            table = read_result(folder / "measurement.parquet").table
            network, epoch = name.removesuffix(_GIVEN), table["variant"].map(_EPOCHS)
            measured.append(table.assign(network=network, seed=min(settings.seeds), epoch=epoch))
            continue
        network, _, seed = name.partition("/")
        run = read_run(folder)
        first: dict[str, Any] = {"network": network, "seed": int(seed)}
        keys = ("status", "reason", "best_epoch", "best_test_error")
        outcomes.append({**first, **{key: run.outcome[key] for key in keys}})
        if run.finished and run.sensitivity is not None:
            measured.append(run.sensitivity.drop(columns="seed").assign(**first))
    tables = {"outcomes": pd.DataFrame(outcomes)} if outcomes else {}
    return tables | ({"sensitivity": pd.concat(measured, ignore_index=True)} if measured else {})


def _panels(tables: Tables) -> list[Panel]:
    if "sensitivity" not in tables:
        return []
    rows = tables["sensitivity"]
    rows = rows[(rows["seed"] == rows["seed"].min()) & np.isclose(rows["displacement"], PUBLISHED)]
    rows = rows.assign(variant=np.where(rows["epoch"] == 0, "initial", "trained"))
    panels = []
    for network, own in rows.groupby("network", sort=False):
        for quantity in "DGR":
            panels.append(
                Panel(
                    f"{network}-{quantity}",
                    f"{quantity} along {network}, {_how(tables, str(network))}, at {PUBLISHED} px of 32 (true rms; "
                    "cutoff 3); bands: 95 % over images. Dotted: before training.",
                    (4.4, 3.8),
                    lambda ax, own=own, quantity=quantity: plot_quantity(own, quantity, ax=ax),  # type: ignore[misc]
                )
            )
    return panels


def _words(tables: Tables) -> Sequence[str]:
    said = []
    if "outcomes" in tables:
        said.append("Networks trained here are small and briefly trained: not what their published sizes would show.")
    if "sensitivity" in tables:
        rows = tables["sensitivity"]
        rows = rows[(rows["kind"] == "output") & np.isclose(rows["displacement"], PUBLISHED)]
        for network, own in rows.groupby("network", sort=False):
            before, after = (own[own["epoch"] == 0]["R"], own[own["epoch"] > 0]["R"])
            said.append(
                f"{network}, {_how(tables, str(network))}: R of the output {_middle(before):.3g} before and "
                f"{_middle(after):.3g} after training, at {PUBLISHED} px of 32."
            )
    return said


def _how(tables: Tables, network: str) -> str:
    """Say how a network was trained."""
    outcomes = tables.get("outcomes")
    own = outcomes[outcomes["network"] == network] if outcomes is not None else None
    if own is None or own.empty:
        return "as its file of weights has it"
    return f"small and briefly trained (test error {own['best_test_error'].mean():.1%}, {_seeds(own)})"


def _seeds(rows: pd.DataFrame) -> str:
    return "1 seed" if len(rows) == 1 else f"{len(rows)} seeds"


def _middle(values: pd.Series) -> float:
    """Return the geometric mean over seeds."""
    return float(np.exp(np.log(values.astype(float)).mean()))


STUDY = Study(
    name="modern",
    title="Networks of today",
    source="",
    shows="D, G and R along a ResNet, a ConvNeXt, a ViT and a Swin, small and briefly trained on the same images: the "
    "measures need no convolutions. Networks of your own can stand beside them: "
    "--set 'modern.weights=[\"mine.safetensors\"]'.",
    scales={
        "smoke": Modern(
            networks=("resnet18", "vit"), seeds=(0,), train_images=200, epochs=2, measured=30, validation=100
        ),
        "laptop": Modern(
            networks=("resnet18", "convnext", "vit", "swin"), seeds=(0,), train_images=5000, epochs=4, measured=200,
            validation=1000,
        ),
        "paper": Modern(
            networks=("resnet18", "convnext", "vit", "swin"), seeds=(0, 1, 2, 3, 4), train_images=None, epochs=50,
            measured=500, validation=5000,
        ),
    },
    runs=_runs,
    tables=_tables,
    panels=_panels,
    words=_words,
)
