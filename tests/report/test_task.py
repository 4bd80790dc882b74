"""Pictures of scale detection: which squares are dark, which are framed, and where patches begin."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from poolscope.report.style import house_style
from poolscope.report.task import Cell, Steps, inputs_size, plot_inputs


def dark(ax) -> list[list[int]]:
    """Rows and columns of the active pixels."""
    (image,) = ax.images
    return np.argwhere(np.isclose(np.asarray(image.get_array()), to_rgb("#111418")).all(-1)).tolist()


def insets(ax) -> list:
    return ax.child_axes


def test_a_square_shows_its_pixels_and_frames_their_old_places():
    cell = Cell(8, np.array([[1, 2], [7, 0]]), before=np.array([[1, 1], [6, 0]]), words="label +1")
    ax = plot_inputs([("moves", [cell])])
    (inset,) = insets(ax)
    assert dark(inset) == [[1, 2], [7, 0]]
    frames = [each for each in inset.patches if isinstance(each, Rectangle)]
    assert [each.get_xy() for each in frames] == [(0.5, 0.5), (-0.5, 5.5)]  # x is the column, y the row
    assert inset.get_xlim() == (-0.5, 7.5)
    assert inset.get_ylim() == (7.5, -0.5)
    assert {text.get_text() for text in ax.texts} == {"moves", "label +1"}


def test_a_view_shows_a_part():
    (inset,) = insets(plot_inputs([("", [Cell(20, np.array([[5, 9], [7, 9]]), view=((3, 9), (6, 12)))])]))
    assert inset.get_ylim() == (9.5, 2.5)
    assert inset.get_xlim() == (5.5, 12.5)


@pytest.mark.parametrize(("length", "patch"), [(9, 3), (10, 4)])
def test_neighbouring_patches_differ_in_colour(length, patch):
    (row,) = insets(plot_inputs([("", [Cell(length, np.array([[0], [1]]), patch=patch)])]))
    colours = np.asarray(row.images[0].get_array())[0, 2:]
    changes = [n + 2 for n in range(1, len(colours)) if not np.allclose(colours[n], colours[n - 1])]
    assert changes == list(range(patch, length, patch))
    (square,) = insets(plot_inputs([("", [Cell(length, np.array([[0, 0], [0, 1]]), patch=patch)])]))
    picture = np.asarray(square.images[0].get_array())
    for a in range(0, length - patch, patch):
        for b in range(0, length - patch, patch):
            here = [picture[a + 1, b + 1], picture[a + patch, b + 1], picture[a + 1, b + patch]]
            assert len({tuple(each) for each in here}) == 3


def test_rows_of_pixels_stand_below_each_other():
    cells = [Cell(16, np.array([[n], [n + 4]]), words=f"d = {n}") for n in range(3)]
    ax = plot_inputs([("near", cells), ("far", cells[:1])])
    assert [dark(inset) for inset in insets(ax)] == [[[0, n], [0, n + 4]] for n in (0, 1, 2, 0)]
    ax.figure.canvas.draw()
    tops = [inset.get_position().y1 for inset in insets(ax)]
    assert tops == sorted(tops, reverse=True)
    boxes = [inset.get_position() for inset in insets(ax)]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))


def test_chances_of_steps_are_written_where_they_lead():
    chances = np.array([[1 / 12, 1 / 6, 1 / 12], [1 / 6, 0, 1 / 6], [1 / 12, 1 / 6, 1 / 12]])
    (inset, _) = insets(plot_inputs([("", [Steps(chances), Cell(4, np.array([[0, 0], [1, 1]]))])]))
    written = {tuple(map(int, text.get_position())): text.get_text() for text in inset.texts}
    assert (1, 1) not in written
    assert written[0, 0] == "1/12"
    assert written[0, 1] == written[1, 0] == written[2, 1] == written[1, 2] == "1/6"


def test_dark_grounds_have_light_pixels():
    with house_style(dark=True):
        (inset,) = insets(plot_inputs([("", [Cell(5, np.array([[2], [4]]))])]))
    picture = np.asarray(inset.images[0].get_array())[0]
    assert picture[2].sum() == 3
    assert picture[0].sum() < 1


def test_the_figure_holds_all_rows():
    cells = [Cell(16, np.array([[0], [4]]))] * 3
    assert inputs_size([("", cells)] * 2)[1] > inputs_size([("", cells)])[1]
    squares = [Cell(4, np.array([[0, 0], [1, 1]]))] * 4
    assert inputs_size([("", squares)])[0] > inputs_size([("", squares[:2])])[0]
