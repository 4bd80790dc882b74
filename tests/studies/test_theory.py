"""Theory without a network: tables and laws put together, the paper's sizes as defaults, learned mean filters."""

import numpy as np
import pytest
import torch

import poolscope as ps
from poolscope.networks import write_weights
from poolscope.studies.mean_filters import MeanFilters, read_mean_filters
from poolscope.studies.theory import profiles, run


def test_task_1_has_the_papers_sizes_and_the_errata_numbers():
    found = run()
    table = found.homogeneous
    assert (len(table), table["filters"].nunique()) == (12, 1)
    assert table["A"].tolist() == pytest.approx([(2 * k / 3) ** 0.5 for k in range(1, 13)])  # k (F² - 1) / 12
    assert table["D_law"].tolist() == pytest.approx((1 / (4 * table["A"] ** 2)).tolist())
    assert table["G_law"].tolist() == pytest.approx((table["A"] / np.sqrt(np.pi)).tolist())
    assert table["R_law"].tolist() == pytest.approx((np.sqrt(np.pi) / 4 * table["A"] ** -3).tolist())
    assert table["G_relu_law"].tolist() == pytest.approx((table["A"] / np.sqrt(np.pi) / 3).tolist())
    assert (table["G_linear_law"] == 1).all()
    last = table.iloc[-1]
    assert last["G_relu"] == pytest.approx(0.977, abs=5e-4)  # erratum 11
    assert last["G_rectified"] == pytest.approx(2.389, abs=5e-4)
    assert found.within == {"D": [1, 2, 3, 4, 5, 6], "G": [], "R": []}
    assert found.holds_from == {"D": 6, "G": 57, "R": 57}
    assert found.ratios["D"].iloc[-1] == pytest.approx(1.21, abs=5e-3)


def test_task_2_is_its_closed_form_down_to_a_single_pixel():
    found = run(2)
    table, size = found.homogeneous, 128
    assert table["A"].tolist() == [2.0**k for k in range(1, 8)]
    closed = [size * (2 * size - 3) / (2 * n * (size - 2) * (size - n)) for n in table["A"][:6]]
    assert table["D"].tolist()[:6] == pytest.approx(closed, rel=1e-12)
    assert np.isnan(table["D"].iloc[6])
    assert found.within["D"] == [1, 2, 3]
    assert found.within["R"] == [5, 6]
    assert found.holds_from == {"D": 1, "G": 5, "R": 5}


def test_depth_at_stride_f_is_as_deep_as_the_length_allows():
    assert run(2, length=64).sizes["depth"] == 6
    assert run(2, length=36, scale=6, filter_size=3).sizes["depth"] == 2
    assert run(2, length=36, scale=6, filter_size=3).sizes["stride"] == 3
    assert run(2, filter_size=3, stride=1).sizes["depth"] == 12
    assert run(1, depth=3).sizes["depth"] == 3
    with pytest.raises(ValueError, match=r"multiple of its stride.*depth must be at most 0 \(length 35\)"):
        run(2, length=35)


def test_other_sizes_reach_the_prediction():
    options = {"dim": 2, "moves": "rounded-direction", "boundary": "periodic"}
    found = run(1, length=16, scale=6, gap=2.0, filter_size=2, depth=3, **options)
    expected = ps.theory.predict(1, 16, 6, 2, 2, 1, 3, **options)
    for column in ("A", "D", "G_rectified", "G_relu", "G_linear", "R"):
        assert found.homogeneous[column].tolist() == expected[column].tolist(), column
    assert found.homogeneous["G_law"].tolist() == pytest.approx((2 * found.homogeneous["A"] ** 2).tolist())
    assert found.title == "task 1 in 2D (length 16, scale 6, gap 2); filters of 2, stride 1, 3 layers"
    with pytest.raises(ValueError, match="task must be 1 or 2; got 3"):
        run(3)


def test_homogeneous_learned_filters_change_nothing():
    taps = tuple(np.full(3, 0.7 + k) for k in range(12))  # of any scale
    found = run(learned=MeanFilters(taps, 1))
    assert found.of_learned is not None
    for column in ("A", "D", "G_rectified", "G_relu", "G_linear", "R"):
        assert found.of_learned[column].tolist() == pytest.approx(found.homogeneous[column].tolist(), rel=1e-9), column
    assert found.of_learned["D_law"].isna().all()
    (said,) = dict(found.summary())["Learned filters"]
    assert "D at layers 1 to 12, G at layers 1 to 12 and R at layers 1 to 12" in said


def test_learned_filters_are_those_of_the_prediction_until_they_die():
    taps = (np.array([0.1, 0.9, 0.2]), np.array([0.5, 1.0, 0.4]), np.array([-0.1, -0.2, -0.1]))
    found = run(learned=MeanFilters(taps, 1, ("biases",)))
    assert found.of_learned is not None
    expected = ps.theory.predict(depth=3, filters=taps)
    assert found.of_learned["D"].tolist()[:2] == expected["D"].tolist()[:2]
    assert np.isnan(found.of_learned["D"].iloc[2])
    assert found.columns(found.of_learned)[-1] == "note"
    assert "D_law" not in found.columns(found.of_learned)
    said = dict(found.summary())["Learned filters"]
    assert any(sentence.startswith("Layer 3: the signal is 0 from layer 3 on") for sentence in said)
    assert said[-1] == "The prediction leaves out the network's biases."


def test_sizes_of_the_network_are_those_of_its_filters():
    filters = MeanFilters((np.ones((2, 2)),) * 4, 2)
    found = run(2, length=16, scale=4, learned=filters)
    assert [found.sizes[name] for name in ("filter_size", "stride", "dim", "depth")] == [2, 2, 2, 4]
    assert run(2, length=16, scale=4, depth=2, learned=filters).sizes["depth"] == 2
    for wrong, rule in (
        ({"dim": 1}, "dimension must be that of the learned filters, 2, or left out; got 1"),
        ({"filter_size": 3}, "filter size must be that of the learned filters, 2, or left out; got 3"),
        ({"stride": 1}, "stride must be that of the learned filters, 2, or left out; got 1"),
    ):
        with pytest.raises(ValueError, match=rule):
            run(2, length=16, scale=4, learned=filters, **wrong)
    with pytest.raises(ValueError, match="one for each layer up to depth 5; got 4"):
        run(2, length=32, scale=4, depth=5, learned=filters)


@pytest.mark.parametrize("dim", [1, 2])
def test_mean_filters_of_a_file_are_averages_over_channels(tmp_path, dim):
    options = {"dim": dim, "depth": 3, "channels": 4, "filter_size": 2, "stride": 2}
    model = ps.load_model("poolscope:simplecnn", num_classes=1, in_channels=1, seed=0, **options)
    write_weights(model, tmp_path / "net.safetensors")
    found = read_mean_filters(tmp_path / "net.safetensors")
    assert (found.dim, found.filter_size, found.stride, found.left_out) == (dim, 2, 2, ("biases",))
    for taps, layer in zip(found.taps, model.layers, strict=True):
        weight = layer.weight.detach().double()
        for place in np.ndindex(*[2] * dim):
            each = [float(weight[(a, b, *place)]) for a in range(weight.shape[0]) for b in range(weight.shape[1])]
            assert taps[place] == pytest.approx(sum(each) / len(each), rel=1e-12)


def test_what_theory_knows_nothing_of_is_said(tmp_path):
    options = {"depth": 1, "channels": 2, "outside": "zero", "activation": "tanh", "bias": False}
    write_weights(ps.load_model("poolscope:simplecnn", seed=0, **options), tmp_path / "net.safetensors")
    found = read_mean_filters(tmp_path / "net.safetensors")
    assert found.left_out == ("zeros outside of the frame", "activation (Tanh for ReLU)")
    options = {"depth": 1, "channels": 2}
    model = ps.load_model("poolscope:simplecnn", seed=0, **options)
    torch.nn.init.zeros_(model.layers[0].bias)
    write_weights(model, tmp_path / "net.safetensors")
    assert read_mean_filters(tmp_path / "net.safetensors").left_out == ()


def test_other_networks_have_no_mean_filters(tmp_path):
    write_weights(ps.load_model("poolscope:minivgg", in_channels=1, seed=0, width=0.05), tmp_path / "vgg.safetensors")
    with pytest.raises(ValueError, match=r"poolscope:simplecnn.*got .*vgg\.safetensors"):
        read_mean_filters(tmp_path / "vgg.safetensors")
    with pytest.raises(FileNotFoundError, match=r"existing file; got .*gone\.safetensors"):
        read_mean_filters(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(("size", "drift"), [(3, 0.0), (4, -0.5)])
def test_profiles_are_one_pixel_and_its_gaussians(size, drift):
    table = profiles(64, size, [1, 4])
    for k, rows in table.groupby("k"):
        exact = rows[rows["exact"].notna()]
        assert exact["exact"].sum() == pytest.approx(1, abs=2e-4)  # what is cut off is below 1e-4 a pixel
        mean = (exact["exact"] * exact["offset"]).sum()
        variance = (exact["exact"] * (exact["offset"] - mean) ** 2).sum()
        assert mean == pytest.approx(drift * k, abs=2e-3)
        assert variance == pytest.approx(k * (size**2 - 1) / 12, rel=2e-2)
        step = rows["offset"].diff().median()
        for column, width in (("true", (size**2 - 1) / 12), ("printed", (size - 1) ** 3 / (6 * size))):
            if size == 3 or column == "true":  # the printed density of even F does not integrate to 1 (erratum 2)
                density = rows[column] * step
                assert density.sum() == pytest.approx(1, abs=2e-3)
                assert (density * (rows["offset"] - drift * k) ** 2).sum() == pytest.approx(width * k, rel=2e-2)
        assert (rows["printed"] * rows["offset"]).sum() / rows["printed"].sum() == pytest.approx(
            -k * (size - 1) / (2 * size) if size == 4 else 0, abs=2e-2
        )


def test_tables_figures_and_page_are_written(tmp_path):
    taps = tuple(np.array([1.0, 2.0, 1.0]) for _ in range(3))
    found = run(learned=MeanFilters(taps, 1, ("biases",)))
    paths = found.save(tmp_path, {"command": "made <up>"})
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    names = {path.name for path in paths}
    assert {"theory.parquet", "report.html", "profiles.png", "G.pdf", "R-filters.png", "ratios.pdf"} <= names
    result = ps.read_result(tmp_path / "theory.parquet")
    assert len(result.table) == 6
    assert result.table["D"].tolist() == found.table["D"].tolist()
    assert (result.record["length"], result.record["moves"]) == (32, "left-right")
    page = (tmp_path / "report.html").read_text()
    assert "made &lt;up&gt;" in page
    assert "task 1 in 1D (length 32, scale 11, gap 4)" in page
    assert "leaves out the network&#39;s biases" in page or "leaves out the network's biases" in page


def test_figures_that_say_nothing_are_left_out(tmp_path):
    found = run(2, length=16, scale=4, learned=MeanFilters((np.array([1.0, -0.5]),) * 3, 2))
    names = {path.name for path in found.save(tmp_path, {})}
    assert "profiles.png" not in names  # windows do not overlap: a pixel stays one
    assert "D-filters.png" in names
    assert "G-filters.png" not in names  # no closed form with negative taps
