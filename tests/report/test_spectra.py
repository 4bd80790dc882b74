"""Filter spectra: colours, lines and mean frequencies against values worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from poolscope.report import plot_frequency, plot_spectra, plot_spectrum
from poolscope.report.spectra import frequencies

from .conftest import spectrum_table

CONSTANT = [1.0, 0, 0, 0, 0, 0]
HIGHEST = [0, 0, 0, 0, 0, 1.0]
WHITE_MEAN = (2 * 1 + 2 + 2 * 3 + 2 * 4 + 6) / 9  # mean eigenvalue of the 3x3 grid Laplacian: 24 / 9


def test_mean_frequency_of_known_filters():
    found = frequencies(spectrum_table({"a": "white", "b": CONSTANT, "c": "1x1", "d": HIGHEST}, error=0.01))
    assert [layer.layer for layer in found] == ["a", "b", "d"]
    assert [layer.value for layer in found] == pytest.approx([1, 0, 6 / WHITE_MEAN])
    assert [layer.initial for layer in found] == pytest.approx([1, 1, 1])
    assert found[0].se == pytest.approx(0.01 * (1 + 2 + 3 + 4 + 6) / WHITE_MEAN)
    measured = spectrum_table({"a": "white", "b": CONSTANT}).assign(frequency_se=0.125)
    assert [layer.se for layer in frequencies(measured)] == [0.125, 0.125]
    unknown = spectrum_table({"a": "white"}).assign(init_share=math.nan)
    assert math.isnan(frequencies(unknown)[0].initial)


def test_the_map_is_share_over_white_share():
    ax = plot_spectrum(spectrum_table({"a": [2 / 9, 1 / 9, 1 / 9, 2 / 9, 2 / 9, 1 / 9], "b": "1x1", "c": "white"}))
    meshes = [each for each in ax.collections if isinstance(each, QuadMesh)]
    np.testing.assert_allclose(meshes[0].get_array().ravel(), [2, 0.5, 1, 1, 1, 1])
    np.testing.assert_allclose(meshes[1].get_array().ravel(), 1)
    edges = meshes[0].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, np.array([0, 1, 3, 4, 6, 8, 9]) / 9)  # as wide as the multiplicities
    low, high = meshes[0].norm.vmin, meshes[0].norm.vmax
    assert low * high == pytest.approx(1)  # white is the middle of the colours
    assert high == pytest.approx(2)
    assert len([patch for patch in ax.patches if patch.get_hatch()]) == 1
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a  3×3", "b  1×1", "c  3×3"]


def test_a_vanishing_share_is_the_darkest_colour():
    ax = plot_spectrum(spectrum_table({"a": CONSTANT}))
    (mesh,) = [each for each in ax.collections if isinstance(each, QuadMesh)]
    colours = mesh.cmap(mesh.norm(mesh.get_array().ravel()))
    np.testing.assert_allclose(colours[1:], np.broadcast_to(mesh.cmap(0.0), (5, 4)))
    assert mesh.norm.vmax == pytest.approx(10)


def test_lines_of_one_layer():
    table = spectrum_table({"a": CONSTANT, "b": "1x1"}, error=0.01)
    ax = plot_spectra(table, "a")
    lines = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    assert list(lines) == ["white filters", "initial", "these filters"]
    np.testing.assert_allclose(lines["white filters"].get_ydata(), np.array([1, 2, 1, 2, 2, 1]) / 9)
    np.testing.assert_allclose(lines["these filters"].lines[0].get_ydata(orig=False), CONSTANT)
    assert "initial" not in plot_spectra(table.assign(init_share=math.nan), "a").get_legend_handles_labels()[1]
    with pytest.raises(ValueError, match="layer must be one of the table's; got 'z'"):
        plot_spectra(table, "z")
    with pytest.raises(ValueError, match="one that has a spectrum; got 'b': one tap"):
        plot_spectra(table, "b")


def test_mean_frequency_is_a_line_for_each_model():
    one = spectrum_table({"a": "white", "b": CONSTANT, "c": "1x1"})
    ax = plot_frequency(pd.concat([one.assign(model="first"), one.assign(model="second", init_share=math.nan)]))
    lines = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    assert list(lines) == ["white filters", "first", "initial", "second"]
    np.testing.assert_allclose(lines["second"].get_ydata(), [1, 0], atol=1e-12)
    np.testing.assert_allclose(lines["initial"].get_ydata(), [1, 1])
    assert lines["white filters"].get_ydata()[0] == 1
    with pytest.raises(ValueError, match="more than one tap; got none"):
        plot_frequency(spectrum_table({"c": "1x1"}))


def test_one_model_at_a_time_in_a_map():
    both = pd.concat([spectrum_table({"a": "white"}).assign(model=name) for name in ("first", "second")])
    with pytest.raises(ValueError, match=r"one model at a time.*model=; the table has first, second"):
        plot_spectrum(both)
    assert len(plot_spectrum(both, model="first").get_yticklabels()) == 1
    with pytest.raises(ValueError, match="model must be one of the table's, first, second; got 'third'"):
        plot_spectra(both, "a", model="third")
    with pytest.raises(ValueError, match=r"spectrum must have a row.*got none"):
        plot_spectrum(both[:0])
