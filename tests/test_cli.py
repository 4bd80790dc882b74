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


def write_images(folder: Path, *colours: int, size: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(colours):
        Image.new("RGB", (size, size), (colour, 0, 255 - colour)).save(folder / f"{number}.png")
    return folder


def test_measure_prints_every_layer_and_writes_table_and_pictures(run, tmp_path):
    code, out, _ = run(*MODEL, "--layers", "activations", "--out", str(tmp_path / "a" / "b"))
    assert code == 0
    result = ps.read_result(tmp_path / "a" / "b" / "measurement.parquet")
    assert all(layer in out for layer in result.table["layer"])
    assert result.record["images"] == 6
    assert "measure poolscope:minivgg" in result.record["command"]
    assert (tmp_path / "a" / "b" / "sensitivities.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a" / "b" / "sensitivities.pdf").read_bytes()[:4] == b"%PDF"


def test_measure_options_reach_the_library(run, tmp_path):
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


def test_published_protocol_is_the_authors_temperature_in_float64(run, tmp_path):
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
    code, out, _ = run("compare", first, second, "--model", "poolscope:minivgg", *QUICK, "--out", str(tmp_path / "out"))
    assert code == 0
    assert "log_ratio" in out
    table = ps.read_result(tmp_path / "out" / "measurement.parquet").table
    assert table["model"].unique().tolist() == [first, second]
    assert (tmp_path / "out" / "comparison.parquet").is_file()


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


@pytest.mark.parametrize("command", ["demo", "measure", "compare", "deform", "info"])
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"poolscope {command}" in " ".join(out.split())


def test_a_failure_that_is_not_bad_input_exits_with_1(run, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(ps, "measure", broken)
    code, _, err = run(*MODEL)
    assert code == 1
    assert "the disk is on fire" in err


def test_an_interrupt_exits_with_130(run, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(ps, "measure", interrupted)
    assert run(*MODEL)[0] == 130


def test_two_processes_give_the_table_of_one(tmp_path):
    words = ["measure", "poolscope:minivgg", "--in-channels", "1", "--count", "101", "--precision", "float64", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "poolscope"]
    for start, name in (([sys.executable, "-m", "poolscope"], "one"), (torchrun, "two")):
        subprocess.run([*start, *words, str(tmp_path / name)], check=True, env=environment, capture_output=True)
    one, two = (ps.read_result(tmp_path / name / "measurement.parquet").table for name in ("one", "two"))
    for column in ("D", "D_se", "G", "G_se", "R", "spread"):
        assert two[column].tolist() == pytest.approx(one[column].tolist(), rel=1e-9), column
