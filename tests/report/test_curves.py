"""Figures show the numbers of the table, and nothing else."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

from poolscope.report import (
    plot_amplitudes,
    plot_deformations,
    plot_perturbed,
    plot_quantity,
    plot_sensitivities,
    plot_training,
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


@pytest.mark.parametrize("quantity", ["D", "G", "R"])
def test_line_and_band_are_the_tables(quantity):
    one = table()
    ax = plot_quantity(one, quantity)
    (line,) = ax.get_lines()
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


def test_amplitudes_and_training_curves():
    sweep = pd.concat([table().assign(displacement=d, cutoff=3) for d in (0.1, 1.0)])
    (line,) = plot_amplitudes(sweep).get_lines()
    assert line.get_xdata().tolist() == [0.1, 1.0]
    with pytest.raises(ValueError, match="layer must be one of the table's; got 'conv'"):
        plot_amplitudes(sweep, "conv")
    rows = [
        {"epoch": 1, "accuracy": 0.5, "validation_accuracy": 0.25},
        {"epoch": 2, "accuracy": 0.75, "validation_accuracy": 0.5},
    ]
    training, test = plot_training(rows).get_lines()
    assert list(training.get_ydata()) == [0.5, 0.25]
    assert list(test.get_ydata()) == [0.75, 0.5]


def test_pictures_are_the_images():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = images.roll(1, dims=-1)
    figure = plot_perturbed(images, moved, images + 0.5)
    assert len(figure.axes) == 10
    shown = figure.axes[1].get_images()[0].get_array()
    low, high = images[0].min(), images[0].max()
    expected = ((moved[0] - low) / (high - low)).clamp(0, 1).permute(1, 2, 0)
    np.testing.assert_allclose(shown, expected.numpy(), atol=1e-6)
    grid = plot_deformations(
        [[images[0], images[1]]], rows=["T"], columns=["a", "b"], allowed=[[True, False]], title="grid"
    )
    framed = [ax.spines["left"].get_visible() for ax in grid.axes]
    assert framed == [True, False]


def test_figures_are_saved_as_png_and_pdf(tmp_path):
    paths = save_figure(plot_sensitivities(table()), tmp_path / "figure")
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert paths[0].read_bytes()[:4] == b"\x89PNG"
    assert paths[1].read_bytes()[:4] == b"%PDF"
    assert sorted(tmp_path.iterdir()) == sorted(paths)
