"""The study of simple CNNs: every number against the definition, or a network whose numbers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from poolscope.networks import write_weights
from poolscope.sensitivity import read_result
from poolscope.studies.scale_detection import compare, gather, run
from poolscope.studies.scale_detection.measured import mean_filters, moves_of, over_seeds, sensitivities
from poolscope.studies.scale_detection.slopes import exact, fitted_range, slopes
from poolscope.tasks import parse
from poolscope.training.simple import Experiment, SimpleRuns, read_simple_runs, train_simple

SMALL = {
    "task": "scale-detection:task=1,length=16,scale=5,gap=2,train=20", "depth": 3, "channels": 8, "lr": 0.05,
    "ridge": 0.02, "batch_size": 4, "multiple": 1.5, "wait": 0.1, "give_up": 200, "check_every": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> SimpleRuns:
    """Three seeds whose last weights are then made homogeneous and positive: theory's network, exactly."""
    folder = tmp_path_factory.mktemp("simple")
    options = {"threads": 1, "say": lambda text: None, "progress": False}
    found = train_simple(Experiment(**SMALL, bias=False), folder, seeds=(0, 1, 2), **options)
    assert found.outcomes["status"].eq("finished").all()
    for seed in (0, 1, 2):
        model = found.model(seed)
        with torch.no_grad():
            for layer in model.layers:
                layer.weight.fill_(0.5 + seed)
        write_weights(model, folder / f"seed-{seed}" / "last.safetensors")
    return read_simple_runs(folder)


@pytest.fixture(scope="module")
def table(runs: SimpleRuns) -> pd.DataFrame:
    return sensitivities(runs)


def test_d_is_that_of_the_exact_theory(runs: SimpleRuns, table: pd.DataFrame) -> None:
    theory = exact(runs.experiment)["D"].to_numpy()
    for variant in ("trained", "mean_channel"):
        rows = table[(table["variant"] == variant) & (table["noise"] == "plain")]
        for _, seed in rows.groupby("seed"):
            np.testing.assert_allclose(seed["D"], theory, rtol=2e-5)  # float32 networks
    initial = table[table["variant"] == "initial"]
    assert (initial["D"].to_numpy()[:3] > 1.2 * theory).all()  # it can fail


def test_rectified_g_is_that_of_the_exact_theory(runs: SimpleRuns, table: pd.DataFrame) -> None:
    theory = exact(runs.experiment)["G_rectified"].to_numpy()
    rows = over_seeds(table[(table["variant"] == "trained") & (table["noise"] == "rectified")])
    np.testing.assert_allclose(rows["G"], theory, rtol=0.05)  # 3 seeds of 4 x 104 draws of noise
    plain = over_seeds(table[(table["variant"] == "trained") & (table["noise"] == "plain")])
    assert (plain["G"].to_numpy() < 0.85 * rows["G"].to_numpy()).all()


def test_receptive_fields_and_columns(table: pd.DataFrame) -> None:
    assert table["A"].unique() == pytest.approx([(2 / 3) ** 0.5, (4 / 3) ** 0.5, 2**0.5])
    assert set(table["variant"]) == {"trained", "initial", "mean_channel"}
    assert set(table["noise"]) == {"rectified", "plain"}
    assert len(table) == 3 * 3 * 2 * 3


def test_seeds_are_averaged_as_logarithms(table: pd.DataFrame) -> None:
    from scipy.stats import t

    rows = table[(table["variant"] == "initial") & (table["noise"] == "plain") & (table["k"] == 2)]
    logs = np.log(rows["R"].to_numpy())
    found = over_seeds(rows).iloc[0]
    reach = t.ppf(0.975, 2) * logs.std(ddof=1) / 3**0.5
    assert found["R"] == pytest.approx(np.exp(logs.mean()))
    assert found["R_high"] == pytest.approx(np.exp(logs.mean() + reach))


def test_slopes_are_least_squares_of_logarithms_seed_by_seed(runs: SimpleRuns, table: pd.DataFrame) -> None:
    found = slopes(table, runs.experiment)
    rows = table[(table["variant"] == "initial") & (table["noise"] == "rectified")]
    fitted = []
    for _, seed in rows.groupby("seed"):
        x, y = np.log(seed["A"].to_numpy()), np.log(seed["G"].to_numpy())
        fitted.append(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    row = found[(found["variant"] == "initial") & (found["noise"] == "rectified") & (found["quantity"] == "G")].iloc[0]
    assert row["slope"] == pytest.approx(np.mean(fitted))
    assert row["high"] - row["slope"] == pytest.approx(4.302653 * np.std(fitted, ddof=1) / 3**0.5, rel=1e-5)
    assert row["law"] == pytest.approx(1.0)
    trained = found[(found["variant"] == "trained") & (found["quantity"] == "D")].iloc[0]
    assert trained["slope"] == pytest.approx(trained["exact"], rel=1e-4)
    assert trained["law"] == pytest.approx(-2.0)


def test_layers_of_stride_f_are_fitted_up_to_the_scale() -> None:
    fields = {**SMALL, "task": "scale-detection:task=2,length=128,scale=32,train=20", "filter_size": 2, "stride": 2}
    assert fitted_range(Experiment(**{**fields, "depth": 7})) == (1, 5)  # 2^5 = 32
    assert fitted_range(Experiment(**{**SMALL, "depth": 12})) == (1, 7)


def test_mean_filters_are_averages_of_the_raw_parameters(runs: SimpleRuns) -> None:
    table = mean_filters(runs)
    trained = table[table["moment"] == "trained"]
    assert trained.loc[trained["seed"] == 2, "tap_1"].tolist() == pytest.approx([2.5] * 3)
    assert trained["spread"].tolist() == pytest.approx([0.0] * 9, abs=1e-12)
    first = runs.model(1, "initial").layers[1].weight.detach()
    row = table[(table["seed"] == 1) & (table["moment"] == "initial") & (table["k"] == 2)].iloc[0]
    loop = sum(float(first[o, i, 2]) for o in range(8) for i in range(8)) / 64
    assert row["tap_3"] == pytest.approx(loop, rel=1e-5)


def test_published_moves_keep_to_patches_and_to_the_frame() -> None:
    task = parse("scale-detection:task=2,length=16,scale=4")[0]
    published, text = moves_of(task, "published"), moves_of(task, "text")
    assert (published.edge, published.patch, published.overlap) == ("clamp", 4, "set")
    assert (text.edge, text.patch, text.overlap) == ("wrap", None, "add")


def test_everything_is_written_and_said(runs: SimpleRuns, tmp_path: Path) -> None:
    found = gather(runs)
    shares = found.pileup
    assert shares is not None
    linear = shares[shares["variant"] == "linear"]
    assert (linear["share"].abs() < 4 * linear["share_se"]).all()
    trained = shares[shares["variant"] == "trained"]
    assert (trained["share"] > 4 * trained["share_se"]).all()
    said = dict(found.summary())
    assert said["Theory"][0].endswith("at layers 1 to 3 of 3.")
    assert "Trained: D grows as A to the power" in said["Slopes"][0]
    found.save(tmp_path, {"command": "none"})
    for name, table in found.tables().items():
        assert len(read_result(tmp_path / f"{name}.parquet").table) == len(table)
    page = (tmp_path / "report.html").read_text()
    assert "Simple CNNs on task 1" in page
    assert (tmp_path / "D-rectified.png").stat().st_size > 10_000


def test_experiments_are_compared_under_both_protocols(runs: SimpleRuns, tmp_path: Path) -> None:
    options = {"threads": 1, "say": lambda text: None, "progress": False}
    tanh = Experiment(**{**SMALL, "activation": "tanh", "multiple": 1.1})
    other = run(tanh, seeds=[0], out=tmp_path / "t", **options)
    compared = compare({"relu": gather(runs), "tanh": other})
    growth = compared.growth.set_index(["model", "variant", "noise"])
    rows = compared.averages.set_index(["model", "variant", "noise", "k"])["G"].sort_index()
    ratio = [rows["tanh", "trained", "plain", k] / rows["relu", "trained", "rectified", k] for k in (1, 2, 3)]
    assert growth.loc[("tanh", "trained", "plain"), "to_rectified"] == pytest.approx(np.prod(ratio) ** (1 / 3))
    assert growth.loc[("relu", "trained", "plain"), "to_reference"] == pytest.approx(1.0)
    layers = compared.noisy_layers
    homogeneous = layers[layers["model"] == "relu"]
    np.testing.assert_allclose(homogeneous["G_scaled"] * homogeneous["magnitude"] ** 2, homogeneous["G"], rtol=1e-9)
    as_strong = homogeneous[homogeneous["magnitude"].round(6) == 1].groupby("k")["G"].mean()
    matched = rows.loc["relu", "trained", "plain"]  # the same power on a sphere, other draws: 3 seeds of 416
    np.testing.assert_allclose(as_strong, matched, rtol=0.1)
    errors = compared.noisy_errors
    assert set(errors["magnitude"].round(3)) == {0.0, 0.125, 0.25, 0.5, 1.0, 2.0}
    clean = errors[(errors["model"] == "tanh") & (errors["magnitude"] == 0)]["error"].iloc[0]
    outcome = other.runs.outcomes.iloc[0]
    task, split = parse(SMALL["task"])
    pairs = len(task.pairs)
    wrong = outcome["test_error"] * (pairs - split.train) + outcome["training_error"] * split.train
    assert clean == pytest.approx(wrong / pairs, abs=1e-9)
    compared.save(tmp_path, {"command": "none"})
    assert "simple CNNs compared" in (tmp_path / "report.html").read_text()
    with pytest.raises(ValueError, match="two or more experiments of one task"):
        compare({"tanh": other})


def test_no_interpolation_cannot_be_measured(tmp_path: Path) -> None:
    options = {"threads": 1, "say": lambda text: None, "progress": False}
    hopeless = Experiment(**{**SMALL, "lr": 1e-9, "give_up": 2})
    with pytest.raises(ValueError, match=r"at least one seed must have interpolated.*seed 0: hinge loss"):
        run(hopeless, seeds=[0], out=tmp_path, **options)
