"""The page is one file, needs no network, and escapes what it is given."""

import re

import pandas as pd
from matplotlib.figure import Figure

from poolscope.report import write_page


def test_page_holds_everything_itself(tmp_path):
    figure = Figure()
    figure.subplots()
    path = write_page(
        tmp_path / "report.html",
        "A <title>",
        summary=["R fell & rose"],
        figures=[(figure, "a caption")],
        tables=[("Numbers", pd.DataFrame({"layer": ["conv<1>"], "R": [0.123456]}))],
        record={"seed": 3},
    )
    html = path.read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in html
    assert "R fell &amp; rose" in html
    assert "conv&lt;1&gt;" in html
    assert "0.1235" in html
    assert "&#34;seed&#34;: 3" in html
    assert re.findall(r'src="(?!data:)|href=|https?://', html) == []
    assert list(tmp_path.iterdir()) == [path]
