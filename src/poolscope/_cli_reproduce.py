"""The command that reproduces the paper."""

from __future__ import annotations

import difflib
import sys
import time
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from poolscope._options import command_line, made_folder, print_table

if TYPE_CHECKING:
    from poolscope.studies.reproduce.run import Part


class Scale(StrEnum):
    """How large everything is."""

    smoke = "smoke"
    laptop = "laptop"
    paper = "paper"


class ExecutorName(StrEnum):
    """What does the runs."""

    local = "local"
    ray = "ray"


def reproduce(
    studies: Annotated[
        list[str] | None, typer.Argument(help="fig3, fig7, tableC2, amplitude, …; none: all. See --list.")
    ] = None,
    scale: Annotated[
        Scale,
        typer.Option(
            help="smoke: tiny, on the digits, to see that all works; laptop: two cores, under two hours, CIFAR-10; "
            "paper: the paper's own numbers, on GPUs."
        ),
    ] = Scale.smoke,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report/index.html, claims.csv, runs.csv (default: reproduction/SCALE)."),
    ] = None,
    store: Annotated[
        Path, typer.Option(help="Folder of finished runs, shared by scales and commands; nothing in it is done twice.")
    ] = Path("reproduction/store"),
    images: Annotated[
        str | None,
        typer.Option(help="What stands for CIFAR-10: cifar10 or parquet:DIR (default: cifar10; smoke: digits)."),
    ] = None,
    imagenet: Annotated[
        str | None, typer.Option(help="ImageNet's validation images: imagefolder:DIR or parquet:DIR.")
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="local: processes here; ray: a Ray cluster, a GPU a run.")
    ] = ExecutorName.local,
    cores: Annotated[int | None, typer.Option(min=1, help="Of this machine, at most (default: all).")] = None,
    memory: Annotated[float | None, typer.Option(help="GiB of this machine, at most (default: nine tenths).")] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each run; sums round by it.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda; part of each run.")] = "cpu",
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Another value of a setting: fig7.width=256, fig4.task.width=1; repeatable. See --list."
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch CIFAR-10 and pretrained weights if absent.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, and how long it would take.")] = False,
    only_draw: Annotated[bool, typer.Option("--only-draw", help="Run nothing: draw and judge what is done.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List studies, their settings and their claims.")] = False,
) -> None:
    """Reproduce the paper: run studies, draw their figures, judge its claims; one page for all.

    Interrupted or killed, the same command goes on; finished runs are never repeated. Exit code 1: a run failed, the
    rest is done.

    Example: poolscope reproduce fig3 fig7 tableC2 --scale laptop
    """
    from poolscope.studies.reproduce.run import plan

    chosen = list(studies or [])
    if listed:
        _list(chosen, scale.value)
        return
    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda; got {device!r}")
    changes = _changes(change)
    parts = plan(
        chosen, scale.value, _sources(images, scale.value, imagenet, device, threads, download), changes
    )
    if dry_run:
        _dry_run(parts, store, cores)
        return
    from poolscope.studies.reproduce.pages import write_site
    from poolscope.studies.reproduce.run import reproduce as run
    from poolscope.studies.reproduce.store import Store

    folder = made_folder(out or Path("reproduction") / scale.value)
    assert folder is not None
    made_folder(store)
    began = time.monotonic()
    runs = Store(store)
    found = run(
        parts,
        scale.value,
        store=runs,
        executor=executor.value,
        cores=cores,
        memory=memory,
        only_draw=only_draw,
        say=lambda text: print(text, flush=True),
    )
    record = {
        "command": command_line(),
        "when": time.strftime("%Y-%m-%d"),
        "scale": scale.value,
        "seconds": round(time.monotonic() - began),
    }
    index = write_site(found, folder / "report", record=record)
    found.claims.to_csv(folder / "claims.csv", index=False, lineterminator="\n")
    done = runs.index()
    used = done["key"].isin({key for part in found.parts for key in part.ended})
    done[used].to_csv(folder / "runs.csv", index=False, lineterminator="\n")
    _show(found.claims)
    for part in parts:
        if part.reason:
            print(f"{part.study.name}: {part.reason}")
    print(f"open {index}")
    if found.failures and not only_draw:
        for failure in found.failures:
            print(f"poolscope: {failure.key} failed: {failure.reason}", file=sys.stderr)
        raise typer.Exit(1)


def _sources(images: str | None, scale: str, imagenet: str | None, device: str, threads: int, download: bool) -> Any:
    from poolscope.datasets import open_images
    from poolscope.studies.reproduce.study import Sources

    spec = images or ("digits" if scale == "smoke" else "cifar10")
    if download and spec == "cifar10":
        open_images(spec, split="train", download=True)
    return Sources(spec, imagenet, device, threads, download)


def _changes(pairs: list[str] | None) -> dict[str, dict[str, Any]]:
    """Return the values of study.field=value, read as TOML, or as words where they are not."""
    from pydantic import BaseModel

    from poolscope.studies.reproduce.catalogue import find

    found: dict[str, dict[str, Any]] = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        study, *path = name.split(".")
        if not (equals and path and all(field.isidentifier() for field in path)):
            raise ValueError(f"--set must be like fig7.width=256; got {pair!r}")
        known = find(study)
        inner = found.setdefault(known.name, {})
        settings: Any = known.scales["smoke"]
        for depth, field in enumerate(path):
            within = ".".join([known.name, *path[:depth]])
            fields = list(type(settings).model_fields) if isinstance(settings, BaseModel) else []
            if not fields:
                raise ValueError(f"--set must end with {within}, which has no settings of its own; got {name!r}")
            if field not in fields:
                close = difflib.get_close_matches(field, fields, n=1)
                hint = f" (did you mean {close[0]}?)" if close else ""
                raise ValueError(f"settings of {within} are {', '.join(fields)}; got {field!r}{hint}")
            settings = getattr(settings, field)
            if depth < len(path) - 1:
                inner = inner.setdefault(field, {})
        if isinstance(settings, BaseModel):
            raise ValueError(f"--set must name one of {name}'s own settings, such as {name}.{_first(settings)}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        inner[path[-1]] = tuple(value) if isinstance(value, list) else value
    return found


def _first(settings: Any) -> str:
    return str(next(iter(type(settings).model_fields)))


def _dry_run(parts: list[Part], store: Path, cores: int | None) -> None:
    import pandas as pd

    from poolscope.studies.reproduce.estimate import job_seconds
    from poolscope.studies.reproduce.execute import missing
    from poolscope.studies.reproduce.executors.machine import usable_cores
    from poolscope.studies.reproduce.job import in_order
    from poolscope.studies.reproduce.store import Store
    from poolscope.training.folder import duration

    left = in_order(job for part in parts for job in part.jobs.values())
    if store.is_dir():
        left = missing(left.values(), Store(store))
    used: dict[str, list[str]] = {}
    for part in parts:
        for key in in_order(part.jobs.values()):
            used.setdefault(key, []).append(part.study.name)
    rows = [
        {
            "run": key,
            "what": str(job.settings.get("model") or job.settings.get("experiment", {}).get("description", ""))[:40],
            "seconds": round(job_seconds(job), 1),
            "studies": " ".join(used[key]),
        }
        for key, job in left.items()
    ]
    table = pd.DataFrame(rows, columns=["run", "what", "seconds", "studies"])
    if rows:
        print_table(table, "what would run", list(table.columns))
    for part in parts:
        if part.reason:
            print(f"{part.study.name} would not run: {part.reason}")
    total, number = float(table["seconds"].sum()), cores or usable_cores()
    wall = max(total / number, float(table["seconds"].max()) if rows else 0.0)
    print(f"{len(rows)} runs, about {duration(total)} of one core, {duration(wall)} with {number} cores")


def _list(chosen: list[str], scale: str) -> None:
    from poolscope.studies.reproduce.catalogue import find, names_of_all
    from poolscope.studies.reproduce.claims import CLAIMS

    for name in chosen or names_of_all():
        study = find(name)
        print(f"{study.name}: {study.title}{f' ({study.source})' if study.source else ' (beyond the paper)'}")
        fields = study.scales[scale].model_dump()  # type: ignore[index]
        print(f"    {', '.join(f'{key}={value}' for key, value in fields.items())}")
        for claim in CLAIMS:
            if claim.study == study.name:
                print(f"    {claim.identifier}: {claim.sentence} [{claim.quantity}: {claim.expected}]")


def _show(claims: Any) -> None:
    """Print the claims, a line each: the verdict at the published displacement."""
    import pandas as pd

    from poolscope.studies.reproduce.verdicts import by_claim

    table = by_claim(claims)
    if len(table):
        shown = pd.DataFrame({key: table[key].astype(str) for key in ("claim", "study", "verdict", "half", "twice")})
        print_table(shown, "claims, at the published displacement, its half and its twice", list(shown.columns))
        counts = table["verdict"].value_counts()
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
