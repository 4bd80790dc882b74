"""Plan, do, draw and judge: the paper, or parts of it, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.sensitivity import Result
from poolscope.studies.reproduce.catalogue import find, names_of_all
from poolscope.studies.reproduce.claim import Claim, Estimate
from poolscope.studies.reproduce.claims import CLAIMS
from poolscope.studies.reproduce.estimate import job_seconds
from poolscope.studies.reproduce.execute import Failure, execute, missing
from poolscope.studies.reproduce.executors import make_executor
from poolscope.studies.reproduce.job import Job, in_order
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.study import NotRun, Scale, Settings, Sources, Study, Tables
from poolscope.training.recipe import validated

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Part:
    """One study as it came out.

    Attributes:
        study: what it is.
        settings: its numbers.
        jobs: its runs by name; empty if it could not be planned.
        reason: why it was not run, or not in whole.
        tables: made of its finished runs.
        ended: of each finished run, and of those it builds on, by key: its ``seconds``, ``attempts``, ``environment``.
        claims: those it decides, one row a part: the columns of `claims_table`.
    """

    study: Study
    settings: Settings
    jobs: dict[str, Job] = field(default_factory=dict)
    reason: str = ""
    tables: Tables = field(default_factory=dict)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall time of its runs together; a run that several studies share counts in each."""
        return sum((float(facts.get("seconds", 0.0)) for facts in self.ended.values()), 0.0)


@dataclass
class Reproduction:
    """All that was planned, done and judged.

    Attributes:
        scale: smoke, laptop or paper.
        parts: one a study.
        failures: runs that could not be done.
        claims: of `claims_table`.
    """

    scale: Scale
    parts: list[Part]
    failures: list[Failure]
    claims: pd.DataFrame


def plan(
    names: Sequence[str], scale: Scale, sources: Sources, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Part]:
    """Return studies with their runs; nothing is run.

    Args:
        names: of studies; none: all.
        scale: of their settings.
        sources: where images are, and what computes.
        changes: other values of settings, by study and field; of a field that has settings of its own, a mapping.

    Raises:
        ValueError: an unknown study, or a setting that there is not, or a value out of range.
    """
    chosen = list(names) or names_of_all()
    for name in changes or {}:
        if name not in chosen:
            raise ValueError(f"--set must change one of the studies asked for, {', '.join(chosen)}; got {name}")
    parts = []
    for name in chosen:
        study = find(name)
        base = study.scales[scale]
        settings = validated(type(base), _changed(base.model_dump(), (changes or {}).get(name, {})), name)
        part = Part(study, settings)
        try:
            part.jobs = study.runs(settings, sources)
        except (NotRun, FileNotFoundError, ImportError) as error:  # data or a library that is not there
            part.reason = str(error)
        parts.append(part)
    return parts


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with those that are changed, mappings of settings field by field."""
    found = dict(values)
    for field_name, value in changes.items():
        own = found.get(field_name)
        found[field_name] = _changed(own, value) if isinstance(own, dict) and isinstance(value, Mapping) else value
    return found


def reproduce(
    parts: Sequence[Part],
    scale: Scale,
    *,
    store: Store,
    executor: str = "local",
    cores: int | None = None,
    memory: float | None = None,
    only_draw: bool = False,
    say: Callable[[str], object] = print,
    progress: bool = True,
) -> Reproduction:
    """Do what is not done of a plan, make tables, and judge the claims.

    Args:
        parts: of `plan`.
        scale: of the plan.
        store: of the runs.
        executor: "local" or "ray".
        cores, memory: limits, as for `make_executor`.
        only_draw: run nothing; what is not done is left out.
        say: told of what happens.
        progress: show a bar with the time left, if standard error is a terminal.
    """
    wanted = in_order(job for part in parts for job in part.jobs.values())
    left = missing(wanted.values(), store)
    failures: list[Failure] = []
    if only_draw:
        failures = [Failure(key, "not done, and only drawing was asked for") for key in left]
    elif left:
        say(f"{len(wanted)} runs, {len(wanted) - len(left)} of them done before")
        workers = make_executor(executor, store.folder, cores=cores, memory=memory)
        failures = execute(left, store, workers, seconds=job_seconds, say=say, progress=progress)
    undone = {failure.key: failure.reason for failure in failures}
    for part in parts:
        _finish(part, store, undone, scale)
    return Reproduction(scale, list(parts), failures, claims_table(parts))


def claims_table(parts: Sequence[Part]) -> pd.DataFrame:
    """Return the claims of these studies, one row a claim, displacement and part."""
    import pandas as pd

    return pd.DataFrame([row for part in parts for row in part.claims], columns=list(_COLUMNS))


_COLUMNS = (
    "claim", "study", "source", "sentence", "quantity", "expected", "displacement", "part", "value", "low", "high",
    "interval", "verdict", "scale", "note", "why", "erratum",
)  # fmt: skip


def save_part(part: Part, folder: Path) -> list[Path]:
    """Write a study's tables (Parquet and CSV) to an existing folder; return their paths."""
    paths = []
    record = {"settings": part.settings.model_dump(mode="json")}
    for name, table in part.tables.items():
        paths.append(Result(table, record).save(folder / f"{name}.parquet"))
        table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        paths.append(folder / f"{name}.csv")
    return paths


def _finish(part: Part, store: Store, undone: Mapping[str, str], scale: Scale) -> None:
    """Make a study's tables of what is done, and judge its claims."""
    done = {name: job for name, job in part.jobs.items() if job.key not in undone}
    failed = {name: undone[job.key] for name, job in part.jobs.items() if job.key in undone}
    if failed and not part.reason:
        first = next(iter(failed))
        part.reason = f"{len(failed)} of {len(part.jobs)} runs are missing, such as {first}: {failed[first]}"
    for key in in_order(done.values()):
        noted = store.done(key)
        part.ended[key] = {name: noted[name] for name in ("seconds", "attempts", "environment") if name in noted}
    estimates: dict[str, list[Estimate]] = {}
    if done or (not part.jobs and not part.reason):
        part.tables = part.study.tables(part.settings, {name: store.path(job.key) for name, job in done.items()})
        estimates = part.study.estimates(part.tables)
    own = [claim for claim in (*CLAIMS, *part.study.claims) if claim.study == part.study.name]
    known = {claim.identifier for claim in own}
    assert set(estimates) <= known, f"{part.study.name} measures {set(estimates) - known}, which is no claim of it"
    for claim in own:
        part.claims += _rows(claim, estimates.get(claim.identifier, []), part.reason, scale)


def _rows(claim: Claim, estimates: Sequence[Estimate], reason: str, scale: Scale) -> list[dict[str, Any]]:
    first = {
        "claim": claim.identifier,
        "study": claim.study,
        "source": claim.source,
        "sentence": claim.sentence,
        "quantity": claim.quantity,
        "expected": claim.expected,
    }
    last = {"scale": scale, "why": claim.why, "erratum": claim.erratum}
    nan = float("nan")
    if not estimates:
        empty = {"displacement": nan, "part": "", "value": nan, "low": nan, "high": nan, "interval": ""}
        return [{**first, **empty, "verdict": "not run", "note": reason or "not measured at this scale", **last}]
    return [
        {
            **first,
            "displacement": nan if each.displacement is None else each.displacement,
            "part": each.part,
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "interval": each.interval,
            "verdict": claim.judge(each),
            "note": each.note,
            **last,
        }
        for each in estimates
    ]
