"""Figures 2, 5, C1, C2 and table C1: what they compute, against slow loops and known numbers."""

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from helpers import seeded
from poolscope.report import plot_architectures
from poolscope.studies.reproduce.catalogue import figure2, figure5, figure_c1, figure_c2, table_c1
from poolscope.studies.reproduce.catalogue.networks import (
    IMAGE_NETWORKS,
    TASK_NETWORKS,
    ImageNetworks,
    TaskNetworks,
    image_network,
    task_network,
)
from poolscope.studies.reproduce.catalogue.rotated_filters import change_table, changes, exact_change, pooled
from poolscope.studies.reproduce.study import SCALES, Sources
from poolscope.tasks import ScaleDetection


def test_channels_are_rotations_of_one_filter_on_a_torus() -> None:
    image = torch.randn(1, 4, 4, generator=seeded(0), dtype=torch.float64)
    filters = torch.randn(1, 3, 3, generator=seeded(1), dtype=torch.float64)
    for channels, relu in itertools.product((1, 2, 4), (False, True)):
        slow = torch.zeros(4, 4, dtype=torch.float64)
        for row, column, turns in itertools.product(range(4), range(4), range(channels)):
            w = filters[0].clone()
            for _ in range(turns):  # a quarter turn: the last column, from the top, becomes the first row
                w = torch.stack([w[:, 2 - number] for number in range(3)])
            near = [image[0, (row + i - 1) % 4, (column + j - 1) % 4] for i in range(3) for j in range(3)]
            response = sum(tap * value for tap, value in zip(w.flatten(), near, strict=True))
            slow[row, column] += (max(response, torch.tensor(0.0)) if relu else response) / channels
        found = pooled(image, filters, channels, "ReLU" if relu else "linear")
        torch.testing.assert_close(found[0], slow, rtol=1e-13, atol=1e-14)


def test_two_channels_keep_four_fifths_and_the_orbit_nothing() -> None:
    assert [exact_change(channels) for channels in (1, 2, 4)] == pytest.approx([16 / 9, 4 / 5, 0], abs=1e-15)
    images = torch.randn(1500, 6, 6, generator=seeded(2), dtype=torch.float64)
    filters = torch.randn(1500, 3, 3, generator=seeded(3), dtype=torch.float64)
    rows = change_table(images, filters, "white").set_index(["activation", "readout", "channels"])
    for channels in (1, 2):
        row = rows.loc[("linear", "each position", channels)]
        error, exact = (row["high"] - row["low"]) / 3.92, exact_change(channels)
        assert error < 0.04 * exact, f"standard error {error:.2g} is too coarse to judge {exact:.4g}"
        assert abs(row["change"] - exact) < 4 * error
    assert (rows.xs(4, level="channels")["change"] < 1e-28).all()  # squares of float64's rounding, 1e-16
    averages = rows.xs("mean over positions", level="readout")["change"]
    assert averages[("linear", 1)] < 1e-28 < 1e-3 < averages[("ReLU", 1)]


def test_the_interval_of_a_change_is_that_of_independent_repetitions() -> None:
    images = torch.randn(4000, 4, 4, generator=seeded(4), dtype=torch.float64)
    filters = torch.randn(4000, 3, 3, generator=seeded(5), dtype=torch.float64)
    change, power = changes(images, filters, 2, "linear", "each position")
    repeated = (change.view(80, 50).mean(1) / power.view(80, 50).mean(1)).std()
    row = change_table(images[:50], filters[:50], "").query("activation == 'linear' and channels == 2").iloc[0]
    # The spread over 80 repetitions is known to 8 %, that within 50 pairs to about 20 %.
    assert (row["high"] - row["low"]) / 3.92 == pytest.approx(float(repeated), rel=0.6)


def test_figure_2_judges_orbits_and_two_channels() -> None:
    settings = figure2.Figure2(pairs=60, side=8)
    tables = figure2.STUDY.tables(settings, {})
    found = figure2.STUDY.estimates(tables)
    assert {each.part for each in found["orbit-pools"]} == {
        f"{images}, {activation}" for images in ("white noise", "digits") for activation in ("linear", "ReLU")
    }
    assert max(each.high for each in found["orbit-pools"]) < 1e-12
    assert min(each.low for each in found["two-channels-pool"]) > 0.01
    # neighbouring 2x2 means share two of four numbers: 4 · 2 / 16 of the difference is left, 1/4 of the power
    spatial = tables["spatial"]
    assert list(spatial["neighbours"]) == pytest.approx([2, 1 / 4], rel=0.3)
    assert list(spatial["power"]) == pytest.approx([1, 1 / 4], rel=0.3)
    values = torch.arange(9.0, dtype=torch.float64).view(1, 3, 3)
    assert figure2.windows(values)[0].tolist() == [[2, 3], [5, 6]]
    assert figure2.variation(values) == pytest.approx(((6 * 1 + 6 * 9) / 12, 204 / 9))
    panels = figure2.STUDY.panels(tables)
    assert [panel.figure() and panel.name for panel in panels] == ["spatial", "responses", "change"]


def test_without_scikit_learn_figure_2_has_white_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*args: object, **options: object) -> None:
        raise ImportError("scikit-learn is not installed")

    monkeypatch.setattr(figure2, "load_images", absent)
    tables = figure2.STUDY.tables(figure2.Figure2(pairs=4, side=4), {})
    assert set(tables["changes"]["images"]) == {"white noise"}
    assert "is not installed" in figure2.STUDY.words(tables)[-1]


@pytest.mark.parametrize(
    ("task", "pixels", "inside"),
    [
        (ScaleDetection(task=1, dim=1, length=16, scale=5, gap=2.0), 2, False),
        (ScaleDetection(task=1, dim=2, length=5, scale=3, gap=1.0), 1, False),
        (ScaleDetection(task=2, dim=1, length=12, scale=4), 1, False),
        (ScaleDetection(task=2, dim=2, length=6, scale=3), 2, False),
        (ScaleDetection(task=2, dim=2, length=6, scale=3), 2, True),
    ],
)
def test_changed_labels_are_those_of_loops(task: ScaleDetection, pixels: int, inside: bool) -> None:
    L, xi = task.length, task.scale
    directions = [(-1,), (1,)] if task.dim == 1 else [(-1, 0), (1, 0), (0, -1), (0, 1)]

    def label(p: tuple[int, ...], q: tuple[int, ...]) -> int:
        if task.task == 2:
            return 1 if [x // xi for x in p] == [x // xi for x in q] else -1
        apart = [abs(x - y) for x, y in zip(p, q, strict=True)]
        d = math.sqrt(sum((min(x, L - x) if task.dim == 1 else x) ** 2 for x in apart))
        return (d < xi) - (d > xi)

    def moved(p: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, ...]:
        end = tuple(x + pixels * s for x, s in zip(p, step, strict=True))
        round_ = task.task == 2 or task.dim == 1
        end = tuple(x % L if round_ else min(max(x, 0), L - 1) for x in end)
        return p if inside and [x // xi for x in end] != [x // xi for x in p] else end

    changed = total = 0
    for p, q in (tuple(map(tuple, pair)) for pair in task.pairs.tolist()):
        for one, other in itertools.product(directions, repeat=2):
            total += 1
            changed += label(moved(p, one), moved(q, other)) != label(p, q)
    assert (changed == 0) == inside
    assert figure5.changed_labels(task, pixels, inside=inside)["changed"] == pytest.approx(changed / total, rel=1e-12)


def test_moves_shorter_than_the_gap_change_labels() -> None:
    task = ScaleDetection(task=1, dim=1, length=32, scale=11, gap=4.0)
    shares = [figure5.changed_labels(task, pixels)["changed"] for pixels in (1, 2, 3)]
    assert shares == pytest.approx([0, 2 / 21, 4 / 21])  # erratum 5: 0 %, 9.5 %, 19.0 %
    with pytest.raises(ValueError, match="task 1 has no patches"):
        figure5.changed_labels(task, 1, inside=True)


def test_figure_5_shows_inputs_and_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    small = figure5._TASKS | {
        "task1-square": "scale-detection:task=1,dim=2,length=9,scale=5,gap=2",
        "task2-square": "scale-detection:task=2,dim=2,length=8,scale=4",
    }
    monkeypatch.setattr(figure5, "_TASKS", small)
    tables = figure5.STUDY.tables(figure5.Figure5(examples=2), {})
    found = figure5.STUDY.estimates(tables)
    assert [(each.part, round(each.value, 3)) for each in found["invariant-below-the-gap"]] == [
        ("1 px", 0), ("2 px", 0.095), ("3 px", 0.190),
    ]  # fmt: skip
    assert [(each.part, each.value) for each in found["task2-invariant"]] == [("row", 0), ("square", 0)]
    examples = tables["examples"]
    row = examples[examples["name"] == "task1-row"]
    apart = (row["column_1"] - row["column_2"]).abs()
    assert list(np.minimum(apart, 32 - apart)) == list(row["distance"])
    assert ((row["distance"] < 11) == (row["label"] > 0)).all()
    assert len(examples) == 4 * 2 * 2
    panels = figure5.STUDY.panels(tables)
    assert [panel.figure() and panel.name for panel in panels] == [*small, "moves"]
    assert "256 inputs have label +1, 80 have label −1" in panels[0].caption


def test_printed_numbers_are_read_and_ranges_give_their_ends() -> None:
    assert table_c1.published("9–20 M") == (9e6, 20e6)
    assert table_c1.published("62k") == (62e3, 62e3)
    assert table_c1.published("5") == (5e6, 5e6)
    with pytest.raises(ValueError, match="got '9 to 20 M'"):
        table_c1.published("9 to 20 M")
    made_up = pd.DataFrame(
        {
            "name": ["a", "b", "c", "d", "e"],
            "depth": [1, 3, 2, 2, 7],
            "parameters": [900, 2200, 1500, 2500, 50],
            "parameters_printed": ["1–2k"] * 4 + ["100k"],
        }
    )
    rows = table_c1.beside_printed(made_up).set_index("name")
    assert rows.loc["a", "ratio"] == 0.9
    assert rows.loc["b", "ratio"] == 1.1
    assert rows.loc["e", "ratio"] == 0.0005
    assert rows.loc[["c", "d"], "ratio"].isna().all()
    assert list(rows.loc[["c", "d"], "compared_with"]) == ["inside the range 1–2k", "outside the range 1–2k"]


def test_table_c1_finds_efficientnet_alone_off() -> None:
    tables = table_c1.STUDY.tables(table_c1.TableC1(), {})
    found = {each.part: each.value for each in table_c1.STUDY.estimates(tables)["parameters"]}
    # counted in the authors' code, over what table C1 prints
    known = {"vgg11": 9225610 / 9e6, "vgg19_bn": 20040522 / 20e6, "resnet50": 23520842 / 24e6, "lenet": 62006 / 62e3}
    assert {name: found[name] for name in known} == pytest.approx(known)
    assert [name for name, ratio in found.items() if not 0.9 <= ratio <= 1.1] == ["efficientnet_b0"]
    assert "resnet34 (inside the range 11–24 M)" in table_c1.STUDY.words(tables)[0]
    assert table_c1.STUDY.panels(tables)[0].figure()


@pytest.mark.parametrize("scale", SCALES)
def test_c1_and_c2_share_their_runs_with_the_other_studies(scale: str) -> None:
    sources = Sources("digits")
    settings = figure_c1.STUDY.scales[scale]  # type: ignore[index]
    runs = figure_c1.STUDY.runs(settings, sources)
    task, images = TaskNetworks(**TASK_NETWORKS[scale]), ImageNetworks(**IMAGE_NETWORKS[scale])  # type: ignore[index]
    for name in task.networks:
        assert runs[f"task/{name}/0"].key == task_network(task, sources, name, 0).key
    for name in images.networks:
        assert (f"images/{name}/0" in runs) == (name in task.networks)
        if name in task.networks:
            assert runs[f"images/{name}/0"].key == image_network(images, sources, name, 0).key
    assert len(runs) == len({job.key for job in runs.values()})
    pooled_runs = figure_c2.STUDY.runs(figure_c2.STUDY.scales[scale], sources)  # type: ignore[index]
    assert {run for run in pooled_runs if run.endswith("/0")} == {
        f"{name}/0" for name in ("alexnet", "vgg11", "vgg11_bn") if name in task.networks
    }
    for run, job in pooled_runs.items():
        if run.endswith("-pooled"):
            assert job.needs["network"].key == runs[f"task/{run.removesuffix('-pooled')}"].key


def _made_up_run(folder: Path) -> SimpleNamespace:
    """Return what `read_run` returns of a folder that is named after the place, network and seed."""
    where, name, seed = folder.parts
    number, on_task = int(name[-1]), where == "task"
    error = 0.01 * 2**number * (1 + 0.1 * int(seed)) if on_task else (0.1, 0.3, 0.2, 0.5, 0.4, 0.6)[number]
    rows = [
        {"epoch": epoch, "layer": layer, "displacement": 0.9, "D": scale * error**2, "D_se": 0.1, "G": scale / error,
         "G_se": 0.1, "R": scale * error**3, "R_low": 0.1, "R_high": 0.2}
        for epoch, scale in ((0, 7.0), (12, 1.0))
        for layer in ("input", "output")
    ]  # fmt: skip
    for row in rows:
        if row["layer"] == "input":
            row |= {"D": 1.0, "G": 1.0, "R": 1.0}
    outcome = {
        "status": "dead" if name == "net5" else "finished",
        "reason": "",
        "epochs": 12,
        "best_test_error": 0.0 if on_task else error,
        "last_test_error": error if on_task else 1.0,
    }
    configuration = SimpleNamespace(seed=int(seed))
    return SimpleNamespace(configuration=configuration, outcome=outcome, sensitivity=pd.DataFrame(rows))


def test_c1_takes_the_network_that_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_c1, "read_run", _made_up_run)
    runs = [f"{where}/net{number}/{seed}" for where in ("task", "images") for number in range(6) for seed in (0, 1)]
    tables = figure_c1.STUDY.tables(figure_c1.STUDY.scales["smoke"], {run: Path(run) for run in runs})
    task = tables["task"].set_index(["model", "seed"])
    assert task.loc[("net3", 1), "error"] == pytest.approx(0.088)  # of the last epoch: the best is 0, and not measured
    assert task.loc[("net3", 1), "D"] == pytest.approx(0.088**2)
    found = {claim: each for claim, (each,) in figure_c1.STUDY.estimates(tables).items()}
    assert found["task-error-follows-R"].value == pytest.approx(1)
    assert found["task-error-follows-D"].value == pytest.approx(1)
    assert found["task-error-opposes-G"].value == pytest.approx(-1)
    assert found["task-R-follows-best"].value == pytest.approx(0, abs=1e-12)
    expected = spearmanr([0, 1, 2, 3, 4], [0.1, 0.3, 0.2, 0.5, 0.4]).statistic  # net5 is dead
    assert found["best-on-both"].value == pytest.approx(expected)
    words = " ".join(figure_c1.STUDY.words(tables))
    assert "ended at chance: net5 (seed 0), net5 (seed 1)" in words
    both = figure_c1._both(tables).set_index("model")
    assert both.loc["net2", "task"] == pytest.approx(0.04 * math.sqrt(1.1))
    assert "net5" not in both.index
    assert [panel.figure() and panel.name for panel in figure_c1.STUDY.panels(tables)] == [
        "error-D", "error-G", "error-R", "both-errors",
    ]  # fmt: skip


def test_c1_says_which_networks_have_no_logarithm() -> None:
    rows = [
        {"model": f"net{number}", "seed": 0, "status": "finished", "error": 0.1 * number, "displacement": 0.9,
         "D": 1.0 + number**2, "G": 1.0 + number % 2, "R": 2.0 + number % 3}
        for number in range(6)
    ]  # fmt: skip
    tables = {"task": pd.DataFrame(rows)}
    assert "Without an error on the task, which has no logarithm, and left out: net0 (seed 0)." in " ".join(
        figure_c1.STUDY.words(tables)
    )
    found = figure_c1.STUDY.estimates(tables)
    logs = np.log([[0.1 * number, 1.0 + number**2] for number in range(1, 6)])
    assert found["task-error-follows-D"][0].value == pytest.approx(np.corrcoef(logs.T)[0, 1])
    assert "best-on-both" not in found


def test_c2_leaves_dead_networks_out() -> None:
    outcomes = [
        {"network": "vgg11/0", "status": "dead", "error": 0.5},
        {"network": "vgg11/1", "status": "finished", "error": 0.01},
    ]
    shares = [
        {"network": run, "kind": kind, "position": position, "displacement": 0.9, "R": R, "note": "",
         "spatial_share": share, "spatial_share_low": share - 0.1, "spatial_share_high": share + 0.1}
        for run, share in (("vgg11/0", 0.9), ("vgg11/1", 0.4))
        for kind, position, R in (("input", 0, 1.0), ("output", 1, 0.1))
    ]  # fmt: skip
    tables = {"outcomes": pd.DataFrame(outcomes), "shares": pd.DataFrame(shares)}
    (found,) = figure_c2.STUDY.estimates(tables)["shuffling-nothing-on-the-task"]
    assert (found.part, found.value, found.displacement) == ("vgg11, seed 1", 0.4, None)
    assert "vgg11 (seed 0) is left out" in figure_c2.STUDY.words(tables)[0]


def test_more_networks_than_colours_can_be_told_apart() -> None:
    rows = pd.DataFrame({"model": [f"net{n}" for n in range(13)], "error": 0.1, "R": 1.0, "number": range(13)})
    for ax in (
        plot_architectures(rows, "R"),
        figure_c1.plot_both(rows.assign(images=0.1, task=0.2)),
    ):
        named = [line for line in ax.get_lines() if str(line.get_label()).startswith("net")]
        assert len({(line.get_color(), line.get_marker()) for line in named}) == 13
