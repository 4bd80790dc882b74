"""Light and dark, colours that can be told apart and seen, ticks that can be read."""

import itertools

import matplotlib as mpl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from poolscope.report import house_style
from poolscope.report.scale import log_ticks, read_as_numbers
from poolscope.report.style import COLOURS, DARK_COLOURS, VARIANTS, colours, legend_below, tell_apart

PAPER = {False: "#ffffff", True: "#15181c"}


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 .. 21."""

    def light(colour: str) -> float:
        r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    low, high = sorted((light(first), light(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_are_seen_on_their_ground(dark):
    with house_style(dark=dark):
        assert colours() == (DARK_COLOURS if dark else COLOURS)
        assert contrast(mpl.rcParams["text.color"], PAPER[dark]) > 10
        assert min(contrast(colour, PAPER[dark]) for colour in colours()) > (4.5 if dark else 2)
        with house_style():  # as every plotting function does: what is in force stays
            assert colours() == (DARK_COLOURS if dark else COLOURS)


def test_settings_are_given_back():
    before = dict(mpl.rcParams)
    with house_style(dark=True):
        assert dict(mpl.rcParams) != before
    assert dict(mpl.rcParams) == before


def test_variants_are_told_apart_without_colour():
    main = {name: look for name, look in VARIANTS.items() if name != "given"}  # never beside "trained"
    for (_, first), (_, second) in itertools.combinations(main.items(), 2):
        assert first.line != second.line
        assert first.marker != second.marker
        assert first.colour != second.colour


@given(low=st.floats(1e-9, 1e6), span=st.floats(1.02, 1e9))
def test_log_axes_have_readable_ticks(low, span):
    ticks = log_ticks(low, low * span)
    assert 2 <= len(ticks) <= 14
    assert all(low <= tick <= low * span for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_ticks_are_written_as_numbers():
    ax = Figure().subplots()
    ax.set_yscale("log")
    ax.set_ylim(0.15, 1.2)
    read_as_numbers(ax.yaxis)
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.2", "0.5", "1"]


def test_the_legend_covers_no_data():
    with house_style():
        figure = Figure()
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], label="one")
        ax.plot([0, 1], [1, 0], label="two")
        ax.set_xlabel("depth")
        legend_below(ax)
        figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert not box.overlaps(ax.get_window_extent())
    assert not box.overlaps(ax.xaxis.get_tightbbox())
    assert box.y0 >= 0


def test_layer_names_are_shortened_where_they_agree():
    assert tell_apart(["input", "conv1", "output"]) == ["input", "conv1", "output"]
    stages = [f"features.stage{number}.relu" for number in range(9)]
    assert tell_apart(["input", *stages], 14) == ["input", *(f"stage{number}.relu" for number in range(9))]
    long = [f"features.stage{number}.block.activation" for number in range(9)]
    assert tell_apart([*long, "output"], 14) == [*(f"stage{number}…" for number in range(9)), "output"]
    assert tell_apart(["a" * 40, "b" * 40], 10) == ["…" + "a" * 9, "…" + "b" * 9]
    assert tell_apart([], 10) == []
