"""The pages of a reproduction: nothing from outside, nothing broken, every number the table's, every verdict right."""

from __future__ import annotations

import html
import json
import math
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from poolscope.report import Panel
from poolscope.sensitivity import read_result
from poolscope.studies.reproduce.claim import AMPLITUDES, Claim, Estimate
from poolscope.studies.reproduce.execute import Failure
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.pages import write_site
from poolscope.studies.reproduce.run import Part, Reproduction, _rows, claims_table
from poolscope.studies.reproduce.study import Settings, Study

EVIL = "</script><script>alert(1)</script>"
WIDE, NARROW = (1280, 900), (390, 844)
NAN = math.nan
HALF, PUBLISHED, TWICE = AMPLITUDES


class Numbers(Settings):
    width: int = 8
    seeds: tuple[int, ...] = (0, 1)
    data: str = EVIL


STUDY = Study(
    name="fig3",
    title=f"R by layer {EVIL}",
    source="Figure 3",
    shows=f"R falls. {EVIL}",
    scales=dict.fromkeys(("smoke", "laptop", "paper"), Numbers()),
    runs=lambda settings, sources: {},
    tables=lambda settings, found: {},
    panels=lambda tables: [
        Panel(name, f"What {name} is {EVIL}", (3.0, 2.0), lambda ax: ax.plot([0, 1], [0, 1]), alt=f'"{EVIL}')
        for name in ("D-by-layer", "R-by-layer")
    ],
    words=lambda tables: [f"It falls by {tables['numbers']['R'].iloc[0]:.3g}. {EVIL}"],
)
TABLE = pd.DataFrame({"layer": ["conv1", EVIL], "R": [0.1 + 0.2, NAN]})
FALLS = Claim("falls", "fig3", "section 2", f"R falls {EVIL}.", "slope", -math.inf, 0.0, f"its sign {EVIL}", True)
LAW = Claim("law", "fig3", "equation (5)", "D falls as A to the power -2.", "slope", -2.25, -1.75, "about an eighth")
ERRS = Claim("errs", "tableC2", "table | C2", "Filters are positive.", "tap", 0.0, math.inf, "sign", erratum="no. 14")
PARTS = Claim("parts", "tableC2", "section 4", "All layers are alike.", "distance", 0.0, 0.1, "a tenth")
AWAY = Claim("away", "figC6", "figure C6", "VGGs too.", "slope", -math.inf, 0.0, "sign", True)


def claimed(claim: Claim, estimates: list[Estimate], reason: str = "") -> list[dict[str, Any]]:
    return _rows(claim, estimates, reason, "laptop")


def part(study: Study, claims: list[dict[str, Any]], **facts: Any) -> Part:
    return Part(study, facts.pop("settings", Numbers()), claims=claims, **facts)


@pytest.fixture(scope="module")
def reproduction() -> Reproduction:
    """Three studies, one of them out of reach, with claims of every verdict."""
    first, second = Job("training", 1, {"seed": 0}), Job("training", 1, {"seed": 1})
    measured = Job("measured", 1, {}, {"network": first})
    environment = {"torch": "2.6.0", "machine": "x86_64", "device": "x86_64", "cores": 2}
    falls = [
        Estimate(-0.5, -0.6, -0.4, HALF, interval="over images"),
        Estimate(0.123456789, 0.1, 0.15, PUBLISHED, interval="over images", note=f"a note {EVIL}"),
        Estimate(-0.5, -0.6, 0.4, TWICE, interval="over images"),
    ]
    layers = [Estimate(0.05, 0.02, 0.08, None, f"layer {number}", "over 4 seeds") for number in range(1, 5)]
    layers.append(Estimate(0.05, NAN, NAN, None, "layer 5", "over 1 seed"))
    parts = [
        part(
            STUDY,
            [*claimed(FALLS, falls), *claimed(LAW, [Estimate(-2.0, -2.1, -1.9)])],
            settings=Numbers(width=16),
            jobs={"network": first, "measured": measured, "other": second},
            tables={"numbers": TABLE, "long": pd.DataFrame({"x": range(41)})},
            ended={
                first.key: {"seconds": 30.0, "attempts": 3, "environment": environment},
                measured.key: {"seconds": 30.0, "environment": environment},
            },
            reason=f"1 of 3 runs are missing {EVIL}",
        ),
        part(
            replace(STUDY, name="figC6", source="Figure C6", title="VGGs"),
            claimed(AWAY, [], f"no images {EVIL}"),
            reason=f"no images {EVIL}",
        ),
        part(
            replace(STUDY, name="tableC2", source="Table C2", title="Filters", panels=lambda tables: []),
            [*claimed(ERRS, [Estimate(-0.2, -0.3, -0.1)]), *claimed(PARTS, layers)],
            tables={"numbers": TABLE},
        ),
    ]
    return Reproduction("laptop", parts, [Failure(second.key, f"ValueError: {EVIL}")], claims_table(parts))


@pytest.fixture(scope="module")
def site(reproduction: Reproduction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = {"command": f"poolscope {EVIL}", "seconds": 61, "versions": {"torch": "2.6.0"}}
    return write_site(reproduction, tmp_path_factory.mktemp("out") / "report", record=record)


def pages(site: Path) -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(site.parent.rglob("*.html"))}


class Links(HTMLParser):
    """What a page points at, and what can be pointed at in it."""

    def __init__(self, text: str):
        super().__init__()
        self.targets: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name == "href":
                self.targets.append(str(value))
            elif name in ("src", "srcset"):
                self.sources.append(str(value))


def test_time_is_that_of_last_attempts(site: Path) -> None:
    assert "60 s, runs one after another; of 1 interrupted run the last attempt" in site.read_text()


def test_pages_refer_to_what_is_there_and_load_nothing(site: Path) -> None:
    found = {path: Links(text) for path, text in pages(site).items()}
    assert [str(path.relative_to(site.parent)) for path in found] == [
        "fig3/index.html", "index.html", "tableC2/index.html",
    ]  # fmt: skip
    for path, links in found.items():
        assert len(links.ids) == len(set(links.ids))
        assert all(source.startswith("data:") for source in links.sources)
        for target in links.targets:
            if target.startswith(("data:", "https://doi.org/")):
                continue
            file, _, place = target.partition("#")
            other = (path.parent / unquote(file)).resolve() if file else path
            assert other.is_file(), target
            assert not place or unquote(place) in found[other].ids, target
    own = sorted(path.name for path in (site.parent / "fig3").iterdir())
    tables = [f"{name}.{kind}" for name in ("long", "numbers") for kind in ("csv", "parquet")]
    pictures = [f"{name}-by-layer.{kind}" for name in "DR" for kind in ("pdf", "png")]
    assert own == sorted([*tables, *pictures, "index.html"])
    targets = found[site.parent / "fig3" / "index.html"].targets
    assert {*tables, *pictures} <= set(targets)


def test_no_script_runs_but_the_pages_own(site: Path) -> None:
    files = resources.files("poolscope.report")
    own = "\n".join(files.joinpath(name).read_text(encoding="utf-8") for name in ("page.js", "site.js"))
    for text in pages(site).values():
        assert re.findall(r"<script[^>]*>(.*?)</script>", text, flags=re.DOTALL) == [own]
        assert "default-src 'none'" in text
        assert text.count("alert(1)") == text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 3


def test_claims_are_saved_in_full(site: Path, reproduction: Reproduction) -> None:
    expected = reproduction.claims
    pd.testing.assert_frame_equal(read_result(site.parent / "claims.parquet").table, expected)
    read = pd.read_csv(site.parent / "claims.csv")
    assert read["sentence"].tolist() == expected["sentence"].tolist()
    pd.testing.assert_frame_equal(read[["value", "low", "high"]], expected[["value", "low", "high"]])
    assert read_result(site.parent / "fig3" / "numbers.parquet").table.equals(TABLE)


def test_a_page_shows_every_number_of_its_claims(site: Path, reproduction: Reproduction) -> None:
    text = pages(site)[site.parent / "fig3" / "index.html"]
    articles = text.split('<article class="judged"')[1:]
    assert len(articles) == 2
    for article, name in zip(articles, ("falls", "law"), strict=True):
        assert f'id="claim-{name}"' in article
        rows = reproduction.claims[reproduction.claims["claim"] == name]
        columns = ["displacement", "value", "low", "high"] if name == "falls" else ["value", "low", "high"]
        shown = [float(value) for value in re.findall(r'data-v="([^"]+)"', article.split("</table>")[0])]
        assert shown == rows[columns].to_numpy().ravel().tolist()  # to the last digit
    assert "0.1235</td>" in articles[0]
    assert "over images" in articles[0]
    assert "about an eighth" in articles[1]
    assert "no. 14" in pages(site)[site.parent / "tableC2" / "index.html"]


def test_a_page_says_how_to_make_it_again(site: Path, reproduction: Reproduction) -> None:
    text = pages(site)[site.parent / "fig3" / "index.html"]
    command = html.unescape(re.search(r'<pre class="command"[^>]*>(.*?)</pre>', text)[1])
    words = shlex.split(command)
    assert words == ["poolscope", "reproduce", "fig3", "--scale", "laptop", "--set", "fig3.width=16"]
    for key in (job.key for job in reproduction.parts[0].jobs.values()):
        assert key in text
    assert "60 s" in text  # two runs of 30 s
    assert "2 cores, torch 2.6.0" in text
    record = json.loads(html.unescape(re.search(r"<pre tabindex=\"0\">(\{.*?)</pre>", text, flags=re.DOTALL)[1]))
    assert record["settings"] == {"width": 16, "seeds": [0, 1], "data": EVIL}


def test_studies_that_were_not_run_say_why(site: Path) -> None:
    index = html.unescape(pages(site)[site])
    assert f'<p class="why">no images {EVIL}</p>' in index
    assert f"ValueError: {EVIL}" in index  # the run that failed
    assert "1 done" not in index
    assert "2 done, 1 not" in index
    study = html.unescape(pages(site)[site.parent / "fig3" / "index.html"])
    assert f"<strong>Not run in whole.</strong> 1 of 3 runs are missing {EVIL}" in study


def test_the_next_page_is_that_of_the_next_study_that_has_one(site: Path) -> None:
    texts = pages(site)
    (following,) = set(re.findall(r'rel="next" href="([^"]+)"', texts[site.parent / "fig3" / "index.html"]))
    assert following == "../tableC2/index.html"  # figC6 was not run
    assert 'rel="prev"' not in texts[site.parent / "fig3" / "index.html"]
    assert 'rel="next"' not in texts[site.parent / "tableC2" / "index.html"]


def test_one_study_that_cannot_be_drawn_does_not_stop_the_others(reproduction: Reproduction, tmp_path: Path) -> None:
    broken = replace(STUDY, panels=lambda tables: tables["nowhere"])
    parts = [part(broken, [], tables={"numbers": TABLE}), reproduction.parts[2]]
    with pytest.warns(UserWarning, match=r"fig3 could not be drawn: KeyError: 'nowhere'"):
        index = write_site(Reproduction("smoke", parts, [], claims_table(parts)), tmp_path / "out", record={})
    assert "could not be drawn: KeyError" in (index.parent / "fig3" / "index.html").read_text()
    assert (index.parent / "tableC2" / "index.html").is_file()


def test_the_folder_of_the_folder_must_exist(reproduction: Reproduction, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder of report must exist; .*nowhere is not a folder"):
        write_site(reproduction, tmp_path / "nowhere" / "report", record={})


@pytest.fixture
def open_page(chromium: Any, site: Path) -> Any:
    """Open a page; what the browser complains of, and what it asked for, is kept on it."""
    contexts = []

    def opened(name: str = "index.html", size: tuple[int, int] = WIDE, scheme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((site.parent / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


CONTRAST = """all => all.filter(e => e.checkVisibility() && e.innerText).map(e => {
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b };
    const clear = 'rgba(0, 0, 0, 0)'; let ground = e;
    while (getComputedStyle(ground).backgroundColor === clear) ground = ground.parentElement;
    const [a, b] = [light(getComputedStyle(e).color), light(getComputedStyle(ground).backgroundColor)];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })"""


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("index.html", WIDE, "light"),
        ("index.html", NARROW, "dark"),
        ("fig3/index.html", WIDE, "dark"),
        ("tableC2/index.html", NARROW, "light"),
    ],
)
def test_pages_open_alone_and_fit(open_page: Any, name: str, size: tuple[int, int], scheme: str) -> None:
    page = open_page(name, size, scheme)
    assert page.complaints == []
    assert all(address.startswith(("file:", "data:")) for address in page.asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    pictures = page.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.checkVisibility()])")
    assert len(pictures) == {"index.html": 1, "fig3/index.html": 2}.get(name, 0)
    assert all(natural > 0 and visible for natural, visible in pictures)
    icons = page.eval_on_selector_all("svg.icon", "all => all.map(i => i.getBoundingClientRect().width)")
    assert len([width for width in icons if 8 <= width <= 32]) >= 2
    ratios = page.eval_on_selector_all("p, h1, h2, h3, dt, dd, td, th, a, .badge, button, .why, .soft", CONTRAST)
    assert len(ratios) > 30
    assert min(ratios) > 4.5  # what WCAG 2.2 asks for (AA)


def shown(page: Any) -> list[str]:
    """The verdicts of the claims that are shown, from the top."""
    rows = "all => all.filter(r => r.checkVisibility()).map(r => r.cells[0].innerText.trim())"
    return page.eval_on_selector_all("table.claims tbody tr", rows)


def test_claims_are_shown_by_their_verdict_and_sorted(open_page: Any) -> None:
    page = open_page()
    everything = ["not reproduced", "reproduced", "not run", "not reproduced", "inconclusive"]  # at the published one
    assert shown(page) == everything
    counts = page.eval_on_selector_all(".tiles .count", "all => all.map(e => e.innerText)")
    assert counts == ["1", "2", "1", "1"]
    group = page.get_by_role("group", name="Which claims to show")
    group.get_by_role("button", name="not reproduced").click()
    assert shown(page) == ["not reproduced"] * 2
    assert page.get_by_role("status").inner_text() == "2 of 5 claims"
    group.get_by_role("button", name="all").focus()
    page.keyboard.press("Enter")
    assert shown(page) == everything
    page.locator("a[data-show=inconclusive]").click()  # a tile
    assert shown(page) == ["inconclusive"]
    assert group.get_by_role("button", pressed=True).inner_text() == "inconclusive"
    group.get_by_role("button", name="all").click()
    heading = page.locator("table.claims thead th").first
    heading.get_by_role("button").click()
    assert shown(page) == ["reproduced", "not reproduced", "not reproduced", "inconclusive", "not run"]
    page.locator("table.claims thead th").nth(1).get_by_role("button").click()
    assert shown(page) == everything  # in the order of the paper
    assert page.locator("table.claims thead button").count() == 2  # what cannot be ordered is not offered
    assert page.complaints == []


def test_a_row_shows_its_number_its_reasons_and_its_three_displacements(open_page: Any) -> None:
    page = open_page()
    row = page.locator("#claim-falls")
    assert row.locator(".measured").inner_text() == "0.123 (0.1 to 0.15)"
    assert row.locator(".expected").inner_text() == "below 0"
    marks = row.locator(".three .unseen").all_text_contents()
    assert [mark.rstrip("; ") for mark in marks] == [
        f"{HALF} px: reproduced", f"{PUBLISHED} px: not reproduced", f"{TWICE} px: inconclusive",
    ]  # fmt: skip
    assert row.locator(".why").all_inner_texts() == [f"a note {EVIL}"]
    assert page.locator("#claim-errs .why").all_inner_texts() == ["no. 14"]
    assert page.locator("#claim-law .why").count() == 0
    parts = page.locator("#claim-parts .measured")
    assert parts.locator("summary").inner_text() == "4 reproduced, 1 inconclusive"
    parts.locator("summary").click()
    assert parts.locator("li").all_inner_texts()[-1].split("\n")[-1].endswith("layer 5 0.05 (no interval)")
    page.locator("#claim-law a").click()
    assert page.url.endswith("fig3/index.html#claim-law")


def test_without_scripts_everything_is_there(open_page: Any) -> None:
    page = open_page(java_script_enabled=False)
    assert page.locator("button").count() == 0
    assert page.locator("table.claims tbody tr").count() == 5
    assert page.locator("img").first.is_visible()
