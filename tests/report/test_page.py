"""The page is one file, needs no network, and escapes what it is given."""

import base64
import hashlib
import re
from importlib import resources

import pandas as pd
import pytest
from matplotlib.figure import Figure

from poolscope.report import Panel, Section, Table, write_page

EVIL = "</script><script>alert(1)</script>"


def write(path, **parts):
    figure = Figure()
    figure.subplots()
    return write_page(
        path / "report.html",
        "A <title>",
        summary=["R fell & rose"],
        figures=[(figure, "a caption")],
        tables=[("Numbers", pd.DataFrame({"layer": ["conv<1>"], "R": [0.123456]}))],
        record={"seed": 3, "name": EVIL},
        **parts,
    ).read_text(encoding="utf-8")


def test_page_holds_everything_itself(tmp_path):
    html = write(tmp_path)
    assert "A &lt;title&gt;" in html
    assert "R fell &amp; rose" in html
    assert "conv&lt;1&gt;" in html
    assert "0.1235" in html
    assert "&#34;seed&#34;: 3" in html
    addresses = re.findall(r'(?:src|srcset|href)="([^"]{0,12})', html)
    assert len(addresses) == 3
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert re.findall(r"https?://(?!www\.w3\.org)", html) == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_no_script_runs_but_its_own(tmp_path):
    table = Table(EVIL, pd.DataFrame({EVIL: [EVIL]}), words=EVIL)
    section = Section(EVIL, paragraphs=[EVIL], facts=[(EVIL, EVIL)], tables=[table])
    section.panels = [Panel("a", EVIL, (2.0, 2.0), lambda ax: ax.set_title(EVIL), alt=f'"{EVIL}')]
    html = write(tmp_path, sections=[section], subtitle=EVIL)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    assert scripts == [resources.files("poolscope.report").joinpath("page.js").read_text(encoding="utf-8")]
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html
    assert html.count("alert(1)") == html.count("&lt;script&gt;alert(1)&lt;/script&gt;")


def test_topics_gather_their_sentences(tmp_path):
    path = write_page(tmp_path / "p.html", "t", summary=["one", "two", ("Where", ["three", "R = 2 %"])], record={})
    html = path.read_text(encoding="utf-8")
    assert re.search(r"<div><p>one</p><p>two</p></div>", html)
    assert "<h3>Where</h3><div><p>three</p><p>R\xa0=\xa02\xa0%</p></div>" in html  # no line ends before the %


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder of p\.html must exist; .*nowhere is not a folder"):
        write_page(tmp_path / "nowhere" / "p.html", "t", summary=[], record={})


def test_the_same_page_twice_is_the_same_file(tmp_path):
    first, second = write(tmp_path), write(tmp_path)
    assert first == second


def test_template_style_and_script_are_shipped():
    for name in ("page.html.j2", "page.css", "page.js"):
        assert resources.files("poolscope.report").joinpath(name).is_file()
