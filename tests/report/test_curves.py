"""Figures show the numbers of the table, and nothing else."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poolscope.report import (
    plot_amplitudes,
    plot_deformations,
    plot_perturbed,
    plot_quantity,
    plot_sensitivities,
    save_figure,
)


def table(model: str = "net", variant: str = "given", factor: float = 1.0) -> pd.DataFrame:
    R = factor * np.array([1.0, 0.5, 0.25])
    return pd.DataFrame(
        {
            "layer": ["input", "relu", "output"],
            "depth": [0, 0.5, 1],
            "D": 0.1 * R,
            "D_se": 0.01 * R,
            "G": [0.1, 0.1, 0.1],
            "G_se": [0.01, 0.01, 0.01],
            "R": R,
            "R_low": 0.9 * R,
            "R_high": 1.1 * R,
            "model": model,
            "variant": variant,
        }
    )


def data_lines(ax: Axes) -> list[Line2D]:
    """The lines of the legend: all but single draws and reference lines."""
    return ax.get_legend_handles_labels()[0]


@pytest.mark.parametrize("quantity", ["D", "G", "R"])
def test_line_and_band_are_the_tables(quantity):
    one = table()
    ax = plot_quantity(one, quantity)
    (line,) = data_lines(ax)
    assert line.get_xdata().tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(line.get_ydata(), one[quantity])
    corners = ax.collections[0].get_paths()[0].vertices[:, 1]
    reach = 0.1 if quantity == "R" else 1.96 * 0.1  # R's own interval; D and G by their standard errors
    np.testing.assert_allclose(corners.max(), one[quantity].max() * (1 + reach))
    np.testing.assert_allclose(corners.min(), one[quantity].min() * (1 - reach))


def test_one_labelled_line_for_each_model_and_variant():
    tables = pd.concat([table(), table(variant="trained", factor=2), table(model="other")])
    ax = plot_quantity(tables, "R")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["net, given", "net, trained", "other, given"]
    long = plot_quantity(pd.concat([table("a" * 90), table("b" * 90)]), "R")
    assert all(len(text.get_text()) <= 32 for text in long.get_legend().get_texts())


def test_the_axes_handed_in_are_drawn_on_and_settings_are_given_back():
    before = dict(mpl.rcParams)
    figure = plot_sensitivities(table())
    ax = figure.axes[0]
    assert plot_quantity(table(), "R", ax=ax) is ax
    assert dict(mpl.rcParams) == before


def test_an_unknown_quantity_is_refused():
    with pytest.raises(ValueError, match="quantity must be one of D, G, R; got 'S'"):
        plot_quantity(table(), "S")


def test_amplitudes_are_the_tables():
    sweep = pd.concat([table().assign(displacement=d, cutoff=3) for d in (0.1, 1.0)])
    (line,) = data_lines(plot_amplitudes(sweep))
    assert line.get_xdata().tolist() == [0.1, 1.0]
    with pytest.raises(ValueError, match="layer must be one of the table's; got 'conv'"):
        plot_amplitudes(sweep, "conv")


def test_pictures_are_the_images():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    moved, noisy = images.roll(1, dims=-1), images + 0.5
    ax = plot_perturbed(images, moved, noisy)
    assert len(ax.child_axes) == 10
    shown = [cell.get_images()[0].get_array() for cell in ax.child_axes[:5]]
    low, high = images[0].min(), images[0].max()
    for picture, array in zip((images, moved, noisy), shown[:3], strict=True):
        expected = ((picture[0] - low) / (high - low)).clamp(0, 1).permute(1, 2, 0)
        np.testing.assert_allclose(array, expected.numpy(), atol=1e-6)
    tau, eta = ((each[0] - images[0]).mean(dim=0) for each in (moved, noisy))
    reach = max(tau.abs().max(), eta.abs().max())
    for difference, array in zip((tau, eta), shown[3:], strict=True):
        np.testing.assert_allclose(array, ((difference / reach + 1) / 2).numpy(), atol=1e-6)
    assert [text.get_text() for text in ax.texts] == ["x", "τx", "x + η", "τx − x", "η"]
    mine = Figure().subplots()
    assert plot_perturbed(images, moved, noisy, ax=mine) is mine
    with pytest.raises(ValueError, match=r"at least 1 image is needed.*got 0"):
        plot_perturbed(images[:0], moved[:0], noisy[:0])


def test_a_grid_of_deformations_frames_what_is_allowed():
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    columns, allowed = ["a", "b"], [[True, False]]
    grid = plot_deformations([[picture, picture]], rows=["T"], columns=columns, allowed=allowed, title="grid")
    framed = [ax.spines["left"].get_visible() for ax in grid.axes]
    assert framed == [True, False]


def test_shuffled_draws_are_thin_under_their_geometric_mean():
    draws = pd.concat([table(variant="shuffled", factor=factor).assign(draw=k) for k, factor in enumerate((1.0, 4.0))])
    ax = plot_quantity(pd.concat([table(variant="trained").assign(draw=0), draws]), "R")
    handles, labels = ax.get_legend_handles_labels()
    assert labels == ["trained", "shuffled (2 draws)"]
    np.testing.assert_allclose(handles[1].get_ydata(), 2 * table()["R"])  # √(1 · 4) = 2
    thin = [line for line in ax.get_lines() if line.get_linewidth() < 1 and len(line.get_xdata()) == 3]
    assert [line.get_ydata().tolist() for line in thin] == [(f * table()["R"]).tolist() for f in (1.0, 4.0)]
    assert handles[0].get_linestyle() == "-"
    assert handles[1].get_linestyle() == "--"
    assert handles[0].get_marker() != handles[1].get_marker()


def test_what_is_not_a_number_leaves_a_gap():
    gap = table()
    gap.loc[1, ["R", "R_low", "R_high"]] = np.nan
    (line,) = data_lines(plot_quantity(gap, "R"))
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    draws = pd.concat([gap.assign(variant="shuffled", draw=k) for k in range(2)])
    (line,) = data_lines(plot_quantity(draws, "R"))
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]


def test_one_amplitude_at_a_time():
    several = pd.concat([table(factor=f).assign(displacement=f, cutoff=3) for f in (0.3, 1.0)])
    with pytest.raises(ValueError, match=r"one displacement at a time.*displacement=; the table has 0.3, 1$"):
        plot_quantity(several, "R")
    (line,) = data_lines(plot_quantity(several, "R", displacement=1.0))
    np.testing.assert_allclose(line.get_ydata(), table()["R"])
    with pytest.raises(ValueError, match=r"displacement must be one of the table's, 0.3, 1; got 0.5"):
        plot_quantity(several, "R", displacement=0.5)
    with pytest.raises(ValueError, match=r"no such column; got 1.0"):
        plot_quantity(table(), "R", displacement=1.0)
    with pytest.raises(ValueError, match="the table must have displacements"):
        plot_amplitudes(table())


def test_amplitudes_average_draws_and_tell_models_apart():
    rows = [
        table(model=model, variant="shuffled", factor=f * g).assign(draw=k, displacement=d)
        for model, g in (("a", 1.0), ("b", 2.0)) for k, f in enumerate((1.0, 4.0)) for d in (1.5, 0.3)
    ]
    a, b = data_lines(plot_amplitudes(pd.concat(rows)))
    assert a.get_xdata().tolist() == [0.3, 1.5]
    np.testing.assert_allclose(a.get_ydata(), 0.25 * 2)
    np.testing.assert_allclose(b.get_ydata(), 0.25 * 4)
    assert a.get_color() != b.get_color()
    assert a.get_marker() != b.get_marker()


def test_one_legend_for_three_quantities():
    figure = plot_sensitivities(pd.concat([table(), table(variant="initial")]))
    assert [ax.get_legend() for ax in figure.axes] == [None] * 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["net", "initial"]


@pytest.mark.parametrize("name", [r"$\frac{$", "_hidden", "a" * 200, "<b>&"])
def test_any_name_can_stand_in_a_legend(name):
    figure = plot_sensitivities(pd.concat([table(name), table("other")]))
    figure.draw_without_rendering()
    assert len(figure.legends[0].get_texts()) == 2


def test_figures_are_saved_as_png_and_pdf(tmp_path):
    paths = save_figure(plot_sensitivities(table()), tmp_path / "figure")
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert paths[0].read_bytes()[:4] == b"\x89PNG"
    assert paths[1].read_bytes()[:4] == b"%PDF"
    assert sorted(tmp_path.iterdir()) == sorted(paths)
