"""The command line, in this process: what it prints, what it writes, and its exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import poolscope as ps
from poolscope.cli import main
from poolscope.studies import findings

QUICK = ["--in-channels", "1", "--count", "6"]
MODEL = ["measure", "poolscope:minivgg", *QUICK]


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["poolscope", *words])
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave out pictures and pages, which take most of the time and which other tests look at, until it is undone."""
    with monkeypatch.context() as patched:
        patched.setattr(findings, "save_panels", lambda panels, folder: [])
        patched.setattr(findings, "write_report", lambda path, **rest: path)
        yield patched


def write_images(folder: Path, *colours: int, size: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(colours):
        Image.new("RGB", (size, size), (colour, 0, 255 - colour)).save(folder / f"{number}.png")
    return folder


def test_measure_prints_every_layer_and_writes_table_and_pictures(run, tmp_path):
    code, out, err = run(*MODEL, "--layers", "activations", "--out", str(tmp_path / "a" / "b"))
    assert code == 0, err
    result = ps.read_result(tmp_path / "a" / "b" / "measurement.parquet")
    assert all(layer in out for layer in result.table["layer"])
    assert result.record["images"] == 6
    assert "measure poolscope:minivgg" in result.record["command"]
    assert (tmp_path / "a" / "b" / "R.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a" / "b" / "R.pdf").read_bytes()[:4] == b"%PDF"
    assert ps.read_result(tmp_path / "a" / "b" / "spectrum.parquet").table["layer"].nunique() == 8
    assert "poolscope:minivgg" in (tmp_path / "a" / "b" / "report.html").read_text()


def test_measure_with_shuffles_tells_spatial_pooling_apart(run, tmp_path, monkeypatch):
    from poolscope.networks import write_weights

    monkeypatch.setattr(findings, "save_panels", lambda panels, folder: [])  # those of the page are enough
    write_weights(ps.load_model("poolscope:minivgg", in_channels=1, seed=1), tmp_path / "initial.safetensors")
    words = ("--shuffle", "2", "--shuffle-mode", "shared", "--recalibrate", "--keep-colours")
    words += ("--controls", "mean_channel", "--remark", "Seen <here>.")
    more = ("--displacement", "0.5,1", "--initial", str(tmp_path / "initial.safetensors"), "--out", str(tmp_path))
    code, out, err = run(*MODEL, *words, *more)
    assert code == 0, err
    assert "spatial_share" in out
    found = ps.read_result(tmp_path / "measurement.parquet")
    assert found.record["shuffles"]["left_as_they_are"] == {"features.0": "reads the image"}
    assert set(found.table["variant"]) == {"trained", "initial", "shuffled", "mean_channel"}
    assert found.table["displacement"].unique().tolist() == [0.5, 1.0]
    assert "Seen &lt;here&gt;." in (tmp_path / "report.html").read_text()
    shares = ps.read_result(tmp_path / "shares.parquet").table
    model = ps.load_model("poolscope:minivgg", in_channels=1, seed=0)
    expected = ps.pooling_share(
        model,
        ps.load_images("digits", count=6),
        displacement=[0.5, 1.0],
        draws=2,
        mode="shared",
        recalibrate=True,
        image_channels=False,
        progress=False,
    )
    assert shares["R_shuffled"].tolist() == pytest.approx(expected["R_shuffled"].tolist(), rel=1e-4)


def test_report_puts_saved_results_side_by_side(run, tmp_path, no_pictures):
    for name, seed in (("one", "0"), ("two", "1")):
        assert run(*MODEL, "--seed", seed, "--shuffle", "2", "--out", str(tmp_path / name))[0] == 0
    no_pictures.undo()
    code, out, err = run("report", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "both"))
    assert code == 0, err
    assert "minivgg (one)" in out
    table = ps.read_result(tmp_path / "both" / "measurement.parquet").table
    assert table["model"].unique().tolist() == ["poolscope:minivgg (one)", "poolscope:minivgg (two)"]
    assert "minivgg (two)" in (tmp_path / "both" / "report.html").read_text()
    code, _, err = run("report", str(tmp_path / "one" / "measurement.parquet"), "--out", str(tmp_path / "alone"))
    assert code == 0, err
    (tmp_path / "one" / "shares.parquet").write_bytes(b"PAR1 damaged")
    code, _, err = run("report", str(tmp_path / "one"), "--out", str(tmp_path / "none"))
    assert code == 2
    assert "shares.parquet must be a whole Parquet file" in err
    assert not (tmp_path / "none").exists()


def test_spectrum_prints_and_writes_every_convolution(run, tmp_path):
    code, out, err = run("spectrum", "torchvision:alexnet", "--num-classes", "4", "--out", str(tmp_path))
    assert code == 0, err
    assert all(kernel in out for kernel in ("11x11", "5x5", "3x3"))
    table = ps.read_result(tmp_path / "spectrum.parquet").table
    expected = ps.filter_spectrum(ps.load_model("torchvision:alexnet", num_classes=4, seed=0))
    assert table["power"].tolist() == expected["power"].tolist()
    assert "alexnet" in (tmp_path / "report.html").read_text()


def test_measure_options_reach_the_library(run, tmp_path, no_pictures):
    words = ("--displacement", "0.7", "--cutoff", "2", "--draws", "2", "--seed", "5", "--precision", "float64")
    code, _, _ = run(*MODEL, *words, "--noise", "spectrum", "--layers", "output,features.2", "--out", str(tmp_path))
    assert code == 0
    found = ps.read_result(tmp_path / "measurement.parquet")
    model = ps.load_model("poolscope:minivgg", in_channels=1, seed=5)
    expected = ps.measure(
        model,
        ps.load_images("digits", count=6),
        ps.Diffeomorphism(0.7, 2),
        ps.SpectrumMatchedNoise(),
        draws=2,
        seed=5,
        precision="float64",
        layers=["output", "features.2"],
    )
    assert found.table["layer"].tolist() == ["input", "features.2", "output"]
    # Kernels may pick another order of summation for other memory: float64 rounding.
    torch.testing.assert_close(
        torch.tensor(found.table["D"].to_numpy()), torch.tensor(expected.table["D"].to_numpy()), rtol=1e-10, atol=0
    )


def test_published_protocol_is_the_authors_temperature_in_float64(run, tmp_path, no_pictures):
    assert run(*MODEL, "--protocol", "published", "--out", str(tmp_path))[0] == 0
    record = ps.read_result(tmp_path / "measurement.parquet").record
    assert record["precision"] == "float64"
    assert record["identical_pairs"] is True
    assert record["deformation"]["delta"] == pytest.approx(1.0)
    assert record["deformation"]["displacement"] == pytest.approx(0.816, abs=5e-4)  # the true rms at n = 32, c = 3


def test_compare_weights_files(run, tmp_path):
    from poolscope.networks import write_weights

    for seed in (0, 1):
        write_weights(ps.load_model("poolscope:minivgg", in_channels=1, seed=seed), tmp_path / f"{seed}.safetensors")
    first, second = str(tmp_path / "0.safetensors"), str(tmp_path / "1.safetensors")
    words = ("--model", "poolscope:minivgg", *QUICK, "--out", str(tmp_path / "out"))
    code, out, err = run("compare", first, second, *words)
    assert code == 0, err
    assert "log_ratio" in out
    table = ps.read_result(tmp_path / "out" / "measurement.parquet").table
    assert table["model"].unique().tolist() == ["0", "1"]
    assert ps.read_result(tmp_path / "out" / "measurement.parquet").record["weights"] == [first, second]
    assert ps.read_result(tmp_path / "out" / "contrasts.parquet").table["second"].unique().tolist() == ["1"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_deform_draws_a_grid(run, tmp_path):
    photo = tmp_path / "photo.png"
    Image.radial_gradient("L").convert("RGB").save(photo)
    code, out, err = run("deform", str(photo), "--size", "32", "--cutoffs", "2,3", "--out", str(tmp_path / "grid"))
    assert code == 0, err
    assert "temperature" in out, err
    width, height = Image.open(tmp_path / "grid" / "deformations.png").size
    assert min(width, height) > 300


def test_info_names_versions_and_data(run):
    code, out, _ = run("info")
    assert code == 0
    assert torch.__version__.split("+")[0] in out
    assert "digits" in out


@pytest.mark.parametrize("command", ["demo", "measure", "train", "compare", "spectrum", "report", "deform", "info"])
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"poolscope {command}" in " ".join(out.split())


def test_a_failure_that_is_not_bad_input_exits_with_1(run, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr("poolscope.studies.measure.run", broken)
    code, _, err = run(*MODEL)
    assert code == 1
    assert "the disk is on fire" in err


def test_an_interrupt_exits_with_130(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("poolscope.studies.measure.run", interrupted)
    assert run(*MODEL)[0] == 130


def test_two_processes_give_the_table_of_one(run, tmp_path, no_pictures):
    words = ["measure", "poolscope:minivgg", "--in-channels", "1", "--count", "101", "--precision", "float64", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "poolscope"]
    assert run(*words, str(tmp_path / "one"))[0] == 0
    subprocess.run([*torchrun, *words, str(tmp_path / "two")], check=True, env=environment, capture_output=True)
    one, two = (ps.read_result(tmp_path / name / "measurement.parquet").table for name in ("one", "two"))
    for column in ("D", "D_se", "G", "G_se", "R", "spread"):
        assert two[column].tolist() == pytest.approx(one[column].tolist(), rel=1e-9), column
