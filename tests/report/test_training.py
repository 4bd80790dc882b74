"""Pictures and the page of a training show the numbers of its tables, and nothing else."""

import html
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from poolscope.report import plot_dynamics, plot_layers, plot_training
from poolscope.studies.train import gather
from poolscope.training.averages import average_over_seeds
from training.made_up_runs import made_run, measured


def labelled(ax: Axes) -> dict[str, Line2D]:
    handles, labels = ax.get_legend_handles_labels()
    return dict(zip(labels, handles, strict=True))


def thin(ax: Axes) -> list[list[float]]:
    """Heights of the lines of single seeds."""
    return [list(line.get_ydata()) for line in ax.get_lines() if line.get_linewidth() < 1]


def bands(ax: Axes) -> list[np.ndarray]:
    """Lower and upper bounds of each band: [2, points]."""
    found = []
    for band in ax.collections:
        corners = band.get_paths()[0].vertices
        ends = [corners[np.isclose(corners[:, 0], x)][:, 1] for x in sorted(set(corners[:, 0]))]
        found.append(np.array([[end.min() for end in ends], [end.max() for end in ends]]))
    return found


def curves(*runs: Any) -> pd.DataFrame:
    return gather(list(runs)).curves


def averages(*seeds: dict[int, float], displacement: float = 1.0) -> pd.DataFrame:
    tables = [measured(seed, R, displacement=displacement) for seed, R in enumerate(seeds)]
    return average_over_seeds(pd.concat(tables, ignore_index=True))


@pytest.mark.parametrize("quantity", ["error", "loss"])
def test_lines_of_one_seed_are_the_tables(quantity):
    table = curves(made_run(0, test_error=0.3))
    lines = labelled(plot_training(table, quantity))
    assert list(lines) == ["test", "validation", "training"]
    for label, name in (("test", f"test_{quantity}"), ("validation", f"validation_{quantity}"), ("training", quantity)):
        there = table[name].notna()
        assert list(lines[label].get_xdata()) == table["epoch"][there].tolist()
        assert list(lines[label].get_ydata()) == table[name][there].tolist()
    assert len({line.get_linestyle() for line in lines.values()}) == 3  # told apart without colour
    assert thin(plot_training(table, quantity)) == []


def test_seeds_are_thin_lines_under_their_mean():
    table = curves(made_run(0, test_error=0.2), made_run(1, test_error=0.4))
    ax = plot_training(table)
    assert list(labelled(ax)["test"].get_ydata()) == pytest.approx([0.9, 0.4, 0.3])
    assert thin(ax)[:2] == [table[table["seed"] == seed]["test_error"].tolist() for seed in (0, 1)]
    assert len(thin(ax)) == 6


def test_the_mean_ends_where_the_first_seed_does():
    table = curves(made_run(0, test_error=0.2), made_run(1, test_error=0.4, epochs=4))
    ax = plot_training(table)
    assert list(labelled(ax)["test"].get_xdata()) == [0, 1, 2]
    assert len(thin(ax)[1]) == 5


def test_dead_runs_are_seen_and_not_averaged():
    table = curves(made_run(0, test_error=0.2), made_run(1, test_error=0.8, status="dead", reason="chance"))
    ax = plot_training(table)
    assert list(labelled(ax)["test"].get_ydata()) == pytest.approx([0.9, 0.3, 0.2])
    assert pytest.approx([0.9, 0.9, 0.8]) in thin(ax)
    alone = plot_training(table[table["status"] == "dead"])
    assert [len(line.get_ydata()) for line in labelled(alone).values()] == [0, 0, 0]
    assert pytest.approx([0.9, 0.9, 0.8]) in thin(alone)


def test_validation_on_the_test_images_is_drawn_once():
    table = curves(made_run(0, validation="test"), made_run(1, test_error=0.2, validation="test"))
    ax = plot_training(table)
    assert list(labelled(ax)) == ["test", "training"]
    assert len(thin(ax)) == 4


def test_an_error_of_zero_has_its_place():
    table = curves(made_run(0, test_error=0.0))
    ax = plot_training(table)
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    assert low == 0
    assert high >= 0.91  # the largest, of validation
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert {"0", "0.01", "0.1", "1"} <= set(shown)


def test_many_epochs_have_few_ticks_in_plain_numbers():
    table = curves(made_run(0, epochs=250))
    ax = plot_training(table)
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "3", "10", "30", "100"]
    assert ax.get_xlabel() == "epoch (0: initial network)"
    later = plot_training(table[table["epoch"] > 0])
    assert later.get_xlabel() == "epoch"
    few = plot_training(curves(made_run(0, epochs=4)))
    few.figure.draw_without_rendering()
    assert all(tick == round(tick) for tick in few.get_xticks())


def test_a_quantity_that_is_not_there_is_refused():
    table = pd.DataFrame({"epoch": [0, 1], "error": [0.9, 0.5]})
    with pytest.raises(ValueError, match="quantity must be error or loss, a column of the table; got 'loss'"):
        plot_training(table, "loss")


def test_dynamics_are_the_outputs():
    table = averages({0: 0.5, 3: 2.0})
    ax = plot_dynamics(table)
    lines = labelled(ax)
    for quantity, expected in (("R", [0.5, 2.0]), ("D", [0.1, 0.4]), ("G", [0.2, 0.2])):
        assert list(lines[quantity].get_xdata()) == [0, 3]
        assert list(lines[quantity].get_ydata()) == pytest.approx(expected)
    assert len({line.get_linestyle() for line in lines.values()}) == 3
    rows = table[table["layer"] == "output"]
    for band, quantity in zip(bands(ax), "RDG", strict=True):
        np.testing.assert_allclose(band, [rows[f"{quantity}_low"], rows[f"{quantity}_high"]])
    assert "output" in ax.get_title(loc="left")


def test_another_layer_and_a_wrong_one():
    table = averages({0: 0.5, 3: 2.0})
    assert list(labelled(plot_dynamics(table, layer="input"))["R"].get_ydata()) == [1, 1]
    with pytest.raises(ValueError, match="layer must be one of input, output; got 'conv'"):
        plot_dynamics(table, layer="conv")


@pytest.mark.parametrize(("seeds", "there"), [(1, True), (2, False), (3, True)])
def test_bands_with_one_seed_or_three(seeds, there):
    table = averages(*({0: 0.5 + seed, 1: 1.5 + seed} for seed in range(seeds)))
    assert len(bands(plot_dynamics(table))) == (3 if there else 0)
    assert len(bands(plot_layers(table))) == (2 if there else 0)
    assert (table["R_low"] < table["R_high"])[table["layer"] == "output"].all()  # the table has them


@pytest.mark.parametrize("quantity", ["D", "G", "R"])
def test_layers_are_a_line_an_epoch(quantity):
    table = averages({10: 3.0, 0: 0.5, 1: 2.0})
    ax = plot_layers(table, quantity)
    lines = labelled(ax)
    assert list(lines) == ["initial", "epoch 1", "epoch 10"]
    for label, epoch in (("initial", 0), ("epoch 1", 1), ("epoch 10", 10)):
        rows = table[table["epoch"] == epoch].sort_values("depth")
        assert list(lines[label].get_xdata()) == [0, 1]
        assert list(lines[label].get_ydata()) == rows[quantity].tolist()
    assert len({line.get_marker() for line in lines.values()}) == 3
    assert lines["epoch 1"].get_alpha() < lines["epoch 10"].get_alpha()


def test_one_amplitude_at_a_time():
    several = pd.concat([averages({0: 0.5}, displacement=size) for size in (0.5, 1.0)])
    for plot in (plot_dynamics, plot_layers):
        with pytest.raises(ValueError, match="one displacement and cutoff, R depends on them; got 2"):
            plot(several)
    with pytest.raises(ValueError, match="quantity must be one of D, G, R; got 'S'"):
        plot_layers(averages({0: 0.5}), "S")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two seeds, one of them dead, chosen by the test images."""
    folder = tmp_path_factory.mktemp("training")
    runs = [
        made_run(0, test_error=0.25, validation="test", sensitivity=measured(0, {0: 0.5, 2: 1.5})),
        made_run(1, status="dead", reason="chance <b>here</b>", validation="test", sensitivity=measured(1, {0: 9.0})),
    ]
    trained = gather(runs)
    return trained, trained.save(folder, {"command": "poolscope train net"}), folder


def test_page_and_tables_are_written(page):
    trained, paths, folder = page
    assert all(path.is_file() for path in paths)
    names = {path.name for path in paths}
    assert {"report.html", "outcomes.parquet", "curves.parquet", "sensitivity.parquet", "averages.parquet"} <= names
    assert {"error.png", "error.pdf", "loss.png", "loss.pdf", "dynamics-1px.png", "dynamics-1px.pdf"} <= names
    assert names == {path.name for path in folder.iterdir()}
    assert pd.read_parquet(folder / "outcomes.parquet")["selected_by"].tolist() == ["test", "test"]
    assert pd.read_parquet(folder / "averages.parquet")["R"].max() == 1.5  # not the dead run's 9
    text = html.unescape((folder / "report.html").read_text(encoding="utf-8")).replace("\xa0", " ")
    for _, sentences in trained.summary():
        assert all(sentence in text for sentence in sentences)
    assert "<b>here" not in (folder / "report.html").read_text(encoding="utf-8")


def test_page_opens_in_a_browser(page, chromium):
    _, _, folder = page
    context = chromium.new_context(viewport={"width": 390, "height": 844}, offline=True)
    try:
        tab = context.new_page()
        complaints: list[str] = []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto((folder / "report.html").as_uri())
        assert tab.locator("h1").inner_text() == "Training net"
        figures = tab.eval_on_selector_all("img", "all => all.map(i => [i.naturalWidth, i.alt])")
        assert len(figures) == 3  # error, loss, dynamics; two layers are no depth
        assert all(width > 0 and len(alt) > 15 for width, alt in figures)
        text = tab.locator("body").inner_text()
        assert "chosen by the test images themselves" in text
        assert "chance <b>here</b>" in text
        assert tab.locator("a[download]").count() == 4
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert complaints == []
    finally:
        context.close()

