"""Writes docs/claims.md: the claims of `poolscope.studies.reproduce.claims`, with the verdicts of results/laptop.

python docs/make_claims.py
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope.studies.reproduce.catalogue import names_of_all
from poolscope.studies.reproduce.claim import AMPLITUDES, PUBLISHED, Claim
from poolscope.studies.reproduce.claims import CLAIMS

if TYPE_CHECKING:
    import pandas as pd

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "results" / "laptop" / "claims.csv"

_INTRODUCTION = f"""# Claims

What the paper says, sentence by sentence, each with a number that decides and a range in which it must lie. Sentences
and ranges are code (`poolscope.studies.reproduce.claims`) and were fixed before the runs that judge them; of some,
earlier runs of the same kind had been seen ([simple CNNs](scale-detection.md), [networks on CIFAR-10](training.md)).
Where the paper gives a sign, the range is that sign; where it gives an exponent, or says that two curves are the same,
the tolerance is argued for.

```sh
poolscope reproduce --list                          # studies, their settings and their claims
poolscope reproduce --scale laptop                  # runs, draws and judges: claims.csv and a page
poolscope reproduce fig7 tableC2 --scale laptop     # some of them
```

| verdict | the number's 95 % interval |
|---|---|
| reproduced | lies in the range as a whole |
| not reproduced | lies outside of it as a whole |
| inconclusive | lies in it in part; or there is no interval |
| not run | there is no number |

A claim of several parts (layers, networks, seeds) is reproduced if each part is, and not reproduced if one is not. A
claim about R depends on how far the deformation moves the pixels ([why](concepts.md#why-the-amplitude-matters)): it is
judged at the published displacement, {PUBLISHED} pixels rms, and at half and twice it
({", ".join(map(str, AMPLITUDES))}). Where the paper itself errs, "not reproduced" is the right answer, and the
[erratum](errata.md) is named.
"""
_MARKS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "?", "not run": "–"}
_NOT_YET = "No results are stored beside this page yet; the tables have no verdicts."


def page(claims: pd.DataFrame | None = None) -> str:
    """Return the page.

    Args:
        claims: table of a ``claims.csv``; None: no verdicts.
    """
    from poolscope.studies.reproduce.claim_rows import entries

    judged = {} if claims is None else {entry["claim"]: entry for entry in entries(claims)}
    lines = [_INTRODUCTION.rstrip(), "", _provenance(claims), ""]
    lines += ['<div class="words" markdown>', ""]
    lines += ["| claim |" + (" verdict | measured, 95 % |" if judged else "") + " the paper, in our words | where |"]
    lines += ["|---|---|---|" + ("---|---|" if judged else "")]
    for claim in CLAIMS:
        name = f"[{claim.identifier}](#{claim.identifier.lower()})"
        entry = judged.get(claim.identifier)
        cells = [name, *([_short(entry), _measured(entry)] if judged else [])]
        cells += [_plain(claim.sentence), _plain(claim.source)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "</div>"]
    for study in names_of_all():
        own = [claim for claim in CLAIMS if claim.study == study]
        if own:
            lines += ["", f"## {heading(study)}"]
        for claim in own:
            lines += ["", *_section(claim, judged.get(claim.identifier))]
    return "\n".join(lines) + "\n"


def read_claims(path: Path) -> pd.DataFrame:
    """Return a ``claims.csv`` as `claims_table` has it: empty cells of words are empty."""
    import pandas as pd

    table = pd.read_csv(path)
    words = [name for name in table if name not in ("displacement", "value", "low", "high")]
    table[words] = table[words].fillna("").astype(str)
    return table


def heading(study: str) -> str:
    """Return a study's name in words: "fig3" is "Figure 3"."""
    for prefix, word in (("fig", "Figure"), ("table", "Table")):
        if re.match(rf"{prefix}[A-C]?\d", study):
            return f"{word} {study.removeprefix(prefix)}"
    return study.capitalize()


def anchors() -> dict[str, str]:
    """Return the anchor of each erratum of errata.md, by its number."""
    found = {}
    for number, words in re.findall(r"^## (\d+)\. (.+)$", (DOCS / "errata.md").read_text(), flags=re.MULTILINE):
        found[number] = re.sub(r"[^\w\- ]", "", f"{number}. {words}".lower()).replace(" ", "-")
    return found


def _provenance(claims: pd.DataFrame | None) -> str:
    if claims is None or not len(claims):
        return _NOT_YET
    scales = ", ".join(dict.fromkeys(claims["scale"]))
    return f"Verdicts are those of the {scales} scale, from `results/{RESULTS.parent.name}/claims.csv`."


def _section(claim: Claim, entry: Mapping[str, Any] | None) -> list[str]:
    lines = [f"### {claim.identifier}", "", f"*{_plain(claim.sentence)}* ({_plain(claim.source)})", ""]
    lines.append(f"- judged by: {_plain(claim.quantity)}")
    lines.append(f"- expected: **{_plain(claim.expected)}**; {_plain(claim.why)}")
    if claim.about_R and entry is None:
        lines.append(f"- at {', '.join(map(str, AMPLITUDES))} px")
    if claim.erratum:
        lines.append(f"- {_linked(claim.erratum)}")
    if entry is None:
        return lines
    lines.append(f"- **{_short(entry)}**")
    lines += [f"- note: {_plain(reason)}" for reason in entry["reasons"] if reason != claim.erratum]
    return [*lines, "", *_rows(entry["rows"])] if entry["rows"] else lines


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return all that was measured as a table, without columns in which there is nothing."""
    columns = ["displacement", "part", "value", "low", "high", "interval", "verdict"]
    cells = [
        [str(row[name]["text"] if isinstance(row[name], Mapping) else row[name]) for name in columns] for row in rows
    ]
    kept = [place for place, name in enumerate(columns) if any(row[place] not in ("", "–") for row in cells)]
    table = [[columns[place] for place in kept], ["---"] * len(kept)]
    table += [[_plain(row[place]) for place in kept] for row in cells]
    return [f"| {' | '.join(row)} |" for row in table]


def _short(entry: Mapping[str, Any] | None) -> str:
    """Return the verdict; where it depends on the displacement, at half and twice the published one too."""
    if entry is None:
        return f"{_MARKS['not run']} not run"
    verdicts = [verdict for _, _, verdict in entry["marks"]]
    words = f"{_MARKS[entry['verdict']]} {entry['verdict']}"
    if not verdicts or set(verdicts) == {entry["verdict"]}:
        return words
    return f"{words} (half: {verdicts[0]}; twice: {verdicts[2]})"


def _measured(entry: Mapping[str, Any] | None) -> str:
    """Return the number that decides, at the published displacement; of several parts, which one."""
    parts = entry["parts"] if entry else []
    if not parts:
        return ""
    decides = next((part for part in parts if entry and part["verdict"] == entry["verdict"]), parts[0])
    return _plain(f"{decides['part']}: {decides['measured']}" if len(parts) > 1 else decides["measured"])


def _linked(erratum: str) -> str:
    """Return the words about an erratum with links to the numbers in them."""
    known = anchors()
    head, colon, rest = erratum.partition(":")
    if head.startswith(("erratum", "errata")):
        head = re.sub(r"\d+", lambda match: f"[{match[0]}](errata.md#{known[match[0]]})", head)
    elif head.startswith("conventions"):
        head = "[conventions](conventions.md#training)"
    return f"{head}{colon}{_plain(rest)}"


def _plain(text: str) -> str:
    """Return text that Markdown takes as it is."""
    return re.sub(r"([\\`*_|~^<>\[\]])", r"\\\1", text)


def main() -> None:
    claims = read_claims(RESULTS) if RESULTS.is_file() else None
    (DOCS / "claims.md").write_text(page(claims))


if __name__ == "__main__":
    main()
