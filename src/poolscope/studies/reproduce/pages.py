"""The pages of a reproduction: an index with every claim and its verdict, and a page for each study."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import poolscope
from poolscope.report import Table
from poolscope.report.page import groups, to_html, write_html
from poolscope.report.panel import Pictures, draw_panels
from poolscope.report.tables import to_html as table_to_html
from poolscope.sensitivity import Result
from poolscope.studies.reproduce.claim import AMPLITUDES, PUBLISHED
from poolscope.studies.reproduce.claim_rows import VERDICTS, entries
from poolscope.studies.reproduce.job import in_order
from poolscope.studies.reproduce.run import Part, Reproduction, save_part
from poolscope.training.folder import duration

if TYPE_CHECKING:
    import pandas as pd

_TITLE = "Reproducing the paper, claim by claim"
_SUBTITLE = (
    "Tomasini, Petrini, Cagnetta and Wyart: How deep convolutional neural networks lose spatial information with "
    "training (2023)"
)
_SCALES = {
    "smoke": "Smoke scale: tiny networks, a few images, a few steps. It shows that everything runs; what comes out "
    "says nothing about the paper.",
    "laptop": "Laptop scale: narrow networks, few seeds, a part of the images, so that two cores are enough. A "
    "verdict is on the claim at this size; with few networks and seeds intervals are wide, and many claims stay "
    "undecided.",
    "paper": "Paper scale: the paper's own networks, images and training.",
}
_MEANS = {
    "reproduced": "the whole interval is in the expected range",
    "not reproduced": "none of the interval is",
    "inconclusive": "a part of it is, or there is no interval",
    "not run": "nothing was measured",
}
_READING = (
    "Each sentence of the paper is judged by a number, and by a range in which it must lie, fixed before the runs that "
    "judge it (though of some, earlier runs of the same kind had been seen). Claims about R depend on how far a "
    f"deformation moves the pixels: their verdict is the one at the published displacement, {PUBLISHED} px rms; the "
    f"three marks are of its half, of itself and of twice it ({', '.join(map(str, AMPLITUDES))} px). A claim of "
    "several parts is reproduced if each part is, and is not if one is not. Tables, settings and the reason for each "
    "range are on the pages of the studies."
)
_SHOWN = 40  # rows of a table that a page shows; longer ones are for download
_STYLES, _SCRIPTS = ("page.css", "site.css"), ("page.js", "site.js")


def write_site(reproduction: Reproduction, folder: Path, *, record: dict[str, Any]) -> Path:
    """Write ``index.html``, and for every study with tables ``STUDY/index.html`` with its pictures and tables.

    Pages load nothing over a network; each holds its pictures, light and dark, and refers to the others and to files
    for download (PNG, PDF, CSV, Parquet) by relative links. ``claims.csv`` and ``claims.parquet`` hold all claims. A
    study that cannot be drawn is said to be so on its page and in a warning; the others are written.

    Args:
        reproduction: what came out.
        folder: where to, made if its parent exists.
        record: how it was made, such as ``command``, ``seconds``, ``when``, ``machine``, ``versions``; shown whole.

    Returns:
        Path of the index.

    Raises:
        FileNotFoundError: the folder's parent does not exist.
    """
    folder = Path(folder)
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder of {folder.name} must exist; {folder.parent} is not a folder")
    folder.mkdir(exist_ok=True)
    judged = entries(reproduction.claims)
    studies = [_study(part, judged) for part in reproduction.parts]
    shown = [study for study in studies if study["href"]]
    for study, part in zip(studies, reproduction.parts, strict=True):
        if study["href"]:
            place = shown.index(study)
            before = shown[place - 1] if place else None
            after = shown[place + 1] if place + 1 < len(shown) else None
            study["picture"] = _write_study(part, study, before, after, reproduction, folder, record)
    Result(reproduction.claims, record).save(folder / "claims.parquet")
    reproduction.claims.to_csv(folder / "claims.csv", index=False, lineterminator="\n")
    return _write_index(reproduction, studies, judged, folder / "index.html", record)


def _study(part: Part, judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what pages say of a study, and note at its claims where its page is."""
    study = part.study
    href = f"{quote(study.name)}/index.html" if part.tables else ""
    label = study.source or f"Beyond the paper: {study.name}"
    own = [claim for claim in judged if claim["study"] == study.name]
    for claim in own:
        claim["href"] = f"{href}#{quote(claim['id'])}" if href else f"#study-{quote(study.name)}"
        claim["study_label"] = study.name
    return {
        "name": study.name,
        "title": study.title,
        "label": label,
        "shows": study.shows,
        "reason": part.reason,
        "href": href,
        "claims": own,
        "time": duration(part.seconds) if part.ended else "",
        "picture": None,
    }


def _write_index(
    reproduction: Reproduction,
    studies: Sequence[dict[str, Any]],
    judged: Sequence[dict[str, Any]],
    path: Path,
    record: dict[str, Any],
) -> Path:
    counts = {verdict: sum(claim["verdict"] == verdict for claim in judged) for verdict in VERDICTS}
    ended = _ended(reproduction.parts)
    facts = [
        ("Scale", reproduction.scale),
        ("Studies", f"{sum(bool(study['href']) for study in studies)} of {len(studies)}"),
        ("Runs", f"{len(ended)} done" + (f", {len(reproduction.failures)} not" if reproduction.failures else "")),
        ("Computing", f"{duration(_seconds(ended))}, runs one after another{_interrupted(ended)}"),
        *_machines(ended),
        *_facts(_timed(record)),
    ]
    import pandas as pd

    failures = pd.DataFrame([(each.key, each.reason) for each in reproduction.failures], columns=["run", "reason"])
    return write_html(
        path,
        "site_index.html.j2",
        styles=_STYLES,
        scripts=_SCRIPTS,
        record={"scale": reproduction.scale, **record},
        version=poolscope.__version__,
        title=_TITLE,
        subtitle=f"{_SUBTITLE} · {reproduction.scale} scale · {duration(_seconds(ended))} of computing",
        headline=_headline(counts),
        total=len(judged),
        tiles=[
            {"verdict": verdict, "slug": slug, "count": counts[verdict], "means": _MEANS[verdict]}
            for verdict, slug in zip(VERDICTS, ("yes", "no", "open", "none"), strict=True)
        ],
        scale_words=_SCALES[reproduction.scale],
        reading=_READING,
        claims=judged,
        studies=studies,
        facts=facts,
        failures=table_to_html(Table("Runs that were not done", failures), 1) if len(failures) else None,
    )


def _write_study(
    part: Part,
    study: dict[str, Any],
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    reproduction: Reproduction,
    folder: Path,
    record: dict[str, Any],
) -> dict[str, Any] | None:
    """Write a study's page, pictures and tables; return its first picture."""
    own = folder / part.study.name
    own.mkdir(exist_ok=True)
    save_part(part, own)
    pictures, words, notices = _drawn(part, own)
    figures = [to_html(each) for each in pictures]
    settings = part.settings.model_dump(mode="json")
    command = _command(part, reproduction.scale)
    facts: list[tuple[str, str]] = [("Scale", reproduction.scale)]
    if "seeds" in settings:
        seeds = settings["seeds"]
        facts.append(("Seeds", str(len(seeds) if isinstance(seeds, list) else seeds)))
    facts += [("Computing", study["time"] or "nothing to run"), *_machines(part.ended)]
    runs = Table(f"Runs of {part.study.name}", _runs(part), words="By their keys in the store.")
    neighbours = [{"label": _short(each), "href": f"../{each['href']}"} if each else None for each in (before, after)]
    write_html(
        own / "index.html",
        "site_study.html.j2",
        styles=_STYLES,
        scripts=_SCRIPTS,
        record={"study": part.study.name, "scale": reproduction.scale, "settings": settings, **record},
        version=poolscope.__version__,
        title=part.study.title,
        subtitle=" · ".join([f"{reproduction.scale} scale", *([study["time"]] if study["time"] else [])]),
        name=part.study.name,
        label=f"{study['label']} of the paper" if part.study.source else study["label"],
        shows=part.study.shows,
        reason=part.reason,
        notices=notices,
        words=words,
        headed=_under_headings(pictures, figures),
        claims=study["claims"],
        facts=facts,
        settings=_facts(settings),
        command=command,
        tables=[_table(name, table, number) for number, (name, table) in enumerate(part.tables.items(), 1)],
        runs=table_to_html(runs, 0) if part.jobs else None,
        tables_first=part.study.source.startswith("Table"),
        before=neighbours[0],
        after=neighbours[1],
    )
    return figures[0] if figures else None


def _drawn(part: Part, folder: Path) -> tuple[list[Pictures], list[str], list[str]]:
    """Return pictures, words and what went wrong: a study of half its runs may be more than its drawing expects."""
    try:
        return draw_panels(part.study.panels(part.tables), folder), list(part.study.words(part.tables)), []
    except Exception as error:
        notice = f"{part.study.name} could not be drawn: {type(error).__name__}: {error}"
        warnings.warn(notice, stacklevel=1)
        return [], [], [notice]


def _under_headings(pictures: Sequence[Pictures], figures: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures by the headings of their panels."""
    found: dict[str, list[dict[str, Any]]] = {}
    for picture, figure in zip(pictures, figures, strict=True):
        found.setdefault(picture.panel.section, []).append(figure)
    return [{"heading": heading, "groups": groups(own)} for heading, own in found.items()]


def _table(name: str, table: pd.DataFrame, number: int) -> dict[str, Any]:
    file = quote(name)
    shown = None
    if len(table) <= _SHOWN:
        shown = {**table_to_html(Table(name, table), number), "csv": f"{file}.csv", "file": f"{name}.csv"}
    return {
        "name": name,
        "size": f"{len(table)} rows, {len(table.columns)} columns",
        "csv": f"{file}.csv",
        "parquet": f"{file}.parquet",
        "shown": shown,
    }


def _runs(part: Part) -> pd.DataFrame:
    """Return the runs of a study and those they build on: what they are to it, key, kind, seconds."""
    import pandas as pd

    names = {job.key: name for name, job in part.jobs.items()}
    rows = [
        {
            "run": names.get(key, "needed by these"),
            "key": key,
            "work": job.work,
            "threads": job.threads,
            "device": job.device,
            "seconds": float(part.ended.get(key, {}).get("seconds", float("nan"))),
            "state": "done" if key in part.ended else "not done",
        }
        for key, job in in_order(part.jobs.values()).items()
    ]
    return pd.DataFrame(rows, columns=["run", "key", "work", "threads", "device", "seconds", "state"])


def _command(part: Part, scale: str) -> str:
    """Return the command for a study alone, with those settings that are not of the scale."""
    words = ["poolscope", "reproduce", part.study.name, "--scale", scale]
    usual = part.study.scales[scale].model_dump(mode="json")  # type: ignore[index]
    for name, value in part.settings.model_dump(mode="json").items():
        if value != usual[name]:
            words += ["--set", f"{part.study.name}.{name}={json.dumps(value)}"]
    return shlex.join(words)


def _headline(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    said = [f"{counts['reproduced']} are reproduced", f"{counts['not reproduced']} are not"]
    said += [f"{counts['inconclusive']} cannot be decided", f"{counts['not run']} were not run"]
    return f"Of {total} claims of the paper {', '.join(said[:-1])}, and {said[-1]}, at this scale."


def _short(study: Mapping[str, Any]) -> str:
    return str(study["name"]) if str(study["label"]).startswith("Beyond") else str(study["label"])


def _ended(parts: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """Return what is known of the finished runs of all studies, each once."""
    return {key: facts for part in parts for key, facts in part.ended.items()}


def _seconds(ended: Mapping[str, Mapping[str, Any]]) -> float:
    return sum((float(facts.get("seconds", 0.0)) for facts in ended.values()), 0.0)


def _interrupted(ended: Mapping[str, Mapping[str, Any]]) -> str:
    """Say that the seconds of interrupted runs are those of their last attempt."""
    number = sum(facts.get("attempts", 1) > 1 for facts in ended.values())
    return f"; of {number} interrupted {'run' if number == 1 else 'runs'} the last attempt" if number else ""


def _machines(ended: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the machines and versions that the runs were done with."""
    found = sorted({_machine(facts["environment"]) for facts in ended.values() if "environment" in facts})
    return [("Machine" if len(found) == 1 else "Machines", "; ".join(found))] if found else []


def _machine(environment: Mapping[str, Any]) -> str:
    """Return a machine in words, such as "x86_64, 4 cores, python 3.12.1, torch 2.6.0"."""
    known = dict(environment)
    names = dict.fromkeys(str(known.pop(name)) for name in ("device", "machine") if name in known)  # often the same
    cores = [f"{known.pop('cores')} cores"] if known.get("cores") else []
    return ", ".join([*names, *cores, *(f"{name} {version}" for name, version in sorted(known.items()))])


def _timed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with its seconds in words, without the scale, which stands before it."""
    shown = {key: value for key, value in record.items() if key not in ("scale", "seconds")}
    if "seconds" in record:
        shown["this command took"] = duration(float(record["seconds"]))
    return shown


def _facts(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values for a reader."""
    return [(name.replace("_", " ").capitalize(), _value(value)) for name, value in values.items()]


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(each)}" for name, each in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
