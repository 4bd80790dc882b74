"""The command theory, and deform with a task, in this process: what they print and write, and wrong words."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import poolscope as ps
from poolscope.networks import write_weights
from test_cli import run  # noqa: F401

TASK = "scale-detection:task=2,length=12,scale=4"


def network(folder: Path, **options) -> str:
    model = ps.load_model("poolscope:simplecnn", seed=0, channels=3, **{"depth": 2, **options})
    for layer in model.layers:
        layer.weight.data.abs_()  # no negative taps, so that every column has a number
    write_weights(model, folder / "net.safetensors")
    return str(folder / "net.safetensors")


def vgg(folder: Path) -> str:
    write_weights(ps.load_model("poolscope:minivgg", in_channels=1, seed=0, width=0.05), folder / "vgg.safetensors")
    return str(folder / "vgg.safetensors")


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out the figures, which take most of the time."""
    monkeypatch.setattr("poolscope.studies.theory._panels", lambda found: [])


def test_theory_prints_exact_values_laws_and_where_they_hold(run):  # noqa: F811
    code, out, err = run("theory")
    assert (code, err) == (0, "")
    last = next(line for line in out.splitlines() if re.match(r"\W*12\W", line))
    # k, A, D, D_law, G_rectified, G_law, G_relu, G_linear, R, R_law
    numbers = [float(text) for text in re.findall(r"[\d.]+", last)]
    assert numbers == pytest.approx([12, 2.828, 0.03781, 0.03125, 2.389, 1.596, 0.9773, 1.226, 0.01583, 0.01958])
    assert "D at layers 1 to 6, G at none and R at none" in out
    assert "D from layer 6 on, G from layer 57 on and R from layer 57 on" in out


def test_theory_writes_table_figures_and_page(run, tmp_path):  # noqa: F811
    words = ["--task", "2", "--length", "16", "--scale", "4", "--filter-size", "2", "--stride", "1", "--depth", "2"]
    words += ["--dim", "2", "--moves", "neighbour-or-stay", "--out", str(tmp_path / "a" / "b")]
    code, out, err = run("theory", *words)
    assert code == 0, err
    assert f"open {tmp_path / 'a' / 'b' / 'report.html'}" in out
    result = ps.read_result(tmp_path / "a" / "b" / "theory.parquet")
    expected = ps.theory.predict(2, 16, 4, None, 2, 1, 2, dim=2, moves="neighbour-or-stay")
    assert result.table["D"].tolist() == expected["D"].tolist()
    assert result.record["command"].startswith("poolscope theory --task 2")
    assert (tmp_path / "a" / "b" / "D.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a" / "b" / "report.html").is_file()


def test_theory_boundary_and_gap(run, tmp_path, no_figures):  # noqa: F811
    words = ["--gap", "2", "--boundary", "open", "--length", "16", "--scale", "5", "--depth", "2"]
    code, _, err = run("theory", *words, "--out", str(tmp_path))
    assert code == 0, err
    expected = ps.theory.predict(1, 16, 5, 2, depth=2, boundary="open")
    assert ps.read_result(tmp_path / "theory.parquet").table["R"].tolist() == expected["R"].tolist()


def test_theory_of_learned_filters(run, tmp_path, no_figures):  # noqa: F811
    weights = network(tmp_path)
    code, out, err = run("theory", "--weights", weights, "--out", str(tmp_path / "out"))
    assert code == 0, err
    assert "the same with the mean filters of" in out
    assert "The prediction leaves out the network's biases." in out
    result = ps.read_result(tmp_path / "out" / "theory.parquet")
    model = ps.load_model(weights)
    taps = [layer.weight.detach().double().mean((0, 1)).numpy() for layer in model.layers]
    expected = ps.theory.predict(depth=2, filters=taps)
    learned = result.table[result.table["filters"] == "learned mean filters"]
    assert learned["D"].tolist() == expected["D"].tolist()
    assert learned["G_rectified"].tolist() == expected["G_rectified"].tolist()
    assert result.record["weights"] == weights


def test_theory_has_help_with_an_example(run):  # noqa: F811
    code, out, _ = run("theory", "--help")
    assert code == 0
    assert "poolscope theory --task 2" in " ".join(out.split())


def test_deform_of_a_task_counts_and_draws(run, tmp_path):  # noqa: F811
    code, out, err = run("deform", "--task", TASK, "--seed", "3", "--out", str(tmp_path / "d"))
    assert (code, err) == (0, "")
    assert "neighbour-or-stay" in out
    result = ps.read_result(tmp_path / "d" / "moves.parquet")
    flips = 0
    for one in range(12):
        for other in range(one + 1, 12):
            for a in (-1, 1):
                for b in (-1, 1):
                    before, after = one // 4 == other // 4, (one + a) % 12 // 4 == (other + b) % 12 // 4
                    flips += before != after
    assert result.table["flips"][0] == pytest.approx(flips / (66 * 4))
    assert result.record["seed"] == 3
    assert (tmp_path / "d" / "examples.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "d" / "report.html").is_file()


Case = tuple[Callable[[Path], list[str]], str]

CASES: dict[str, Case] = {
    "task 3": (lambda p: ["theory", "--task", "3"], "--task"),
    "no pixels": (lambda p: ["theory", "--length", "2"], "length must be .*3 or more; got 2"),
    "length of nothing": (lambda p: ["theory", "--task", "2", "--length", "0"], "got 0"),
    "stride neither 1 nor F": (lambda p: ["theory", "--stride", "2"], "stride must be 1 or the filter size 3.*got 2"),
    "depth zero": (lambda p: ["theory", "--depth", "0"], "depth must be .*1 or more; got 0"),
    "too deep": (lambda p: ["theory", "--task", "2", "--depth", "8"], "depth must be at most 7"),
    "gap of task 2": (lambda p: ["theory", "--task", "2", "--gap", "2"], "gap.*of task 1"),
    "scale beyond the ring": (lambda p: ["theory", "--scale", "30"], "both classes must occur"),
    "rounded directions on a row": (lambda p: ["theory", "--moves", "rounded-direction"], "rounded-direction"),
    "unknown moves": (lambda p: ["theory", "--moves", "jump"], "jump"),
    "unknown boundary": (lambda p: ["theory", "--boundary", "wall"], "wall"),
    "open distances with stride": (
        lambda p: ["theory", "--filter-size", "2", "--stride", "2", "--boundary", "open"],
        "boundary='periodic'",
    ),
    "filters of one pixel": (lambda p: ["theory", "--filter-size", "1"], "filter_size must be .*2 or more; got 1"),
    "no weights": (lambda p: ["theory", "--weights", str(p / "gone.safetensors")], "gone.safetensors"),
    "weights of a VGG": (lambda p: ["theory", "--weights", vgg(p)], "simplecnn"),
    "another filter size": (
        lambda p: ["theory", "--weights", network(p), "--filter-size", "5"],
        "filter size must be that of the learned filters, 3.*got 5",
    ),
    "deeper than the network": (
        lambda p: ["theory", "--weights", network(p), "--depth", "3"],
        "one for each layer up to depth 3; got 2",
    ),
    "unwritable out": (lambda p: ["theory", "--out", str(p / "a" / "\0")], "."),
    "deform: no such field": (lambda p: ["deform", "--task", f"{TASK},scales=3"], "did you mean scale"),
    "deform: another name": (lambda p: ["deform", "--task", "digits"], "must begin with scale-detection"),
    "deform: one class": (lambda p: ["deform", "--task", "scale-detection:length=8,scale=9"], "both classes"),
    "deform: a photograph too": (lambda p: ["deform", "a.jpg", "--task", TASK], "left out with --task"),
    "deform: a size too": (lambda p: ["deform", "--size", "32", "--task", TASK], "left out with --task"),
    "deform: seed": (lambda p: ["deform", "--task", TASK, "--seed", "-1"], "seed must be"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, monkeypatch, name):  # noqa: F811
    words, rule = CASES[name]
    given = words(tmp_path)
    before = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*given)
    assert code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("poolscope: ")
    assert "Traceback" not in out + err
    assert re.search(rule, lines[0]), lines[0]
    assert set(tmp_path.iterdir()) == before, "something was left behind"
