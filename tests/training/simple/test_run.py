"""Runs of simple CNNs: against a slow one from the text, how they end, and that nothing on the way changes a bit."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from poolscope._lock import locked
from poolscope.networks import load_model
from poolscope.networks.simple import SimpleCNN
from poolscope.tasks import parse
from poolscope.training.seeds import stream, stream_seed
from poolscope.training.simple import run
from poolscope.training.simple.experiment import Experiment
from poolscope.training.simple.finished import SimpleRuns, read_simple_runs
from poolscope.training.simple.stack import Stack
from training.simple.small_experiments import same, same_bits, small, trained, weights

SEEDS = (0, 1, 2, 3)


class Stopped(BaseException):
    """In the place of a kill."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SimpleRuns:
    """Four seeds together, which nothing disturbs."""
    return trained(small(), tmp_path_factory.mktemp("whole") / "runs", SEEDS)


def row(runs: SimpleRuns, seed: int) -> dict[str, Any]:
    (found,) = runs.outcomes[runs.outcomes["seed"] == seed].to_dict("records")
    return found


def rows_of(experiment: Experiment) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, signs, and the numbers of the training and of the test pairs."""
    task, split = parse(experiment.task)
    assert split is not None
    learned, judged = split.of(task)
    return task.images(task.pairs), task.labels_of(task.pairs).float(), learned, judged


@dataclass
class Reference:
    """What training one network by torch's own differentiation comes to."""

    interpolation: int | None
    epochs: int
    losses: list[float]
    model: SimpleCNN


def by_hand(experiment: Experiment, seed: int) -> Reference:
    """Section 4.3 with the published choices: one pair of weights, one step, one batch after another, in float64."""
    images, signs, learned, _ = rows_of(experiment)
    model = load_model("poolscope:simplecnn", seed=stream_seed(seed, "weights") % 2**32, **experiment.options).double()
    assert isinstance(model, SimpleCNN)
    lr = experiment.lr * experiment.channels
    rest = [parameter for name, parameter in model.named_parameters() if name != "readout_bias"]
    last = {"params": [model.readout_bias], "lr": lr if experiment.bias_lr == "scaled" else experiment.lr}
    optimizer = torch.optim.SGD([{"params": rest, "lr": lr}, last])
    interpolation, losses = None, []
    for epoch in range(experiment.most_epochs):
        order = learned[torch.randperm(len(learned), generator=stream(seed, "order", epoch))].tolist()
        hinges = []
        while len(order) >= experiment.batch_size:  # what is left over is not used
            batch, order = order[: experiment.batch_size], order[experiment.batch_size :]
            hinge = torch.relu(1 - signs[batch] * model(images[batch].double())[:, 0]).mean()
            penalty = sum(layer.weight.square().sum() for layer in model.layers)
            optimizer.zero_grad()
            (hinge + experiment.ridge * penalty / (experiment.channels * experiment.depth)).backward()
            optimizer.step()
            hinges.append(float(hinge.detach()))
        done = epoch + 1
        if done % experiment.check_every:
            continue
        losses.append(sum(hinges) / len(hinges))
        if interpolation is None and losses[-1] == 0:
            interpolation = done
        if interpolation is None and done >= experiment.give_up:
            break
        if interpolation is not None and done >= experiment.multiple * interpolation and losses[-1] == 0:
            break
    return Reference(interpolation, done, losses, model)


def wrong(model: torch.nn.Module, images: torch.Tensor, signs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(images)[:, 0] * signs <= 0


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_run_is_the_slow_one_of_the_text(whole: SimpleRuns, seed: int) -> None:
    expected, found = by_hand(whole.experiment, seed), row(whole, seed)
    if expected.interpolation is None:
        assert found["status"] == "not interpolated"
        assert math.isnan(found["interpolation"])
    else:
        assert found["status"] == "finished"
        assert found["interpolation"] == expected.interpolation
        assert any(0 < loss < 0.3 for loss in expected.losses), "or the exact 0 of an interpolation is not shown"
    assert found["epochs"] == expected.epochs
    checks = whole.checks[whole.checks["seed"] == seed]
    assert checks["epoch"].tolist() == list(range(3, expected.epochs + 1, 3))
    # float32 and float64, some hundred steps that do not add up: the minimum draws both to it
    assert checks["loss"].tolist() == pytest.approx(expected.losses, rel=1e-3, abs=1e-4)
    for name, value in weights(whole, seed).items():
        other = dict(expected.model.named_parameters())[name]
        torch.testing.assert_close(value.double(), other.detach(), rtol=1e-3, atol=1e-3)


def test_the_outcome_is_that_of_the_saved_network(whole: SimpleRuns) -> None:
    images, signs, learned, judged = rows_of(whole.experiment)
    assert set(learned.tolist()) | set(judged.tolist()) == set(range(120))
    for seed in SEEDS:
        found, model = row(whole, seed), whole.model(seed)
        assert found["training_error"] == float(wrong(model, images[learned], signs[learned]).double().mean())
        mistakes, near = wrong(model, images[judged], signs[judged]).double(), signs[judged] > 0
        assert found["test_error"] == pytest.approx(float(mistakes.mean()), rel=1e-12)
        balanced = (float(mistakes[near].mean()) + float(mistakes[~near].mean())) / 2
        assert found["balanced_test_error"] == pytest.approx(balanced, rel=1e-12)
        assert found["loss"] == whole.checks[whole.checks["seed"] == seed]["loss"].iloc[-1]
        assert found["seconds"] > 0
        if seed in whole.finished:
            assert found["training_error"] == 0
            assert found["multiple"] == found["epochs"] / found["interpolation"] >= 1.6
    errors = whole.outcomes["test_error"]
    assert (errors != whole.outcomes["balanced_test_error"]).all(), "or one is not told from the other"
    assert errors.nunique() > 2
    assert whole.finished == [0, 1, 2]


def test_the_error_at_interpolation_is_that_of_the_network_then(whole: SimpleRuns, tmp_path: Path) -> None:
    for seed in whole.finished:
        found = row(whole, seed)
        short = small(most_epochs=int(found["interpolation"]))
        until = trained(short, tmp_path / str(seed), [seed])
        assert row(until, seed)["status"] == "cut short"
        assert row(until, seed)["test_error"] == found["test_error_at_interpolation"]
    assert any(row(whole, seed)["test_error_at_interpolation"] != row(whole, seed)["test_error"] for seed in (0, 1, 2))


def test_what_is_left_behind(whole: SimpleRuns) -> None:
    assert sorted(str(path.relative_to(whole.folder)) for path in whole.folder.rglob("*") if path.is_file()) == [
        ".lock", "run.json",
        *[f"seed-{seed}/{name}" for seed in SEEDS
          for name in ("checks.parquet", "initial.safetensors", "last.safetensors", "outcome.json")],
    ]  # fmt: skip
    assert sorted(path.name for path in whole.folder.iterdir() if path.is_dir()) == [f"seed-{seed}" for seed in SEEDS]
    for seed in SEEDS:
        expected = load_model(
            "poolscope:simplecnn", seed=stream_seed(seed, "weights") % 2**32, **whole.experiment.options
        )
        assert same_bits(weights(whole, seed, "initial"), dict(expected.state_dict()))
        assert not same_bits(weights(whole, seed, "initial"), weights(whole, seed))
        assert str(whole.model(seed, "initial")) == str(expected)
    noted = json.loads((whole.folder / "run.json").read_text())
    assert (noted["device"], noted["threads"], noted["version"]) == ("cpu", 1, 1)
    assert Experiment.model_validate(noted["experiment"]) == small() == whole.experiment


def test_training_ends_at_a_check_without_loss_alone(tmp_path: Path) -> None:
    """A large ridge pulls margins back below 1 now and then: M times can be over while there is loss."""
    experiment = small(ridge=0.08, multiple=1.5, give_up=2000)
    runs = trained(experiment, tmp_path / "runs", (0, 1, 2))
    late = 0
    for seed in runs.finished:
        found, checks = row(runs, seed), runs.checks[runs.checks["seed"] == seed].set_index("epoch")["loss"]
        zero = checks.index[checks == 0]
        assert zero[0] == found["interpolation"]
        assert found["epochs"] == zero[zero >= 1.5 * found["interpolation"]][0]
        late += found["epochs"] > math.ceil(1.5 * found["interpolation"] / 3) * 3
    assert late, "or every one ended at M times"


def test_it_waits_for_no_loss_only_so_long_as_it_is_told_to(tmp_path: Path) -> None:
    """Once that is over, a network has finished, or is lost: it no longer tells the training pairs apart."""
    at_once = row(trained(small(ridge=0.08, multiple=1.5, wait=0.0), tmp_path / "at once", [0]), 0)
    assert (at_once["status"], at_once["epochs"]) == ("finished", 1.5 * at_once["interpolation"])
    assert at_once["loss"] > 0
    assert at_once["training_error"] == 0
    assert at_once["reason"].startswith(f"hinge loss {at_once['loss']:.3g} after 2 times")
    experiment = small(lr=0.2, ridge=0.1, multiple=3.0, wait=0.1)
    runs = trained(experiment, tmp_path / "runs", (0, 4))
    lost, found = row(runs, 0), row(runs, 4)
    assert runs.outcomes["status"].tolist() == ["lost", "finished"]
    assert runs.finished == [4]
    assert lost["epochs"] == math.ceil(3 * 1.1 * lost["interpolation"] / 3) * 3
    assert lost["training_error"] > 0
    assert f"training error {lost['training_error']:.2%}" in lost["reason"]
    checks = runs.checks[runs.checks["seed"] == 0].set_index("epoch")["loss"]
    assert (checks[checks.index >= 3 * lost["interpolation"]] > 0).all(), "or it would have ended there"
    assert found["epochs"] < 3.3 * found["interpolation"], "without loss it does not wait"


def test_a_plain_learning_rate_of_the_last_bias(tmp_path: Path) -> None:
    experiment = small(bias_lr="plain", most_epochs=15)
    runs = trained(experiment, tmp_path / "runs", [0])
    expected = by_hand(experiment, 0)
    assert runs.checks["loss"].tolist() == pytest.approx(expected.losses, rel=1e-3, abs=1e-4)
    for name, value in weights(runs, 0).items():
        other = dict(expected.model.named_parameters())[name]
        torch.testing.assert_close(value.double(), other.detach(), rtol=1e-3, atol=1e-3)
    scaled = by_hand(small(most_epochs=15), 0)
    assert not torch.allclose(scaled.model.readout_bias, expected.model.readout_bias, rtol=1e-2)


def test_a_network_can_be_cut_short(tmp_path: Path) -> None:
    runs = trained(small(most_epochs=70), tmp_path / "runs", (0, 1, 3))  # not a multiple of the checks
    assert runs.outcomes["status"].tolist() == ["finished", "cut short", "not interpolated"]
    assert runs.finished == [0, 1]
    found = row(runs, 1)
    assert found["epochs"] == 70
    assert found["interpolation"] < 70 < 1.6 * found["interpolation"]
    epochs = runs.checks[runs.checks["seed"] == 1]["epoch"]
    assert epochs.tolist() == [*range(3, 70, 3), 70]
    assert found["training_error"] == 0
    assert found["reason"].endswith(
        f" after {70 / found['interpolation']:.0f} times the interpolation time of 57 epochs"
    )
    gone = trained(small(lr=0.2, ridge=0.1, most_epochs=90, multiple=50.0), tmp_path / "gone", [0])
    assert gone.outcomes["status"].tolist() == ["lost"], "a network that has errors again is not just cut short"
    assert row(gone, 0)["interpolation"] < 90
    assert row(gone, 0)["training_error"] > 0
    assert gone.finished == []


def test_divergence_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    runs = trained(small(lr=1e6), tmp_path / "runs", (0, 1), said)
    assert runs.outcomes["status"].tolist() == ["diverged", "diverged"]
    assert runs.finished == []
    assert [text.split(": test")[0].split(", test")[0] for text in said] == [
        f"runs: seed {seed} diverged: hinge loss nan in epoch 3" for seed in (0, 1)
    ]
    for seed in (0, 1):
        assert not (runs.folder / f"seed-{seed}" / "last.safetensors").exists(), "there are no numbers in it"
        text = (runs.folder / f"seed-{seed}" / "outcome.json").read_text()

        def refuse(word: str) -> float:
            raise AssertionError(f"{word} is not JSON")

        outcome = json.loads(text, parse_constant=refuse)
        assert outcome["loss"] is None
        assert (outcome["training_error"], outcome["test_error"], outcome["balanced_test_error"]) == (1, 1, 1)
    with pytest.raises(FileNotFoundError, match=r"existing file; got .*seed-0/last\.safetensors"):
        runs.model(0)


def test_seeds_alone_and_together_agree_to_rounding(whole: SimpleRuns, tmp_path: Path) -> None:
    pairs = trained(small(together=2), tmp_path / "pairs", (2, 0, 3))
    for seed, group in ((0, [2, 0]), (2, [2, 0]), (3, [3])):
        found, expected = row(pairs, seed), row(whole, seed)
        assert (found.pop("together"), expected.pop("together")) == (group, [0, 1, 2, 3])
        for name in ("status", "epochs", "test_error"):
            assert found[name] == expected[name]
        losses, wanted = (each.checks[each.checks["seed"] == seed]["loss"].tolist() for each in (pairs, whole))
        assert losses == pytest.approx(wanted, rel=1e-4, abs=1e-5)
        one, other = weights(pairs, seed), weights(whole, seed)
        assert all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in one)


def test_seeds_added_later(whole: SimpleRuns, tmp_path: Path) -> None:
    said: list[str] = []
    first = trained(small(), tmp_path / "runs", [0], said)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(first.folder.glob("seed-*/*"))}
    assert len(before) == 4
    said.clear()
    again = trained(small(), tmp_path / "runs", (0, 3, 2), said)
    assert not [text for text in said if "seed 0" in text]
    for path, (when, content) in before.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (when, content)
    for seed in (0, 3, 2):
        for name in ("status", "epochs", "test_error"):
            assert row(again, seed)[name] == row(whole, seed)[name]
    assert again.outcomes["together"].tolist() == [[0], [3, 2], [3, 2]]
    said.clear()
    same_again = trained(small(), tmp_path / "runs", (0, 3, 2), said)
    assert said == []
    assert same_again.outcomes.equals(again.outcomes)


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many networks each step was of."""
    found: list[int] = []
    step = Stack.step

    def counted(self: Stack, *arguments: Any, **options: Any) -> torch.Tensor:
        found.append(len(self))
        return step(self, *arguments, **options)

    monkeypatch.setattr(Stack, "step", counted)
    return found


def stop_when(text: str, said: list[str]) -> Any:
    def say(words: str) -> None:
        said.append(words)
        if text in words:
            raise Stopped

    return say


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        ("seed 2 finished", 0.0),  # a checkpoint an epoch
        ("seed 0 interpolates", 1e9),  # one where a seed has ended only
        ("seed 0 finished", 1e9),
        ("seed 3 not", 1e9),
        ("seed 1 finished", 1e9),  # the last of them
    ],
)
def test_a_stopped_run_goes_on_with_the_same_bits(
    whole: SimpleRuns, tmp_path: Path, moment: str, seconds: float, sizes: list[int]
) -> None:
    """Also in batches of as many networks, by which a matrix product may round: between an end and the next
    checkpoint, those that have ended come along."""
    lasts, said = whole.outcomes["epochs"], list[str]()
    expected = [int((lasts > epoch).sum()) for epoch in range(lasts.max()) for _ in range(2)]  # two steps an epoch
    options = {"checkpoint_seconds": seconds}
    with pytest.raises(Stopped):
        trained(small(), tmp_path / "runs", SEEDS, **options, say=stop_when(moment, said))
    done = list(sizes)
    assert done == expected[: len(done)]
    sizes.clear()
    said.clear()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("seed-*/outcome.json")}
    found = trained(small(), tmp_path / "runs", SEEDS, said, **options)
    assert all(path.stat().st_mtime_ns == when for path, when in written.items()), "what has ended is not written again"
    assert sizes == expected[len(expected) - len(sizes) :]
    same(found, whole)
    went_on = [text for text in said if "goes on after" in text]
    if moment in ("seed 0 interpolates", "seed 0 finished") and seconds:
        assert (went_on, len(sizes)) == ([], len(expected)), "there was no checkpoint yet"
    elif moment == "seed 1 finished":
        assert (went_on, sizes) == ([], [])
    else:
        assert went_on == [f"runs: goes on after {(len(expected) - len(sizes)) // 2} epochs"]
        assert len(sizes) < len(expected)


def interrupted(folder: Path, epochs: int = 60) -> None:
    """Leave two checkpoints behind, of the last epochs."""
    with pytest.raises(Stopped):
        trained(small(), folder, SEEDS, checkpoint_seconds=0.0, say=stop_when("seed 0 finished", []))
    assert len(list(folder.glob("checkpoints-0-1-2-3/*.safetensors"))) == 2


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_is_told_of_and_left_out(whole: SimpleRuns, tmp_path: Path, damaged: int) -> None:
    interrupted(tmp_path / "runs")
    paths = sorted((tmp_path / "runs").glob("checkpoints-*/*.safetensors"))
    for path in paths[-damaged:]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    said: list[str] = []
    found = trained(small(), tmp_path / "runs", SEEDS, said)
    assert sum("a checkpoint is damaged and left out" in text for text in said) == damaged
    assert sum("goes on after" in text for text in said) == (damaged == 1)
    same(found, whole)


def test_leftovers_of_a_killed_process_are_removed(whole: SimpleRuns, tmp_path: Path) -> None:
    interrupted(tmp_path / "runs")
    for place in ("", "seed-1/", "checkpoints-0-1-2-3/"):
        (tmp_path / "runs" / f"{place}.x.abc.part").write_text("half")
    same(trained(small(), tmp_path / "runs", SEEDS), whole)


def test_checkpoints_of_other_groups_are_removed_once_their_seeds_have_ended(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(small(), tmp_path / "runs", (0, 1), checkpoint_seconds=0.0, say=stop_when("seed 1 interpolates", []))
    assert (tmp_path / "runs" / "checkpoints-0-1").is_dir()
    runs = trained(small(), tmp_path / "runs", (2, 0, 1))
    assert not list(runs.folder.glob("checkpoints-*"))
    assert runs.outcomes["seed"].tolist() == [2, 0, 1]
    # and those left by a process killed just before it could
    (tmp_path / "runs" / "checkpoints-0-1").mkdir()
    trained(small(), tmp_path / "runs", (0, 1))
    assert not list(runs.folder.glob("checkpoints-*"))


def test_another_experiment_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    first = trained(small(most_epochs=6), folder, [0])
    for changes, message in (
        ({"lr": 0.2}, "experiment.lr is 0.1 there and 0.2 here"),
        ({"most_epochs": 9}, "experiment.most_epochs is 6 there and 9 here"),
        ({"together": 1}, "experiment.together is 4 there and 1 here"),
    ):
        with pytest.raises(ValueError, match=f"a folder holds one run, and .*runs has another: {message}"):
            trained(small(**{"most_epochs": 6, **changes}), folder, [0])
    with pytest.raises(ValueError, match="threads is 1 there and 2 here"):
        trained(small(most_epochs=6), folder, [0], threads=2)
    again = trained(small(most_epochs=6, description="in other words"), folder, [0])
    assert again.outcomes.equals(first.outcomes)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    with (
        locked(folder / ".lock"),
        pytest.raises(BlockingIOError, match=f"one process at a time.*another one is at work in {folder}"),
    ):
        trained(small(most_epochs=3), folder, [0])
    assert not (folder / "run.json").exists()
    trained(small(most_epochs=3), folder, [0])


@pytest.mark.parametrize(
    ("seeds", "options", "message"),
    [
        ([], {}, r"different whole numbers from 0; got \[\]"),
        ([1, 1], {}, r"different whole numbers from 0; got \[1, 1\]"),
        ([0, -1], {}, r"different whole numbers from 0; got \[0, -1\]"),
        ([0], {"device": "gpu"}, "device must be auto, cpu or cuda; got 'gpu'"),
        ([0], {"threads": 0}, "threads must be 1 or more; got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(
    tmp_path: Path, seeds: list[int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trained(small(), tmp_path / "runs", seeds, **options)
    assert not (tmp_path / "runs").exists()


def flushes() -> bool:
    return bool((torch.tensor([1e-40]) * 0.5).item() == 0)


@pytest.fixture(params=[False, True], ids=["denormals kept", "denormals flushed"])
def flushed(request: pytest.FixtureRequest) -> Iterator[bool]:
    torch.set_flush_denormal(request.param)
    yield request.param
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_nothing_global_is_left_changed(flushed: bool, is_stopped: bool, tmp_path: Path) -> None:
    if not torch.set_flush_denormal(flushed):
        pytest.skip("this processor does not flush denormals")
    torch.manual_seed(5)
    before = torch.get_rng_state(), torch.get_num_threads()
    inside: list[tuple[bool, int]] = []

    def say(_: str) -> None:
        inside.append((flushes(), torch.get_num_threads()))
        if is_stopped:
            raise Stopped

    try:
        trained(small(most_epochs=6), tmp_path / "runs", [0], threads=before[1] + 1, say=say)
    except Stopped:
        assert is_stopped
    assert inside[0] == (True, before[1] + 1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert flushes() == flushed
    assert torch.is_grad_enabled()


def test_the_words_of_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_SECONDS", 0.0)  # at every check instead of every minute
    said: list[str] = []
    runs = trained(small(multiple=2.4, give_up=39), tmp_path / "runs", (0, 1), said, checkpoint_seconds=1e9)
    first, second = row(runs, 0), row(runs, 1)
    assert said[0] == "runs: epoch 3, interpolation after -, - (seeds 0, 1)"
    assert f"runs: seed 0 interpolates after {first['interpolation']:.0f} epochs" in said
    assert second["status"] == "not interpolated"
    end = f"zero hinge loss after 2 times the interpolation time of {first['interpolation']:.0f} epochs"
    assert said[-1].startswith(f"runs: seed 0 finished: {end}")
    assert said[-1].endswith(f", test error {first['test_error']:.2%}")
    (told,) = [text for text in said if text.startswith("runs: seed 1 not interpolated: hinge loss ")]
    assert f" after {second['epochs']} epochs, test error {second['test_error']:.2%}" in told
    after = said[said.index(told) + 1]
    total = math.ceil(2.4 * first["interpolation"])
    start = f"runs: epoch {second['epochs']}, interpolation after {first['interpolation']:.0f} (seeds 0), ends after"
    assert after.startswith(f"{start} {total} or so, ")
    assert after.endswith(" s left")


def test_the_time_left_counts_that_before_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = run._Group(small(multiple=10.0), [4, 5], tmp_path / "runs", torch.device("cpu"), print, False, 0.0)
    group.states = [run._Seed(4, interpolation=30), run._Seed(5, interpolation=20)]
    group.epoch, group.seconds, group.started = 100, 3600.0, 0.0
    monkeypatch.setattr(run.time, "monotonic", lambda: 60.0)  # a minute since it went on
    # 3660 s for 100 epochs, 200 to come
    assert (
        group._words() == "runs: epoch 100, interpolation after 30, 20 (seeds 4, 5), ends after 300 or so, 2.0 h left"
    )
    group.states[0].interpolation = None
    assert group._words() == "runs: epoch 100, interpolation after -, 20 (seeds 4, 5)"
    group.experiment = small(multiple=10.0, most_epochs=150)
    group.states[0].interpolation = 30
    assert group._total() == 150


def test_the_bar_counts_epochs_and_knows_the_end_once_all_interpolate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Any] = []

    class Bar:
        def __init__(self, total: int | None, text: str, *, enabled: bool):
            events.append((total, text, enabled))

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            events.append("closed")

        def advance(self, count: int) -> None:
            events.append(count)

        def tell(self, text: str, total: int | None = None) -> None:
            events.append((text, total))

    monkeypatch.setattr(run, "Progress", Bar)
    runs = trained(small(), tmp_path / "runs", (0, 1), progress=True)
    assert events[0] == (None, "runs: epoch 0, interpolation after -, - (seeds 0, 1)", True)
    assert events[-1] == "closed"
    assert sum(event for event in events if isinstance(event, int)) == runs.outcomes["epochs"].max()
    totals = [event[1] for event in events[1:] if isinstance(event, tuple)]
    both = runs.outcomes["interpolation"].max()
    assert totals[: int(both) // 3 - 1] == [None] * (int(both) // 3 - 1)
    assert math.ceil(1.6 * both) in totals


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "runs").write_text("a file")
        with pytest.raises(OSError, match="File exists"):
            trained(small(), tmp_path / "runs", [0])
        return
    tmp_path.chmod(0o500)
    with pytest.raises(run.TrainingStopped, match="must be a folder that can be written to"):
        trained(small(), tmp_path / "runs", [0])


def test_runs_are_read_again(whole: SimpleRuns) -> None:
    again = read_simple_runs(whole.folder)
    assert again.outcomes.equals(whole.outcomes)
    assert again.checks.equals(whole.checks)
