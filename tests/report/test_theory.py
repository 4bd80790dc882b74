"""Figures and sentences of exact theory: the drawn numbers are the table's, laws are dashed, nan is a gap."""

import math

import numpy as np
import pandas as pd
import pytest

from poolscope.report.said.theory import what_learned_filters_do, where_laws_hold, where_predictions_go
from poolscope.report.theory import plot_filters, plot_predictions, plot_profiles, plot_ratios


@pytest.fixture
def table() -> pd.DataFrame:
    k = np.arange(1, 5)
    return pd.DataFrame(
        {
            "k": k, "A": np.sqrt(k), "D": 0.4 / k, "D_law": 0.25 / k, "G_rectified": 0.3 + 0.5 * k, "G_law": 0.5 * k,
            "G_relu": 0.2 * k, "G_relu_law": 0.1 * k, "G_linear": 1.0 + k / 100, "G_linear_law": 1.0, "R": 0.8 / k**2,
            "R_law": 0.5 / k**2, "note": "",
        }
    )  # fmt: skip


def drawn(ax) -> dict[str, tuple[list[float], list[float]]]:
    """Label → data of the lines with markers."""
    marked = [line for line in ax.lines if line.get_marker() not in ("None", None, "")]
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in marked}


@pytest.mark.parametrize(
    ("quantity", "columns"),
    [
        ("D", {"exact": "D"}),
        ("R", {"exact": "R"}),
        (
            "G",
            {
                "rectified noise": "G_rectified",
                "plain noise, ReLU network": "G_relu",
                "plain noise, linear network": "G_linear",
            },
        ),
    ],
)
def test_exact_values_have_markers_and_their_laws_dashes_of_the_same_colour(table, quantity, columns):
    ax = plot_predictions(table, quantity)
    lines = drawn(ax)
    assert set(lines) == set(columns)
    laws = {"D": "D_law", "G_rectified": "G_law", "G_relu": "G_relu_law", "G_linear": "G_linear_law", "R": "R_law"}
    for label, column in columns.items():
        np.testing.assert_allclose(lines[label], [table["A"], table[column]])
        (line,) = [each for each in ax.lines if each.get_label() == label]
        dashed = [each for each in ax.lines if each.get_color() == line.get_color() and each is not line]
        assert len(dashed) == 1
        np.testing.assert_allclose(dashed[0].get_ydata(), table[laws[column]])
        assert dashed[0].is_dashed()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "pixels" in ax.get_xlabel()
    with pytest.raises(ValueError, match="quantity must be one of D, G, R; got 'S'"):
        plot_predictions(table, "S")


def test_what_is_not_defined_is_not_drawn(table):
    table.loc[2, "R"] = math.nan
    table.loc[3, "R"] = 0.0  # no place on a logarithmic axis
    np.testing.assert_allclose(drawn(plot_predictions(table, "R"))["exact"][1], [0.8, 0.2, math.nan, math.nan])


def test_ratios_stand_on_a_band(table):
    ratios = pd.DataFrame({"k": table["k"], "D": 1.0, "G": 1 + 1 / table["k"], "R": [0.5, math.nan, 0.8, 1.0]})
    ax = plot_ratios(ratios, tolerance=0.1)
    lines = drawn(ax)
    assert list(lines) == ["D", "G", "R"]
    np.testing.assert_allclose(lines["R"][1], ratios["R"])
    assert lines["D"][0] == [1, 2, 3, 4]
    (band,) = ax.patches
    assert band.get_y() == pytest.approx(0.9)
    assert band.get_height() == pytest.approx(0.2)
    assert "within 10%" in ax.get_legend_handles_labels()[1]


def test_filters_are_compared_layer_by_layer(table):
    learned = table.assign(G_rectified=[0.9, 1.0, math.nan, math.nan], filters="learned mean filters")
    both = pd.concat([table.assign(filters="homogeneous filters"), learned])
    lines = drawn(plot_filters(both, "G"))
    assert list(lines) == ["homogeneous filters", "learned mean filters"]
    np.testing.assert_allclose(lines["homogeneous filters"][1], table["G_rectified"])
    np.testing.assert_allclose(lines["learned mean filters"], [[1, 2, 3, 4], [0.9, 1.0, math.nan, math.nan]])
    with pytest.raises(ValueError, match="got 'A'"):
        plot_filters(both, "A")


def test_profiles_are_points_between_two_lines():
    offset = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    one = pd.DataFrame({"offset": offset, "exact": [0.3, math.nan, 0.4, math.nan, 0.3]})
    one["true"], one["printed"] = 0.2, 0.5
    ax = plot_profiles(pd.concat([one.assign(k=1), one.assign(k=3, exact=one["exact"] / 2)]))
    lines = drawn(ax)
    np.testing.assert_allclose(lines["layer 1"], [[-1, 0, 1], [0.3, 0.4, 0.3]])
    np.testing.assert_allclose(lines["layer 3"][1], [0.15, 0.2, 0.15])
    (first,) = [line for line in ax.lines if line.get_label() == "layer 1"]
    gaussians = [line for line in ax.lines if line.get_color() == first.get_color() and line is not first]
    assert [(line.get_ydata()[0], line.is_dashed()) for line in gaussians] == [(0.2, False), (0.5, True)]
    assert ax.get_ylim()[0] == 0


def test_sentences_give_first_and_last_values(table):
    (said,) = where_predictions_go(table)
    assert said.startswith("From layer 1 to 4, D goes from 0.4 to 0.1 and G (rectified noise) from 0.8 to 2.3, so that")
    assert "R = D / G goes from 0.8 to 0.05: without learning anything" in said
    (rising,) = where_predictions_go(table.assign(R=table["k"] / 10))
    assert rising.endswith("R = D / G goes from 0.1 to 0.4.")
    table.loc[3, ["D", "G_rectified", "R"]] = math.nan
    assert where_predictions_go(table)[0].startswith("From layer 1 to 3, D goes from 0.4 to 0.133")
    assert where_predictions_go(table.iloc[:1]) == [
        "At layer 1 D is 0.4, G is 0.8 and R is 0.8; G is of rectified noise."
    ]
    assert where_predictions_go(table.iloc[3:]) == [
        "Nothing is left of where the pixels are from layer 1 on: D, G and R are not defined."
    ]


def test_sentences_name_the_layers_where_laws_hold():
    sizes = {"length": 32, "stride": 1, "dim": 1, "depth": 12}
    said = where_laws_hold(sizes, {"D": [1, 2, 3, 5], "G": [], "R": [4]}, {"D": 6, "G": None, "R": 57})
    assert "D falls like A⁻² and G grows like A, with A = √(k (F² − 1) / 12) pixels." in said[0]
    assert said[1].endswith("for D at layers 1 to 3 and 5, G at none and R at layer 4.")
    assert "of 12 layers" in said[1]
    assert said[2] == (
        "On an image that is large enough they are for D from layer 6 on, G nowhere and R from layer 57 on."
    )
    square = where_laws_hold({**sizes, "stride": 2, "dim": 2}, {"D": [1]}, {"D": 1})
    assert "falls like A⁻¹ and G grows like A², with A = Fᵏ" in square[0]


def test_sentences_compare_learned_filters_with_homogeneous_ones(table):
    learned = table.assign(D=table["D"] * [1.0, 1.09, 0.91, 1.2], R=math.nan)
    learned["G_rectified"] *= [2.0, 1.0, 1.0, math.nan]
    learned["note"] = ["", "", "gone", "gone"]
    assert what_learned_filters_do(table, learned, ()) == [
        "Of 4 layers, the mean filters give homogeneous ones' values within 10 % for D at layers 1 to 3, G at layers 2 "
        "to 3 and R at none.",
        "Layers 3 to 4: gone.",
    ]
    said = what_learned_filters_do(table, learned, ("biases", "zeros outside of the frame"))
    assert said[-1] == "The prediction leaves out the network's biases and zeros outside of the frame."
