"""Studies of simple CNNs and of theory: estimates from tables whose numbers are known, and what their works measure."""

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats

from poolscope.networks import load_model, write_weights
from poolscope.sensitivity import Result, read_result
from poolscope.studies.reproduce.catalogue import find
from poolscope.studies.reproduce.catalogue.mean_filters import beside_published
from poolscope.studies.reproduce.catalogue.multiples import Series, plot_multiples
from poolscope.studies.reproduce.catalogue.networks import SIMPLE_NETWORKS
from poolscope.studies.reproduce.catalogue.published_filters import C2_INITIAL, C2_TRAINED, C3_TRAINED, Filters
from poolscope.studies.reproduce.catalogue.simple_cnns import (
    distances,
    extreme,
    largest,
    largest_between,
    over_seeds,
    ratio,
    welch,
)
from poolscope.studies.reproduce.catalogue.simple_runs import how_training_ended
from poolscope.studies.reproduce.claim import Estimate, together
from poolscope.studies.reproduce.claims import CLAIMS
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.work import WORKS
from poolscope.studies.scale_detection.magnitudes import displacement_norm
from poolscope.training.simple import SimpleRuns, read_simple_runs
from training.simple.small_experiments import small, trained

CLAIM = {claim.identifier: claim for claim in CLAIMS}
STUDIES = ("fig7", "figB1", "figB2", "tableC2", "tableC3", "pileup", "activations")
LAYERS = range(1, 8)


def verdict(name: str, estimates: list[Estimate]) -> str:
    return together([CLAIM[name].judge(each) for each in estimates])


def test_intervals_are_student_s_and_welch_s() -> None:
    one, other = [1.0, 2.0, 4.0, 3.5], [0.5, 0.1, 0.9]
    expected = stats.ttest_1samp(one, 0).confidence_interval()
    assert over_seeds(one) == pytest.approx((np.mean(one), expected.low, expected.high), rel=1e-12)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert welch(one, other) == pytest.approx((np.mean(one) - 0.5, expected.low, expected.high), rel=1e-12)
    for few in (over_seeds([2.0]), welch(one, [0.5]), ratio([1.0], other)):
        assert math.isfinite(few[0])
        assert all(math.isnan(end) for end in few[1:])


def test_a_ratio_s_ends_are_where_the_difference_just_has_zero_in_its_interval() -> None:
    one, other = np.array([1.0, 2.0, 1.6, 1.7]), np.array([3.0, 2.6, 3.3])
    value, low, high = ratio(one, other)
    assert value == pytest.approx(one.mean() / other.mean())
    a, b = one.var(ddof=1) / 4, value**2 * other.var(ddof=1) / 3
    t = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 3 + b**2 / 2))  # Welch's degrees of freedom
    for end in (low, high):
        error = math.sqrt(one.var(ddof=1) / 4 + end**2 * other.var(ddof=1) / 3)
        assert abs(one.mean() - end * other.mean()) == pytest.approx(t * error, rel=1e-9)
    assert low < value < high
    assert ratio(one, [2.0, 2.0]) == pytest.approx([each / 2 for each in over_seeds(one)])  # a number without error
    assert math.isnan(ratio(one, [1.0, -0.9, 0.2])[1])  # it may be 0


def values(rows: dict[int, list[float]]) -> pd.DataFrame:
    found = [
        {"seed": seed, "k": k, "value": value} for k, numbers in rows.items() for seed, value in enumerate(numbers)
    ]
    return pd.DataFrame(found)


def test_the_layer_of_the_largest_mean_counts_with_its_own_interval() -> None:
    table = values({1: [0.1, 0.12, 0.11], 2: [-0.31, -0.29, -0.3], 3: [0.3, -0.3, 0.0]})
    _, low, high = over_seeds([-0.31, -0.29, -0.3])
    found = largest(table, "D")
    assert (found.value, found.low, found.high) == pytest.approx((0.3, -high, -low))
    assert (found.part, found.interval) == ("D", "over 3 seeds")
    assert "layer 2" in found.note
    assert largest(values({1: [0.3, -0.1, 0.0]})).low == 0  # the interval holds 0, and a size is not negative
    other = values({1: [0.0, 0.1], 2: [0.3, 0.4], 3: [9.0, 9.0], 4: [0.0, 0.0]})
    both = largest_between(values({1: [0.2, 0.3], 2: [0.3, 0.3]}), other)  # 0.2 at layer 1, -0.05 at 2; 3 is of one
    assert (both.value, both.low, both.high) == pytest.approx(
        [*welch([0.2, 0.3], [0.0, 0.1])[:1], 0.0, 0.2 + 0.3042435]
    )
    assert extreme(table, "least").value == pytest.approx(-0.3)
    assert extreme(table, "largest").value == pytest.approx(0.11)
    missing = values({1: [0.1, 0.1], 2: [math.nan, 0.2]})
    for found in (largest(missing), extreme(missing, "least"), largest_between(missing, missing)):
        assert math.isnan(found.value)
        assert "layer 2 has no number" in found.note


def test_distances_pair_the_same_networks() -> None:
    rows = pd.DataFrame({"seed": [0, 1, 0, 1], "k": [1, 1, 2, 2], "D": [2.0, 4.0, 6.0, 0.0]})
    same = pd.DataFrame({"seed": [1, 0, 1, 0], "k": [2, 2, 1, 1], "D": [1.0, 3.0, 2.0, 1.0]})
    theory = pd.DataFrame({"k": [1, 2], "D": [2.0, 2.0]})
    np.testing.assert_allclose(distances(rows, same, "D", 2)["value"], np.log([2, 2, 2, np.nan]))
    np.testing.assert_allclose(distances(rows, theory, "D", 1)["value"], np.log([1, 2]))


def sensitivity(model: str, factors: dict[str, list[float]], **curves: dict[str, float]) -> pd.DataFrame:
    """D = 1 / k, G = k of every network under both noises, times ``factors`` by seed and ``curves`` by variant.

    Of curves, G_power is a further power of k.
    """
    rows = []
    for variant, noise in itertools.product(("trained", "mean_channel"), ("rectified", "plain")):
        for seed, k in itertools.product(range(len(factors["D"])), LAYERS):
            row = {"D": factors["D"][seed] / k, "G": factors["G"][seed] * k}
            curve = curves.get(f"{variant}_{noise}", {})
            row = {name: value * curve.get(name, 1) * k ** curve.get(f"{name}_power", 0) for name, value in row.items()}
            keys = {"model": model, "variant": variant, "noise": noise, "seed": seed, "k": k, "A": float(k)}
            rows.append({**keys, **row, "R": row["D"] / row["G"]})
    return pd.DataFrame(rows)


def theory() -> pd.DataFrame:
    k = np.array(LAYERS)
    exact = pd.DataFrame({"label": "exact, homogeneous filters", "k": k, "A": k * 1.0, "D": 1 / k, "G": k * 1.0})
    exact = exact.assign(G_plain=exact["G"], R=exact["D"] / exact["G"])
    return pd.concat([exact, exact.assign(label="law"), exact.assign(label="exact, mean filters of seed 0", D=9.0)])


def slopes(slope: float, seeds: int = 3) -> pd.DataFrame:
    rows = itertools.product(("trained", "initial"), ("rectified", "plain"), "DGR")
    return pd.DataFrame(
        {
            "variant": variant, "noise": noise, "quantity": quantity, "seeds": seeds, "layers": "1-7", "exact": -1.84,
            "slope": slope if (variant, quantity) == ("trained", "D") else 0.0, "low": slope - 0.01, "high": 0.05,
        }
        for variant, noise, quantity in rows
    )  # fmt: skip


def outcomes(*statuses: str, error: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "seed": seed, "status": status, "interpolation": 40 + seed, "test_error": error,
            "reason": "hinge loss 0.9 after 200 epochs",
        }
        for seed, status in enumerate(statuses)
    )  # fmt: skip


UNIT = {"D": [0.99, 1.0, 1.01], "G": [0.99, 1.0, 1.01]}


def figure7_tables(
    width: float = 1.0, error: float = 0.0, D: float = 1.0, slope: float = -2.0
) -> dict[str, pd.DataFrame]:
    off = {name: {"D": D} for name in ("trained_rectified", "mean_channel_rectified")}
    of_task = {"slopes": slopes(slope), "theory": theory(), "outcomes": outcomes(*["finished"] * 3, error=error)}
    tables = {"sensitivity": sensitivity("relu", UNIT, **off), **of_task}
    wide = sensitivity("relu", {name: [width * each for each in numbers] for name, numbers in UNIT.items()}, **off)
    found = {f"{which}_{name}": table for which in ("task1", "task2") for name, table in tables.items()}
    return {**found, "twice_sensitivity": wide}


def test_figure_7_judges_laws_theory_mean_channel_width_and_errors() -> None:
    judge = find("fig7").estimates
    good = judge(figure7_tables())
    reach = over_seeds(np.log(UNIT["D"]))
    assert good["D-exact"][0].value == pytest.approx(abs(reach[0]))
    assert good["D-exact"][0].high == pytest.approx(max(-reach[1], reach[2]))
    for name in ("D-exact", "G-exact", "mean-channel", "zero-error", "no-width"):
        assert verdict(name, good[name]) == "reproduced"
    assert good["D-task1-law"][0].value == -2.0
    assert "-1.84" in good["D-task1-law"][0].note
    assert [each.value for each in good["flat-initialisation"]] == [0, 0, 0, 0]
    assert "-1.84" not in good["flat-initialisation"][0].note  # theory is not about initial networks
    for name, change in (("D-exact", {"D": 1.4}), ("no-width", {"width": 1.2}), ("zero-error", {"error": 0.01})):
        assert verdict(name, judge(figure7_tables(**change))[name]) == "not reproduced"
    assert verdict("D-task1-law", judge(figure7_tables(slope=-1.0))["D-task1-law"]) == "not reproduced"
    # The scatter of both widths counts: five times that of the narrow networks makes five times the interval.
    narrow = figure7_tables()
    narrow["task1_sensitivity"] = sensitivity("relu", {"D": [0.95, 1.0, 1.05], "G": UNIT["G"]})
    assert judge(narrow)["no-width"][0].high > 3 * good["no-width"][0].high


def spectrum(model: str, shares: list[float]) -> pd.DataFrame:
    rows = [
        {"model": model, "seed": seed, "k": k, "level": level, "share": share + 0.01 * seed if level == 0 else 0.1}
        for seed, (k, share), level in itertools.product(range(3), enumerate(shares, 1), range(3))
    ]
    return pd.DataFrame(rows)


def test_figure_b1_sets_the_middle_layers_against_the_others() -> None:
    low = [0.9] * 12
    dip = [0.9, 0.8, 0.5, 0.6, 0.6, 0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]  # outside 7.1 / 8 = 0.8875, inside 0.55
    found = find("figB1").estimates({"spectrum": pd.concat([spectrum("ReLU", low), spectrum("tanh", dip)])})
    assert found["tanh-high-frequency-3-to-6"][0].value == pytest.approx(0.3375)
    assert found["low-pass-everywhere"][0].value == pytest.approx(0.91)
    assert all(verdict(name, each) == "reproduced" for name, each in found.items())
    high = [*low[:8], 0.2, 0.1, 0.1, 0.1]  # layer 9 counts, later ones do not
    found = find("figB1").estimates({"spectrum": pd.concat([spectrum("ReLU", high), spectrum("tanh", low)])})
    assert found["low-pass-everywhere"][0].value == pytest.approx(0.21)
    assert verdict("low-pass-everywhere", found["low-pass-everywhere"]) == "not reproduced"
    assert found["tanh-high-frequency-3-to-6"][0].value == pytest.approx(0)


def test_figure_b2_compares_under_the_noise_that_the_claim_names() -> None:
    # Rectified noise into ReLU gives G = 3 k² for k; the mean channel of tanh is half as sensitive to noise.
    rectified = {"G": 3.0, "G_power": 1.0}
    relu = sensitivity("relu", UNIT, trained_rectified=rectified, mean_channel_rectified=rectified)
    tanh = sensitivity(
        "tanh",
        {"D": [1.49, 1.5, 1.51], "G": [0.59, 0.6, 0.61]},
        mean_channel_plain={"G": 0.5},
        trained_plain={"D": 1.0},
    )
    tables = {"task1_sensitivity": relu, "tanh_sensitivity": tanh, "tanh_slopes": slopes(-1.0), "tanh_theory": theory()}
    found = find("figB2").estimates(tables)
    number = {name: each[0].value for name, each in found.items()}
    assert number["tanh-less-G"] == pytest.approx(math.log(0.6), abs=1e-3)
    assert f"as published: {math.log(0.2) - math.log(math.factorial(7)) / 7:.2f}" in found["tanh-less-G"][0].note
    assert number["tanh-D-departs"] == pytest.approx(math.log(1.5), abs=1e-4)
    assert number["tanh-same-D-first"] == pytest.approx(math.log(1.5), abs=1e-3)
    gaps = {each.part: each.value for each in found["tanh-mean-channel-gap"]}
    assert gaps == pytest.approx({"D": 0.0, "G": math.log(2)}, abs=1e-9)
    assert number["tanh-smaller-fall"] == pytest.approx(math.log(7))  # R falls as 1 / k², ReLU's as 1 / k³
    assert "with plain noise for both: " in found["tanh-smaller-fall"][0].note
    assert float(found["tanh-smaller-fall"][0].note.split()[-1]) == 0
    for name in ("tanh-less-G", "tanh-D-departs", "tanh-smaller-fall"):
        assert verdict(name, found[name]) == "reproduced"
    assert verdict("tanh-same-D-first", found["tanh-same-D-first"]) == "not reproduced"
    tables["tanh_sensitivity"] = sensitivity("tanh", {"D": [0.5, 0.5, 0.5], "G": [0.99, 1.0, 1.01]})
    found = find("figB2").estimates(tables)
    assert verdict("tanh-less-G", found["tanh-less-G"]) == "not reproduced"
    assert verdict("tanh-D-departs", found["tanh-D-departs"]) == "not reproduced"
    assert "below" in found["tanh-D-departs"][0].note


def filters(trained_: Filters, initial: Filters, seeds: int = 2) -> pd.DataFrame:
    rows = []
    for seed, (moment, taps) in itertools.product(range(seeds), (("initial", initial), ("trained", trained_))):
        for k, each in enumerate(taps, start=1):
            spread = float(np.std(each) / abs(np.mean(each)))
            named = {f"tap_{number}": tap for number, tap in enumerate(each, start=1)}
            rows.append({"seed": seed, "moment": moment, "k": k, **named, "spread": spread})
    return pd.DataFrame(rows)


def test_the_published_tables_themselves_are_judged_as_the_errata_say() -> None:
    judge = {name: find(name).estimates for name in ("tableC2", "tableC3")}
    found = judge["tableC2"]({"filters": filters(C2_TRAINED, C2_INITIAL)})
    assert found["positive-filters-task1"][0].value == pytest.approx(0.0024 / 0.0036)  # layer 8
    assert found["homogeneous-filters-task1"][0].value == pytest.approx(0.1069, abs=1e-4)  # layer 7
    assert all(verdict(name, each) == "reproduced" for name, each in found.items())
    found = judge["tableC3"]({"filters": filters(C3_TRAINED, C3_TRAINED)})
    assert found["positive-filters-task2"][0].value == -1.0  # erratum 14: layers 6 and 7
    assert verdict("positive-filters-task2", found["positive-filters-task2"]) == "not reproduced"
    assert found["homogeneous-filters-task2"][0].value == pytest.approx(0.0091 / 0.7565)  # layer 1
    assert verdict("homogeneous-filters-task2", found["homogeneous-filters-task2"]) == "reproduced"
    short = judge["tableC3"]({"filters": filters(C3_TRAINED[:5], C3_TRAINED[:5])})["positive-filters-task2"]
    assert short[0].value == pytest.approx(0.99935 / 2.1380, rel=1e-4)
    assert "there are only 5 layers" in short[0].note
    beside = beside_published(filters(C2_TRAINED[::-1], C2_INITIAL), {"initial": C2_INITIAL, "trained": C2_TRAINED})
    last = beside[(beside["moment"] == "trained") & (beside["k"] == 12)].iloc[0]
    assert (last["published_2"], last["measured_2"]) == (0.0008, pytest.approx(0.2605))


def piled(share_of: dict[str, dict[int, float]]) -> pd.DataFrame:
    rows = [
        {"model": model, "variant": variant, "seed": seed, "k": k, "share": share + 0.01 * seed, "share_se": 0.01}
        for (model, shares), variant, seed in itertools.product(share_of.items(), ("trained", "initial"), range(3))
        for k, share in shares.items()
    ]
    return pd.DataFrame(rows)


def test_pileup_is_a_difference_of_layers_and_a_ratio_of_activations() -> None:
    judge = find("pileup").estimates
    found = judge({"simple": piled({"ReLU": {1: 0.1, 7: 0.4, 12: 0.9}, "tanh": {1: 0.0, 7: 0.01}})})
    assert found["noise-piles-up"][0].value == pytest.approx(0.3)
    assert found["noise-cancels-with-tanh"][0].value == pytest.approx(0.02 / 0.41)
    assert all(verdict(name, each) == "reproduced" for name, each in found.items())
    found = judge({"simple": piled({"ReLU": {1: 0.4, 7: 0.1}, "tanh": {1: 0.0, 7: 0.3}})})
    assert {verdict(name, each) for name, each in found.items()} == {"not reproduced"}


@pytest.mark.parametrize(("factor", "expected"), [(0.8, "reproduced"), (1.25, "not reproduced")])
def test_swish_is_compared_under_plain_noise(factor: float, expected: str) -> None:
    relu = sensitivity("relu", UNIT, trained_rectified={"G": 100.0})
    swish = sensitivity("swish", {"D": [1.0, 1.0], "G": [factor, factor * 1.01]}, trained_rectified={"G": 0.01})
    found = find("activations").estimates({"task1_sensitivity": relu, "swish_sensitivity": swish})["swish-between"]
    assert found[0].value == pytest.approx(math.log(factor) + 0.005, abs=1e-3)
    assert verdict("swish-between", found) == expected


def test_figure_6_computes_and_judges_without_runs() -> None:
    study = find("fig6")
    settings = study.scales["smoke"]
    assert study.runs(settings, Sources("digits")) == {}
    tables = study.tables(settings, {})
    # At stride 1 two pixels, a layer later, are two boxes of five; at stride 2 layer 3 counts both in pixels 8 to 15.
    hidden = tables["hidden_stride1"].query("k == 1")["value"].to_numpy()
    assert np.flatnonzero(hidden).tolist() == [7, 8, 9, 10, 11, 19, 20, 21, 22, 23]
    assert tables["hidden_strideF"].query("k == 3")["value"].tolist() == [0, 2, 0, 0]
    assert tables["hidden_strideF"].query("k == 2")["value"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    found = study.estimates(tables)
    assert [each.value for each in found["A-grows-as-root-k"]] == pytest.approx([0.5, 0.5], abs=1e-9)
    assert [(each.low, each.high) for each in found["A-grows-as-F-to-k"]] == [(1, 1), (1, 1)]
    assert found["gaussian-profile"][0].value == pytest.approx(0.105, abs=5e-4)  # errata 1
    assert found["gaussian-limit"][0].value == pytest.approx(0.0074, abs=5e-5)
    assert verdict("gaussian-profile", found["gaussian-profile"]) == "not reproduced"
    assert verdict("gaussian-limit", found["gaussian-limit"]) == "reproduced"
    tables["seen"].loc[3, "least"] -= 1
    assert verdict("A-grows-as-F-to-k", study.estimates(tables)["A-grows-as-F-to-k"]) == "inconclusive"
    with pytest.raises(ValueError, match=r"in 0 \.\. length - 1 = 15; got \(9, 21\)"):
        type(settings)(length=16)


@pytest.fixture
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data are not looked at: only the jobs matter."""
    known = {"spec": "digits", "digest": "0"}
    monkeypatch.setattr("poolscope.studies.reproduce.work.training.digested", lambda spec: known)


@pytest.mark.usefixtures("no_images")
def test_studies_share_the_runs_of_simple_networks() -> None:
    sources = Sources("digits")
    keys: dict[str, set[str]] = {}
    for name in STUDIES:
        study = find(name)
        for part, job in study.runs(study.scales["laptop"], sources).items():
            keys.setdefault(part, set()).add(job.key)
    shared = [f"{which}{part}" for which in ("task1", "task2", "tanh", "swish") for part in ("", "-measured")]
    assert {part: len(keys[part]) for part in shared} == dict.fromkeys(shared, 1)
    assert set(keys) - set(shared) == {
        "twice", "twice-measured", "task1-small", "tanh-small", "vgg11_bn", "vgg11_bn-pileup", "task1-noisy",
        "tanh-noisy", "swish-noisy",
    }  # fmt: skip
    none = SIMPLE_NETWORKS["laptop"].model_copy(update={"twice": 0})
    assert "twice" not in find("fig7").runs(none, sources)


@pytest.mark.usefixtures("no_images")
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_whose_networks_learned_nothing_says_so(name: str, tmp_path: Path) -> None:
    study = find(name)
    jobs = study.runs(study.scales["smoke"], Sources("digits"))
    folders = {part: tmp_path / part for part in jobs if not part.startswith("vgg")}
    for part, folder in folders.items():
        folder.mkdir()
        if part.endswith("-measured"):
            Result(outcomes("not interpolated"), {}).save(folder / "outcomes.parquet")
    tables = study.tables(study.scales["smoke"], folders)
    assert study.panels(tables) == []
    found = study.estimates(tables)
    expected = {claim.identifier for claim in CLAIMS if claim.study == name}
    if name == "fig7":  # errors are known; the others go by the measured networks alone, if there are any
        assert verdict("zero-error", found.pop("zero-error")) == "reproduced"
        expected = {"D-task1-law", "G-task1-law", "D-task2-law", "G-task2-law", "no-width"}
    assert set(found) == expected
    for each in found.values():
        assert math.isnan(each[0].value)
        assert "hinge loss 0.9 after 200 epochs" in each[0].note
    assert all("seed 0 is left out: not interpolated" in said for said in study.words(tables))


def test_how_training_ended_is_said() -> None:
    said = how_training_ended({"task1_outcomes": outcomes("finished", "lost", "cut short", error=0.125)}, ["task1"])
    assert said[0].startswith(
        "ReLU on task 1: 2 seeds fit the training pairs after 40 to 42 epochs; errors up to 12.5 %"
    )
    assert said[1].startswith("ReLU on task 1: seed 1 is left out: lost")


def test_every_layer_has_its_picture_and_its_own_numbers() -> None:
    rows = pd.DataFrame([{"k": k, "x": x, "y": 10 * k + x} for k, x in itertools.product(range(1, 8), (1, 2, 3))])
    ax = Figure().add_subplot()
    plot_multiples([Series("here", rows)], ["1", "2", "3"], (0.0, 80.0), title="", ax=ax)
    drawn = {inset.get_title(): list(inset.lines[0].get_ydata()) for inset in ax.child_axes}
    assert drawn == {f"k = {k}": [10 * k + 1, 10 * k + 2, 10 * k + 3] for k in range(1, 8)}


def test_the_noise_in_a_caption_is_that_of_the_curves() -> None:
    rows = [
        {"model": model, "variant": variant, "noise": noise, "k": k, "seeds": 3, "interval": "over seeds"}
        | {f"{quantity}{end}": float(code) for quantity in "DGR" for end in ("", "_low", "_high")}
        for code, (model, noise) in enumerate(itertools.product(("ReLU", "tanh"), ("rectified", "plain")), start=1)
        for variant, k in itertools.product(("trained", "mean_channel", "initial"), (1, 2))
    ]
    panels = {panel.name: panel for panel in find("figB2").panels({"averages": pd.DataFrame(rows)})}
    expected = {"published": ([1, 4], "rectified noise for ReLU, plain noise for tanh")}
    expected |= {"plain": ([2, 4], "plain noise for both"), "rectified": ([1, 3], "rectified noise for both")}
    for protocol, (codes, words) in expected.items():
        ax = Figure().add_subplot()
        panels[f"G-{protocol}"].draw(ax)
        assert sorted({float(line.get_ydata()[0]) for line in ax.lines}) == codes
        assert words in panels[f"G-{protocol}"].caption


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleRuns:
    """Two seeds, of which the second's last weights are then those of a network without activations."""
    found = trained(small(), tmp_path_factory.mktemp("simple") / "runs")
    torch.manual_seed(0)
    linear = load_model("poolscope:simplecnn", **{**found.experiment.options, "activation": "linear"})
    write_weights(linear, found.folder / "seed-1" / "last.safetensors")
    return read_simple_runs(found.folder)


def test_the_size_of_the_displacement_is_that_of_all_moves(runs: SimpleRuns) -> None:
    squares = []
    for i, j in itertools.combinations(range(16), 2):
        x = np.zeros(16)
        x[[i, j]] = 8**0.5  # sqrt(L / 2)
        for a, b in itertools.product((-1, 1), repeat=2):
            moved = np.zeros(16)
            moved[(i + a) % 16] += 8**0.5
            moved[(j + b) % 16] += 8**0.5
            squares.append(np.square(moved - x).sum())
    assert displacement_norm(runs) == pytest.approx(np.mean(squares) ** 0.5, rel=1e-6)  # float32 images


def test_noise_of_any_size_is_the_same_to_a_linear_network(runs: SimpleRuns, tmp_path: Path) -> None:
    WORKS["simple_noisy"].do({"magnitudes": [0.1, 1.0]}, {"networks": runs.folder}, tmp_path, print, "cpu")
    layers = read_result(tmp_path / "noisy_layers.parquet").table
    wide = layers.pivot(index=["seed", "k"], columns="magnitude", values="G_scaled")
    change = (np.log(wide[0.1]) - np.log(wide[1.0])).abs()
    assert change.loc[1].max() < 1e-3 < 0.05 < change.loc[0].max()  # float32; ReLU is not linear
    errors = read_result(tmp_path / "noisy_errors.parquet").table
    assert sorted(errors["magnitude"].unique()) == [0, 0.1, 1]
    clean = errors[(errors["magnitude"] == 0) & (errors["seed"] == 0)]["error"].item()
    row = runs.outcomes.iloc[0]
    assert clean == pytest.approx(row["test_error"] * 110 / 120, abs=1e-6)  # 110 of 120 pairs were not learned from


def test_small_noise_piles_up_behind_relu_and_not_in_a_linear_network(runs: SimpleRuns, tmp_path: Path) -> None:
    settings = {"magnitudes": [0.5, 1.0], "images": 500, "draws": 4}
    WORKS["simple_pileup"].do(settings, {"networks": runs.folder}, tmp_path, print, "cpu")
    table = read_result(tmp_path / "pileup.parquet").table
    relu, linear = (table[table["seed"] == seed] for seed in (0, 1))
    assert (linear["share"].abs() < 5 * linear["share_se"]).all()
    assert (relu["share"] > 5 * relu["share_se"]).any()
    power = linear.pivot(index="k", columns="magnitude", values="noise_power")
    np.testing.assert_allclose(power[1.0] / power[0.5], 4, rtol=1e-9)  # the same noise, twice as large


def test_measuring_networks_that_learned_nothing_writes_how_they_ended(tmp_path: Path) -> None:
    none = trained(small(give_up=6), tmp_path / "runs", (0,))
    assert none.finished == []
    for work, settings, files in (
        ("simple_measured", {"protocol": "text", "pileup": True}, ["outcomes.parquet"]),
        ("simple_noisy", {"magnitudes": [1.0]}, []),
        ("simple_pileup", {"magnitudes": [1.0], "images": 9, "draws": 2}, []),
    ):
        (tmp_path / work).mkdir()
        said: list[object] = []
        WORKS[work].do(settings, {"networks": none.folder}, tmp_path / work, said.append, "cpu")
        assert [path.name for path in (tmp_path / work).iterdir()] == files
        assert "no seed interpolated" in str(said[0])
    assert "seconds" not in read_result(tmp_path / "simple_measured" / "outcomes.parquet").table
