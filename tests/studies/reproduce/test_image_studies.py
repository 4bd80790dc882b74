"""Figures 1, 3, 4, C3, C4 and the filters: what they compute from tables whose answers are known."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr, spearmanr, t
from torch import nn

from poolscope.pooling import filter_spectrum, frequency_content
from poolscope.studies.points import bootstrap, pearson
from poolscope.studies.reproduce.catalogue import along, figure1, figure3, figure_c3, noisy_networks, outcomes
from poolscope.studies.reproduce.catalogue.correlations import correlation, learned, rank_correlation, strongest
from poolscope.studies.reproduce.catalogue.filters import constant_share, frequency_ratios, levels_panel
from poolscope.studies.reproduce.catalogue.networks import IMAGE_NETWORKS, ImageNetworks, image_network
from poolscope.studies.reproduce.catalogue.shuffled import share_at_output
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work import WORKS
from poolscope.studies.reproduce.work.pictures import pictures, read_pictures
from poolscope.training.configuration import Configuration
from poolscope.training.finished import Run


@pytest.fixture
def networks() -> pd.DataFrame:
    """Seven networks of two seeds at two displacements; at the larger one R is the error squared."""
    random = np.random.default_rng(5)
    rows = []
    for number, size in np.ndindex(7, 2):
        for seed in range(2):
            error, D, G, R = np.exp(random.normal(size=4))
            rows.append(
                {"model": f"net{number}", "seed": seed, "displacement": (0.4, 0.8)[size], "error": error}
                | {"D": D, "G": G, "R": error**2 if size else R}
            )
    return pd.DataFrame(rows)


def _log_means(networks: pd.DataFrame, displacement: float) -> pd.DataFrame:
    own = networks[networks["displacement"] == displacement]
    return np.log(own.set_index("model")[["error", "D", "G", "R"]]).groupby("model").mean()


def test_a_correlation_is_that_of_means_over_seeds_of_logarithms(networks: pd.DataFrame) -> None:
    points = _log_means(networks, 0.4)
    found = correlation(networks, "R", 0.4, "part")
    assert found.value == pytest.approx(pearsonr(points["error"], points["R"]).statistic, rel=1e-12)
    assert (found.displacement, found.part, found.interval) == (0.4, "part", "bootstrap of 7 networks")
    assert found.low < found.value < found.high
    drawn = [points.iloc[np.random.default_rng(each).integers(0, 7, 7)] for each in range(1000)]
    slow = np.percentile([np.corrcoef(each["error"], each["R"])[0, 1] for each in drawn], [2.5, 97.5])
    assert [found.low, found.high] == pytest.approx(slow, abs=0.08)  # percentiles of 1000 draws scatter by 0.02 here
    perfect = correlation(networks, "R", 0.8)
    assert (perfect.value, perfect.low, perfect.high) == pytest.approx((1, 1, 1), abs=1e-12)
    with pytest.raises(ValueError, match=r"choose it with displacement=; the table has 0.4, 0.8"):
        correlation(networks, "R")


def test_the_best_is_told_by_one_bootstrap_of_all_three(networks: pd.DataFrame) -> None:
    points = _log_means(networks, 0.8)
    others = [abs(pearsonr(points["error"], points[each]).statistic) for each in "DG"]
    assert strongest(networks, 0.8).value == pytest.approx(1 - max(others), rel=1e-12)
    same = networks.assign(D=networks["R"], G=1.0 + np.arange(len(networks)) % 3)
    found = strongest(same, 0.8)
    assert (found.value, found.low, found.high) == pytest.approx((0, 0, 0), abs=1e-12)  # R and D fare alike, always


def test_what_is_learned_is_paired_and_takes_the_trained_error(networks: pd.DataFrame) -> None:
    initial = networks.assign(R=networks["D"], error=1.0)
    points = _log_means(networks, 0.4)
    with_R, with_D = (pearsonr(points["error"], points[each]).statistic for each in "RD")
    assert learned(networks, initial, 0.4).value == pytest.approx(with_R - with_D, rel=1e-12)
    nothing = learned(networks, networks, 0.4)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_ranks_are_of_networks_in_both_tables() -> None:
    one = pd.DataFrame({"model": list("abcdef"), "seed": 0, "error": [0.1, 0.2, 0.2, 0.5, 0.4, 0.9]})
    other = pd.DataFrame({"model": list("fedcbx"), "seed": 0, "error": [0.8, 0.3, 0.35, 0.2, 0.0, 0.01]})
    found = rank_correlation(one, other)
    exact = spearmanr([0.2, 0.2, 0.5, 0.4, 0.9], [0.0, 0.2, 0.35, 0.3, 0.8]).statistic
    assert found.value == pytest.approx(exact, rel=1e-12)
    assert found.note == "networks: b, c, d, e, f"
    few = rank_correlation(one.iloc[:3], other)
    assert math.isnan(few.value)
    assert few.note == "fewer than 4 networks: b, c"


def test_the_bootstrap_covers() -> None:
    true, number, hits, experiments = 0.6, 25, 0, 200
    random = np.random.default_rng(0)
    for _ in range(experiments):
        x, rest = random.normal(size=(2, number))
        points = np.stack([x, true * x + math.sqrt(1 - true**2) * rest], axis=1)
        _, low, high = bootstrap(points, lambda each: pearson(each[..., 0], each[..., 1]), random)
        hits += low <= true <= high
    # The percentile interval of 25 points holds the truth in about 92 %; 200 experiments tell it to 2 %.
    assert 0.86 < hits / experiments < 0.98


def _layers(log_R: np.ndarray, *, error: float, seed: int = 0, displacement: float = 0.816) -> pd.DataFrame:
    """Rows of ``measure`` of the input and the layers behind it, with the same standard error of log R, D, G."""
    R = np.exp(np.concatenate([[0.0], log_R]))
    position = np.arange(len(R))
    kinds = ["input", *["activation"] * (len(R) - 2), "output"]
    table = pd.DataFrame({"seed": seed, "displacement": displacement, "position": position, "kind": kinds})
    table = table.assign(depth=position / position[-1], R=R, R_low=R * np.exp(-1.96 * error))
    return table.assign(R_high=R * np.exp(1.96 * error), D=2 * R, D_se=2 * R * error, G=2.0, G_se=2 * error)


def test_slopes_and_their_intervals() -> None:
    depth = np.arange(1, 6) / 5
    rows = _layers(0.5 - 1.5 * depth, error=0.1)
    (found,) = along.slopes(rows, "R")
    centred = depth - depth.mean()
    reach = 1.96 * 0.1 * np.abs(centred).sum() / (centred @ centred)  # whatever the layers' errors have in common
    assert (found.value, found.low, found.high) == pytest.approx((-1.5, -1.5 - reach, -1.5 + reach), rel=1e-9)
    whole = np.polyfit(np.arange(6) / 5, np.log(rows["R"]), 1)[0]
    assert found.note == f"with the input, at depth 0, among the layers: {whole:.2f}"
    several = pd.concat([_layers(-slope * depth, error=0.1, seed=seed) for seed, slope in enumerate((1.0, 1.2, 1.7))])
    (found,) = along.slopes(several, "D")
    reach = t.ppf(0.975, 2) * np.std([1.0, 1.2, 1.7], ddof=1) / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((-1.3, -1.3 - reach, -1.3 + reach), rel=1e-9)
    assert found.interval == "over 3 seeds"


def _shares(log_R: np.ndarray, gaps: np.ndarray, network: str, seed: int = 0) -> pd.DataFrame:
    rows = _layers(log_R, error=1e-9, seed=seed)
    shuffled = rows["R"].to_numpy() * np.exp(np.concatenate([[0.0], gaps]))
    rows = rows.assign(R_shuffled=shuffled, R_shuffled_low=shuffled, R_shuffled_high=shuffled, network=network)
    share = np.log(shuffled) / np.log(rows["R"].where(rows["R"] != 1))
    return rows.assign(spatial_share=share, spatial_share_low=share - 0.1, spatial_share_high=share + 0.1, note="")


def _figure_3() -> dict[str, pd.DataFrame]:
    """Return tables of a network whose gap grows by log 2 at layers 1, 7 and 8, and of a pair a factor 1.5 apart."""
    falls, steps = -0.1 * np.arange(1, 10), np.log(2) * np.array([1, 0, 0, 0, 0, 0, 1, 1, 0])
    shares = [_shares(falls, np.cumsum(steps), "vgg11_bn-main")]
    shares += [_shares(falls, np.zeros(9), "vgg11_bn"), _shares(falls + np.log(1.5), np.zeros(9), "vgg11")]
    main = {"network": "vgg11_bn-main", "model": "net", "images": 9, "draw": 0}
    variants = [_layers(falls, error=0.01).assign(variant="trained"), _layers(2 * falls, error=0.01)]
    measurement = pd.concat([variants[0], variants[1].assign(variant="initial")], ignore_index=True).assign(**main)
    batch = _layers(0 * falls, error=0.02).assign(variant="initial", **main)
    batch = batch.assign(G=1.0, G_se=0.02)
    ended = pd.DataFrame({"network": ["vgg11_bn-main"], "width": 0.5, "learned": "images", "status": "finished"})
    ended = ended.assign(seed=0, error=0.2)
    return {"measurement": measurement, "shares": pd.concat(shares), "initial_batch": batch, "outcomes": ended}


def test_figure_3_judges_gaps_shares_and_training() -> None:
    tables = _figure_3()
    found = {claim: each for claim, (each, *_) in figure3.STUDY.estimates(tables).items()}
    # layers 1, 7, 8 add log 2 each, the others nothing
    assert found["gaps-open-at-1-7-8"].value == pytest.approx(math.log(2), rel=1e-9)
    assert found["gaps-open-at-1-7-8"].note.endswith("0.69, 0.69, 0.69, 0.69, 0.69, 0.69, 1.39, 2.08")
    assert found["shuffled-alike"].value == pytest.approx(math.log(1.5), rel=1e-9)
    assert found["shuffled-between"].value == pytest.approx(1 - 3 * math.log(2) / 0.9, rel=1e-9)
    assert found["R-falls-with-depth"].value == pytest.approx(-0.9, rel=1e-9)
    # the output's log R is -0.9 trained, 0 under batch statistics and -1.8 under running ones
    trained = found["R-falls-with-training"]
    reach = 1.96 * math.hypot(0.01, 0.02)
    assert (trained.value, trained.low, trained.high) == pytest.approx((-0.9, -0.9 - reach, -0.9 + reach), rel=1e-9)
    assert "under running statistics 0.90 (0.87 to 0.93)" in trained.note
    assert found["G-rises-with-training"].value == pytest.approx(math.log(2), rel=1e-9)
    assert found["D-falls-with-training"].value == pytest.approx(-0.9, rel=1e-9)
    panels = {panel.name: panel for panel in figure3.STUDY.panels(tables)}
    assert list(panels) == ["vgg11_bn-R-0.816px", "vgg11_bn-D-0.816px", "vgg11_bn-G-0.816px"]
    assert "of 0.5 times the published width" in panels["vgg11_bn-R-0.816px"].caption
    labels = [text.get_text() for text in panels["vgg11_bn-R-0.816px"].figure().axes[0].get_legend().get_texts()]
    assert labels == ["trained", "initial", "initial, batch statistics"]


def test_several_seeds_are_one_estimate() -> None:
    falls = -0.1 * np.arange(1, 10)
    shares = pd.concat([_shares(falls, np.full(9, gap), "net", seed) for seed, gap in enumerate((0.0, 0.09, 0.18))])
    (found,) = share_at_output(shares)
    reach = t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.9, 0.9 - reach, 0.9 + reach), rel=1e-9)
    assert (found.part, found.interval, found.displacement) == ("net", "over 3 seeds", 0.816)
    with pytest.raises(ValueError, match="at least 1 training seed"):
        along.over_networks([])


def _spectrum(last: torch.Tensor) -> pd.DataFrame:
    """Return the spectra of two convolutions: constant filters, then these; initial ones are single taps."""
    model, initial = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)) for _ in range(2))
    with torch.no_grad():
        for layer in (0, 2):
            initial[layer].weight.zero_()[:, :, 1, 1] = 1.0
        model[0].weight.fill_(0.5)
        model[2].weight.copy_(last)
    return filter_spectrum(model, initial=initial, name="net").assign(network="net", seed=0)


def test_filters_against_those_before() -> None:
    tap = torch.zeros(2, 4, 3, 3)
    tap[:, :, 0, 0] = 3.0
    spectrum = _spectrum(tap)
    frequency = frequency_content(spectrum).assign(network="net", seed=0)
    # w·Lw of a single tap is its number of neighbours: 4 in the middle, 2 in the corner
    first, second = frequency_ratios(frequency, "net", (1, 2))
    assert [first.value, second.value] == pytest.approx([0, 2 / 4], abs=1e-12)
    assert second.part == "net, layer 2"
    share = constant_share(spectrum, "net", (1, 2))
    assert share is not None
    assert share.value == pytest.approx((1 + 1 / 9) / 2, rel=1e-6)
    assert constant_share(spectrum, "other", (1, 2)) is None
    seeds = pd.concat([frequency.assign(seed=seed, frequency=0.5 + 0.1 * seed) for seed in range(3)])
    (found,) = frequency_ratios(seeds, "net", (2,))
    start = frequency["init_frequency"].iloc[1]
    assert found.value == pytest.approx(0.6 / start)
    assert found.interval == "over 3 seeds"
    figure = levels_panel(spectrum, "levels", "a network").figure()
    assert len(figure.axes[0].child_axes) == 2


class _Folders:
    """Stands in for finished runs: folders that hold an outcome, by what the run is."""

    def __init__(self, root: Path):
        self.root = root

    def add(self, name: str, *, finished: bool = True, training: bool = True) -> Path:
        folder = self.root / name.replace("/", "_")
        folder.mkdir()
        if training:
            (folder / "outcome.json").write_text(json.dumps({"finished": finished}))
        return folder

    @staticmethod
    def read(folder: Path) -> Run:
        finished = json.loads((folder / "outcome.json").read_text())["finished"]
        rows = [
            {"epoch": epoch, "displacement": 0.816, "cutoff": 3, "layer": layer, "deformation_power": 400.0, "note": ""}
            | {"D": 0.1 + epoch, "G": 0.2, "R": (0.1 + epoch) / 0.2, "D_se": 0.0, "G_se": 0.0, "R_se": 0.0}
            for epoch in (0, 2)
            for layer in ("input", "output")
        ]
        outcome: dict[str, Any] = {
            "status": "finished" if finished else "dead",
            "reason": "",
            "epochs": 2,
            "best_epoch": 2,
        }
        outcome |= {"best_test_error": 0.3, "last_test_error": 0.31, "training_error": 0.2}
        configuration = Configuration.model_construct(seed=1, options={"width": 0.25}, model="poolscope:lenet")
        return Run(folder, configuration, outcome, pd.DataFrame(), pd.DataFrame(rows))


def test_dead_runs_go_with_all_that_was_measured_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = _Folders(tmp_path)
    monkeypatch.setattr(outcomes, "read_run", folders.read)
    found = {"a/0": folders.add("a/0", finished=False), "a/0-task": folders.add("a/0-task"), "a/1": folders.add("a/1")}
    for name in ("a/0-pooled", "a/0-task-measured", "a/1-pooled", "alone"):
        found[name] = folders.add(name, training=False)
    assert sorted(outcomes.without_dead(found)) == ["a/0-task", "a/0-task-measured", "a/1", "a/1-pooled", "alone"]
    table = outcomes.outcomes(found)
    assert list(table["learned"]) == ["images", "scale detection", "images"]
    words = outcomes.outcome_words(table)
    assert words[0] == "Test errors on images: a of 0.25 times the published width 30.0%."
    assert words[1] == "Left out, for training on images ended at chance: a (seed 1)."


def test_noisy_networks_are_the_runs_of_the_other_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, settings = Sources("digits"), noisy_networks.NOISY_NETWORKS["smoke"]
    jobs = figure_c3.STUDY.runs(settings, sources)
    plain = ImageNetworks(**IMAGE_NETWORKS["smoke"])
    assert jobs["lenet/10/0"].key == image_network(plain, sources, "lenet", 0, eta=10.0).key
    assert {name: job.key for name, job in figure1.STUDY.runs(settings, sources).items() if name != "pictures"} == {
        name: job.key for name, job in jobs.items()
    }
    folders = _Folders(tmp_path)
    monkeypatch.setattr(noisy_networks, "read_run", folders.read)
    found = {name: folders.add(name, finished=not name.startswith("vgg11/")) for name in jobs}
    tables = figure1.STUDY.tables(settings, found)
    assert set(tables["networks"]["model"]) == {"fullconn2", "lenet", "vgg11_bn"}
    row = tables["networks"].iloc[0]
    assert (row["error"], row["D"], row["epoch"], row["moved"]) == (0.3, 2.1, 2, 20.0)
    assert set(tables["initial"]["D"]) == {0.1}
    assert figure1.STUDY.words(tables)[0].startswith("2 of 8 runs ended at chance")
    assert figure1.STUDY.estimates(tables)["error-follows-R"][0].note.startswith("fewer than 4 networks: fullconn2")
    nothing = figure1.STUDY.tables(settings, {"vgg11/0/0": found["vgg11/0/0"]})
    assert not figure1.STUDY.panels(nothing)
    assert not figure_c3.STUDY.panels(nothing)
    assert not figure1.STUDY.estimates(nothing)
    assert not figure_c3.STUDY.estimates(nothing)


def test_figures_1_and_c3_are_drawn(networks: pd.DataFrame) -> None:
    noisy = pd.concat([networks.assign(eta=eta, moved=19.0) for eta in (0.0, 10.0)], ignore_index=True)
    noisy = noisy[~((noisy["model"] == "net0") & (noisy["eta"] == 10))]  # one that died at this noise
    tables = {"networks": noisy, "initial": noisy, "correlations": figure1._correlations(noisy)}
    shown = {panel.name: panel for panel in figure1.STUDY.panels(tables)}
    assert list(shown) == ["error-R-0.4px", "error-R-0.8px", "correlations-0.4px", "correlations-0.8px"]
    ax = shown["correlations-0.8px"].figure().axes[0]
    with_R = next(each for each in ax.containers if each.get_label() == "with log R").lines[0].get_ydata()
    assert list(with_R) == pytest.approx([1, 1])
    grid = figure_c3.STUDY.panels(tables)[0].figure()
    names = [text.get_text() for text in grid.legends[0].get_texts()]
    assert names == [f"net{number}" for number in range(7)]
    colour = {line.get_label(): line.get_color() for line in grid.axes[1].get_lines()}
    below = {line.get_label(): line.get_color() for line in grid.axes[4].get_lines()}
    assert below["net3"] == colour["net3"] != colour["net2"]  # though net0 is not there


def test_pictures_hold_noise_as_far_away_as_the_deformed_image(tmp_path: Path) -> None:
    job = pictures(Sources("digits"), displacement=(0.5, 1.0))
    (tmp_path / "job.json").write_text(json.dumps(job.plain()))
    WORKS[job.work].do(job.settings, {}, tmp_path, print, "cpu")
    table = read_pictures(tmp_path)
    pixels = {
        key: rows.sort_values(["row", "column"])["red"].to_numpy()
        for key, rows in table.fillna({"displacement": 0.0}).groupby(["picture", "displacement"])
    }
    image = pixels["image", 0.0]
    far = {key: np.linalg.norm(values - image) for key, values in pixels.items()}
    # read to three digits: 32 x 32 roundings of at most 5e-4
    for size in (0.5, 1.0):
        assert far["noisy", size] == pytest.approx(far["deformed", size], abs=32 * 5e-4)
    assert 1.5 < far["deformed", 1.0] / far["deformed", 0.5] < 2  # the same field, farther
    panel = figure1.STUDY.panels({"networks": pd.DataFrame({"eta": [], "displacement": []}), "pictures": table})[0]
    assert [ax.get_title() for ax in panel.figure().axes if ax.get_images()][:2] == ["x", "τx, 0.5 px"]
