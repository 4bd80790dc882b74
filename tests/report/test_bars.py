"""Bars of the spatial share: as long as the table says, none where it says nothing."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from poolscope.report import plot_shares
from poolscope.report.bars import shares_size

from .conftest import share_table

NAN = (math.nan, math.nan, math.nan)


def bars(ax):
    return {round(bar.get_y() + bar.get_height() / 2, 3): bar.get_width() for bar in ax.patches}


def test_bars_and_errors_are_the_tables():
    ax = plot_shares(share_table([(0.25, 0.1, 0.4), (1.2, 0.9, 1.5)]))
    assert bars(ax) == {0: 0.25, 1: 1.2}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["relu1", "output"]  # the input has no share
    ends = [path.vertices[:, 0].tolist() for path in ax.collections[0].get_paths()]
    np.testing.assert_allclose(ends, [[0.1, 0.4], [0.9, 1.5]])
    top, bottom = ax.get_ylim()[1], ax.get_ylim()[0]
    assert top < bottom  # the input on top
    references = [line.get_xdata()[0] for line in ax.get_lines() if len(set(line.get_xdata())) == 1]
    assert 0 in references
    assert 1 in references


def test_nothing_known_is_a_cross_and_no_bar():
    ax = plot_shares(share_table([NAN, (0.5, 0.4, 0.6)]))
    assert bars(ax) == {1: 0.5}
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["nothing can be said"]
    assert list(handles[0].get_ydata()) == [0]
    assert bars(plot_shares(share_table([NAN, NAN]))) == {}


def test_values_far_out_are_written_beside_a_cut_bar():
    ax = plot_shares(share_table([(-7.0, -9.0, -5.0), (12.5, 10.0, 15.0), (0.5, 0.4, 0.6)]))
    assert [text.get_text() for text in ax.texts] == ["◂ -7.0", "▸ 12.5"]
    assert bars(ax) == {0: -1.5, 1: 2.5, 2: 0.5}
    assert ax.get_xlim()[1] < 3


def test_displacements_and_models_stand_beside_each_other():
    one = share_table([(0.2, 0.1, 0.3), (0.4, 0.3, 0.5)])
    ax = plot_shares(pd.concat([one.assign(displacement=0.3), one.assign(displacement=1.5)]))
    assert ax.get_legend_handles_labels()[1] == ["0.3 px", "1.5 px"]
    assert bars(ax) == {-0.2: 0.2, 0.8: 0.4, 0.2: 0.2, 1.2: 0.4}
    fills = {bar.get_facecolor()[3] for bar in ax.patches}
    assert len(fills) == 2  # told apart without colour
    ax = plot_shares(pd.concat([one.assign(model="a"), one.assign(model="b")]))
    assert ax.get_legend_handles_labels()[1] == ["a", "b"]


def test_fifty_layers_do_not_overlap():
    many = share_table([(0.5, 0.4, 0.6)] * 50)
    ax = plot_shares(many)
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert len(boxes) == 50
    assert not any(first.overlaps(second) for first, second in itertools.pairwise(boxes))
    assert tuple(ax.figure.get_size_inches()) == shares_size(many)


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match=r"shares must have a row for a layer beyond the input.*got none"):
        plot_shares(share_table([NAN])[:1])
