"""Tables of a page: four digits to look at, all of them to sort by and to take away."""

import base64
import math

import pandas as pd

from poolscope.report import Table
from poolscope.report.tables import to_html


def test_cells_show_four_digits_and_sort_by_all():
    data = pd.DataFrame({"layer": ["a", None], "R": [0.1 + 0.2, math.nan], "n": [3, -4]})
    html = to_html(Table("Some numbers", data), 7)
    assert html["id"] == "t7"
    assert [column["kind"] for column in html["columns"]] == ["t", "n", "n"]
    first, second = html["rows"]
    assert [cell["text"] for cell in first] == ["a", "0.3", "3"]
    assert [cell["value"] for cell in first] == [None, "0.3", "3"]
    assert [cell["text"] for cell in second] == ["", "–", "−4"]
    assert [cell["value"] for cell in second] == [None, None, "-4"]
    text = base64.b64decode(html["csv"].partition(",")[2]).decode()
    assert text == "layer,R,n\na,0.30000000000000004,3\n,,-4\n"
    assert html["file"] == "Some_numbers.csv"


def test_a_choice_of_columns_is_shown_and_all_are_downloaded():
    data = pd.DataFrame({"a": [1], "b": [2]})
    html = to_html(Table("t", data, ["b"]), 1)
    assert [column["name"] for column in html["columns"]] == ["b"]
    assert base64.b64decode(html["csv"].partition(",")[2]) == b"a,b\n1,2\n"


def test_infinities_sort_last_and_are_named():
    html = to_html(Table("t", pd.DataFrame({"a": [math.inf, -math.inf]})), 1)
    assert [row[0]["text"] for row in html["rows"]] == ["inf", "-inf"]
    assert [row[0]["value"] for row in html["rows"]] == [None, None]


def test_long_tables_are_left_out_on_paper():
    assert not to_html(Table("t", pd.DataFrame({"a": range(60)})), 1)["long"]
    assert to_html(Table("t", pd.DataFrame({"a": range(61)})), 1)["long"]
