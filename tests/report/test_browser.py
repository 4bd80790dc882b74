"""Pages in a real browser: nothing is loaded, nothing overflows, every figure shows, tables sort and download."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

WIDE, NARROW = (1280, 900), (390, 844)


@pytest.fixture
def open_page(chromium: Any, full_report: tuple[Path, dict[str, pd.DataFrame]]) -> Any:
    """Open the full report; what the browser complains of, and what it asked for, is kept on the page."""
    contexts = []

    def opened(size: tuple[int, int] = WIDE, scheme: str = "light", **options: Any) -> Any:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(full_report[0].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_loads_alone_and_fits(open_page, size, scheme):
    page = open_page(size, scheme)
    assert page.complaints == []
    assert all(address.startswith(("file:", "data:")) for address in page.asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    figures = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.naturalWidth, i.getBoundingClientRect().width, i.checkVisibility(), i.alt])"
    )
    assert len(figures) == 12  # samples; D, G, R twice; amplitudes; shares; map, levels and mean frequency
    for natural, shown, visible, alt in figures:
        assert natural > 0
        assert 200 < shown <= size[0]
        assert visible
        assert len(alt) > 20
    assert page.locator("h1").inner_text().startswith("A <b>bold</b> title & </script>")
    assert "broken" not in page.title().replace("document.title = 'broken'", "")


def test_figures_follow_the_colour_scheme(open_page):
    shown = {}
    for scheme in ("light", "dark"):
        page = open_page(scheme=scheme)
        shown[scheme] = page.eval_on_selector_all("img", "all => all.map(i => i.currentSrc)")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 150) == (scheme == "dark")
    assert all(light != dark for light, dark in zip(shown["light"], shown["dark"], strict=True))


def column(page: Any, heading: str) -> list[str]:
    """The texts of one column of the first table, from the top."""
    names = [name.strip() for name in page.locator("table >> nth=0").locator("thead th").all_inner_texts()]
    return page.eval_on_selector_all(
        "table:first-of-type", f"all => [...all[0].tBodies[0].rows].map(r => r.cells[{names.index(heading)}].innerText)"
    )


def test_a_click_sorts_by_value_with_nothing_last(open_page, full_report):
    page = open_page()
    values = full_report[1]["results"]["R"]
    expected = [f"{value:.4g}".replace("-", "−") for value in sorted(values.dropna())]
    missing = ["–"] * int(values.isna().sum())
    assert missing
    heading = page.locator("table >> nth=0").get_by_role("columnheader", name="R", exact=True)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, "R") == expected + missing
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, "R") == expected[::-1] + missing
    assert page.complaints == []


def test_the_keyboard_sorts_too(open_page, full_report):
    page = open_page()
    headings = page.locator("table >> nth=0").get_by_role("columnheader")
    headings.nth(0).get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert headings.nth(0).get_attribute("aria-sort") == "ascending"
    assert column(page, "layer") == sorted(full_report[1]["results"]["layer"])
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert headings.nth(0).get_attribute("aria-sort") is None
    assert headings.nth(1).get_attribute("aria-sort") == "ascending"


def test_every_table_downloads_in_full_precision(open_page, full_report):
    page = open_page(accept_downloads=True)
    links = page.locator("a[download]")
    tables = full_report[1]
    assert links.count() == len(tables) == 4
    for number, name in enumerate(("results", "contrasts", "shares", "spectrum")):
        with page.expect_download() as waiting:
            links.nth(number).click()
        assert waiting.value.suggested_filename.endswith(".csv")
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        read = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
        assert list(read.columns) == list(tables[name].columns)
        for column_name, expected in tables[name].items():
            if expected.dtype.kind in "if":
                found = [float(cell or "nan") for cell in read[column_name]]  # to the last bit, nan for nothing
                np.testing.assert_array_equal(found, expected.to_numpy(float))
            else:
                assert read[column_name].tolist() == expected.tolist()


def test_paper_shows_the_figures_on_white(open_page):
    page = open_page(scheme="dark")
    screen = page.eval_on_selector_all("img", "all => all.map(i => i.currentSrc)")
    page.emulate_media(media="print")
    page.wait_for_function("document.images[0].complete")
    paper = page.eval_on_selector_all("img", "all => all.map(i => [i.currentSrc, i.checkVisibility()])")
    assert all(visible and source != before for (source, visible), before in zip(paper, screen, strict=True))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("a[download]").first.is_visible()
    assert not page.locator("details").is_visible()


def test_without_scripts_everything_is_there(open_page, full_report):
    page = open_page(java_script_enabled=False)
    assert page.locator("button").count() == 0  # what would do nothing is not offered
    assert page.locator("table >> nth=0").locator("tbody tr").count() == len(full_report[1]["results"])
    assert page.locator("img").first.is_visible()
    assert page.locator("a[download]").count() == 4
    page.locator("summary").click()
    assert page.locator("pre").inner_text().startswith("{")


def test_text_stands_out_from_its_ground(open_page):
    """4.5 : 1 for all text, the contrast that WCAG 2.2 asks for (AA)."""
    ratio = """all => all.filter(e => e.checkVisibility() && e.innerText).map(e => {
        const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126*r + .7152*g + .0722*b };
        const clear = 'rgba(0, 0, 0, 0)'; let ground = e;
        while (getComputedStyle(ground).backgroundColor === clear) ground = ground.parentElement;
        const [a, b] = [light(getComputedStyle(e).color), light(getComputedStyle(ground).backgroundColor)];
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) })"""
    for scheme in ("light", "dark"):
        ratios = open_page(scheme=scheme).eval_on_selector_all("p, h1, h2, h3, dt, dd, td, th, a, figcaption", ratio)
        assert len(ratios) > 100
        assert min(ratios) > 4.5
