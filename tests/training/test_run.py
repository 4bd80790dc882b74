"""A run in a folder: what it leaves behind, how it ends, and that nothing on the way changes a bit of it."""

import errno
import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

import poolscope as ps
from poolscope._sealed import read_sealed
from poolscope.networks import preprocessing
from poolscope.training import Data, Run, TrainingStopped, read_run, run
from poolscope.training.batches import LabelledImages
from poolscope.training.checkpoint import Checkpoints
from poolscope.training.configuration import Configuration
from poolscope.training.evaluate import evaluate
from poolscope.training.learner import Learner
from poolscope.training.run import train_run
from training.small_runs import MEASURE, configured, small_recipe

Said = list[str]


def trained(configuration: Configuration, data: Data, folder: Path, said: Said | None = None, **options: Any) -> Run:
    return train_run(configuration, data, folder, say=(said if said is not None else []).append, **options)


def weights(found: Run, which: str = "last") -> dict[str, torch.Tensor]:
    return read_sealed(found.folder / f"{which}.safetensors")[0]


def same(found: Run, expected: Run) -> None:
    for which in ("initial", "best", "last"):
        one, other = weights(found, which), weights(expected, which)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one), which
    assert found.curve.equals(expected.curve)
    assert (found.sensitivity is None) == (expected.sensitivity is None)
    if found.sensitivity is not None:
        assert found.sensitivity.equals(expected.sensitivity)
    assert {**found.outcome, "seconds": 0} == {**expected.outcome, "seconds": 0}


@pytest.fixture(scope="module")
def chosen(digits: Data) -> Configuration:
    """All randomness there is, and measurements at three epochs."""
    recipe = small_recipe(flip=True, clip_norm=2.0)
    return configured(digits, recipe, seed=3, measure_at=(0, 2, "last"), measure=MEASURE)


@pytest.fixture(scope="module")
def whole(digits: Data, chosen: Configuration, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An undisturbed run, without any checkpoint but those at measurements."""
    before = torch.get_rng_state(), torch.get_num_threads()
    found = trained(chosen, digits, tmp_path_factory.mktemp("whole") / "run")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    return found


@pytest.fixture
def checkpoint_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_SHARE", 0)


def test_what_a_run_leaves_behind(whole: Run, chosen: Configuration, digits: Data) -> None:
    assert sorted(path.name for path in whole.folder.iterdir()) == [
        ".lock", "best.safetensors", "curve.parquet", "initial.safetensors", "last.safetensors", "outcome.json",
        "run.json", "sensitivity", "sensitivity.parquet",
    ]  # fmt: skip
    assert whole.finished
    assert whole.configuration == chosen
    assert whole.outcome["reason"] == "all 3 epochs"
    assert whole.outcome["epochs"] == 3
    assert whole.outcome["selected_by"] == "validation"
    assert whole.outcome["configuration"] == chosen.digest()
    assert whole.outcome["parameters"] == sum(each.numel() for each in whole.model().parameters())
    assert whole.outcome["environments"][0]["torch"] == torch.__version__
    curve = whole.curve
    assert curve["epoch"].tolist() == [0, 1, 2, 3]
    assert curve.loc[0, ["lr", "loss", "error"]].isna().all()
    assert curve["lr"].tolist()[1:] == pytest.approx([0.05 / 4, 0.05 * (1 + math.cos(0.2 * math.pi)) / 2,
                                                       0.05 * (1 + math.cos(0.6 * math.pi)) / 2])  # fmt: skip
    assert not curve.drop(columns=["lr", "loss", "error"]).isna().any().any()


def test_best_and_last_are_the_rows_of_the_curve(whole: Run, chosen: Configuration, digits: Data) -> None:
    """Each file's weights give the errors of its row; the best has the lowest validation error, the first of equals."""
    curve = whole.curve.set_index("epoch")
    best = int(curve["validation_error"].idxmin())
    assert 0 < best < 3, "or the three files are not all different"
    assert (curve["validation_error"] == curve.loc[best, "validation_error"]).sum() > 1, "or there are no equals"
    assert whole.outcome["best_epoch"] == best
    for which, epoch in (("initial", 0), ("best", best), ("last", 3)):
        model = whole.model(which)
        for part in ("validation", "test"):
            judged = evaluate(model, getattr(digits, part), chosen.recipe, seed=3, epoch=epoch)
            assert judged["error"] == curve.loc[epoch, f"{part}_error"], which
            assert judged["loss"] == curve.loc[epoch, f"{part}_loss"], which
        facts = read_sealed(whole.folder / f"{which}.safetensors")[1]
        assert facts["weights"] == which
        assert facts["run"] == chosen.plain()
        assert facts["row"]["epoch"] == epoch
    for key in ("validation_error", "test_error"):
        assert whole.outcome[f"best_{key}"] == curve.loc[best, key]
        assert whole.outcome[f"last_{key}"] == curve.loc[3, key]
    assert (whole.outcome["training_loss"], whole.outcome["training_error"]) == tuple(curve.loc[3, ["loss", "error"]])


def test_the_initial_network_can_be_the_best(chosen: Configuration, digits: Data, tmp_path: Path) -> None:
    found = trained(configured(digits, chosen.recipe, seed=7), digits, tmp_path / "run")
    assert found.outcome["best_epoch"] == 0, "or this seed shows nothing"
    best, initial, last = (weights(found, which) for which in ("best", "initial", "last"))
    assert all(torch.equal(best[name], initial[name]) for name in best)
    assert not all(torch.equal(best[name], last[name]) for name in best)


def test_measured_rows_are_those_of_measure_on_the_saved_weights(whole: Run, digits: Data) -> None:
    table = whole.sensitivity
    assert table is not None
    assert table["epoch"].unique().tolist() == [0, 2, 3]
    assert table["displacement"].unique().tolist() == [0.4, 0.8]
    assert set(table["seed"]) == {3}
    for which, epoch in (("initial", 0), ("last", 3)):
        for displacement in (0.4, 0.8):
            model = ps.load_model(str(whole.folder / f"{which}.safetensors"))
            expected = ps.measure(
                model, digits.measured(10), ps.Diffeomorphism(displacement, 3), layers="output", seed=0, progress=False
            ).table
            rows = table[(table["epoch"] == epoch) & (table["displacement"] == displacement)].reset_index(drop=True)
            for column in ("layer", "D", "G", "R"):
                assert rows[column].equals(expected[column]), (which, displacement, column)
    single = ps.read_result(whole.folder / "sensitivity" / "epoch-0002.parquet").table
    assert single.equals(table[table["epoch"] == 2].reset_index(drop=True))


def test_the_weights_files_say_how_their_images_are_to_be(whole: Run, digits: Data) -> None:
    wanted = preprocessing(ps.load_model(str(whole.folder / "best.safetensors")))
    assert wanted.size == (32, 32)
    assert wanted.mean == digits.test.mean
    assert wanted.std == digits.test.std
    assert wanted.channels == 1


def test_measuring_and_checkpoints_change_nothing(
    whole: Run, digits: Data, tmp_path: Path, checkpoint_every_step: None
) -> None:
    plain = configured(digits, whole.configuration.recipe, seed=3)
    found = trained(plain, digits, tmp_path / "run", checkpoint_seconds=0.0)
    assert found.sensitivity is None
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(found).items())
    assert found.curve.equals(whole.curve)


class Stop(Exception):
    pass


def failing_after(count: int, patch: pytest.MonkeyPatch) -> None:
    """Raise at the so manieth step, evaluation, measurement, flush or rename."""
    events = [0]

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            events[0] += 1
            if events[0] == count:
                raise Stop
            return function(*arguments, **options)

        return counting

    patch.setattr(Learner, "advance", counted(Learner.advance))
    patch.setattr(run, "evaluate", counted(run.evaluate))
    patch.setattr(run, "measure", counted(run.measure))
    patch.setattr(os, "fsync", counted(os.fsync))
    patch.setattr(os, "replace", counted(os.replace))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_that_fails_anywhere_goes_on_to_the_same_end(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, checkpoint_every_step: None, seed: int
) -> None:
    chance, failed, said = random.Random(seed), 0, []
    for _ in range(60):
        with pytest.MonkeyPatch.context() as patch:
            failing_after(chance.randint(3, 30), patch)
            try:
                found = trained(chosen, digits, tmp_path / "run", said, checkpoint_seconds=0.0)
                break
            except Stop:
                failed += 1
    same(found, whole)
    assert failed >= 5
    text = "\n".join(said)
    assert text.count("goes on after") >= 4
    assert "damaged" not in text
    assert sorted(path.name for path in found.folder.rglob("*")) == sorted(p.name for p in whole.folder.rglob("*"))


def interrupted(
    configuration: Configuration, data: Data, folder: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take so many steps, with a checkpoint after each, and stop."""
    monkeypatch.setattr(run, "_SHARE", 0)
    advance, taken = Learner.advance, [0]

    def counting(self: Learner) -> None:
        if taken[0] == steps:
            raise Stop
        taken[0] += 1
        advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "advance", counting)
        with pytest.raises(Stop):
            trained(configuration, data, folder, checkpoint_seconds=0.0)


def test_a_finished_run_is_not_repeated(whole: Run, digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learner, "advance", lambda self: pytest.fail("it learns again"))
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}
    same(trained(whole.configuration, digits, whole.folder), whole)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()} == before


def test_another_configuration_is_refused_naming_the_difference(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(chosen, digits, tmp_path / "run", 2, monkeypatch)
    for folder in (tmp_path / "run", whole.folder):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        other = chosen.model_copy(update={"recipe": chosen.recipe.changed(lr=0.01), "seed": 1})
        told = r"recipe\.lr is 0\.05 there and 0\.01 here; seed is 3 there and 1 here \("
        with pytest.raises(ValueError, match=told):
            trained(other, digits, folder)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    many = chosen.model_copy(update={"recipe": chosen.recipe.changed(
        lr=0.01, momentum=0.1, flip=False, weight_decay=0.0, batch_size=3, clip_norm=1.0)})  # fmt: skip
    with pytest.raises(ValueError, match="and 2 more"):
        trained(many, digits, whole.folder)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(ValueError, match=r"run\.json must be the configuration of a run"):
        trained(chosen, digits, tmp_path / "run")


def test_other_words_in_the_description_are_no_other_run(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(chosen, digits, tmp_path / "run", 11, monkeypatch)
    said: Said = []
    other = chosen.model_copy(update={"recipe": chosen.recipe.changed(description="in other words")})
    same(trained(other, digits, tmp_path / "run", said), whole)
    assert "goes on after 1 epoch and 3 of 8 steps" in said[0]


def test_seeds_are_independent_of_each_other_and_of_their_order(
    chosen: Configuration, digits: Data, tmp_path: Path
) -> None:
    ends: dict[tuple[str, int], Run] = {}
    for name, order in (("a", (3, 4)), ("b", (4, 3))):
        for seed in order:
            configuration = configured(digits, chosen.recipe, seed=seed)
            torch.manual_seed(len(ends))
            ends[name, seed] = trained(configuration, digits, tmp_path / f"{name}-{seed}")
    for seed in (3, 4):
        same(ends["a", seed], ends["b", seed])
    for which in ("initial", "last"):
        first, second = weights(ends["a", 3], which), weights(ends["a", 4], which)
        assert not torch.equal(first["features.0.weight"], second["features.0.weight"])


@pytest.mark.parametrize("name", ["best.safetensors", "initial.safetensors", "sensitivity/epoch-0000.parquet"])
def test_what_a_checkpoint_builds_on_is_checked(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    interrupted(chosen, digits, tmp_path / "run", 11, monkeypatch)
    path = tmp_path / "run" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    said: Said = []
    same(trained(chosen, digits, tmp_path / "run", said), whole)
    assert "begun anew" in said[0]
    assert path.name in said[0]


def test_best_weights_older_than_the_checkpoint_are_no_basis(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(chosen, digits, tmp_path / "run", 18, monkeypatch)
    shutil.copy(tmp_path / "run" / "initial.safetensors", tmp_path / "run" / "best.safetensors")
    said: Said = []
    same(trained(chosen, digits, tmp_path / "run", said), whole)
    assert "begun anew: best.safetensors is older than the checkpoint" in said[0]


@pytest.mark.parametrize("version", ["the same", "another"])
def test_best_weights_newer_than_the_checkpoint_must_come_again(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    folder = tmp_path / "run"
    interrupted(chosen, digits, folder, 5, monkeypatch)
    shutil.copy(whole.folder / "best.safetensors", folder / "best.safetensors")  # as if killed before its checkpoint
    assert whole.outcome["best_epoch"] > 0  # the checkpoint is inside the first epoch
    if version == "another":
        monkeypatch.setattr(run, "environment", lambda: {"torch": "0", "python": "0", "machine": "none"})
    said: Said = []
    found = trained(chosen, digits, folder, said)
    for which in ("best", "last"):
        expected = weights(whole, which)
        assert all(torch.equal(value, expected[name]) for name, value in weights(found, which).items())
    assert ("begun anew: best.safetensors is newer than the checkpoint" in said[0]) == (version == "another")


def test_a_last_measurement_that_is_lost_is_made_again(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    def fail(*_: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(run, "_SHARE", 0)
        patch.setattr(run._Training, "_finish", fail)
        with pytest.raises(Stop):
            trained(chosen, digits, folder, checkpoint_seconds=0.0)
    last = folder / "sensitivity" / f"epoch-{chosen.recipe.epochs:04d}.parquet"
    last.unlink()
    same(trained(chosen, digits, folder), whole)


def test_damaged_checkpoints(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    interrupted(chosen, digits, folder, 12, monkeypatch)
    both = tmp_path / "both"
    shutil.copytree(folder, both)
    first, second = sorted((folder / "checkpoints").iterdir())
    second.write_bytes(second.read_bytes()[:-100])
    said: Said = []
    same(trained(chosen, digits, folder, said), whole)
    assert "a checkpoint is damaged and left out" in said[0]
    assert "goes on after 1 epoch and 3 of 8 steps" in said[1]
    for path in (both / "checkpoints").iterdir():
        path.write_bytes(b"\0" * 1000)
    said.clear()
    same(trained(chosen, digits, both, said), whole)
    assert sum("damaged" in text for text in said) == 2
    assert not any("goes on" in text for text in said)
    assert first.name != second.name


def test_what_a_killed_process_leaves_is_cleared_away(
    whole: Run, chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    interrupted(chosen, digits, folder, 3, monkeypatch)
    for part in (folder, folder / "checkpoints", folder / "sensitivity"):
        (part / ".x.safetensors.abc.part").write_bytes(b"half")
    same(trained(chosen, digits, folder), whole)
    assert not list(folder.rglob("*.part"))
    assert not (folder / "checkpoints").exists()


def test_checkpoints_of_a_run_killed_as_it_ended_are_cleared_away(whole: Run, digits: Data, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    Checkpoints(folder / "checkpoints", print).write({}, {"a": 1})
    same(trained(whole.configuration, digits, folder), whole)
    assert not (folder / "checkpoints").exists()


# How runs end


def lenet(data: Data, **fields: Any) -> Configuration:
    """A network without batch norm: what it gives does not change unless its weights do."""
    configuration = configured(data, small_recipe(**{"weight_decay": 0.0, **fields}), options={})
    return configuration.model_copy(update={"model": "poolscope:lenet"})


def test_a_run_at_chance_is_dead_and_says_so_early(digits: Data, tmp_path: Path) -> None:
    said: Said = []
    found = trained(lenet(digits, lr=1e-12, epochs=9, dead_after=2), digits, tmp_path / "run", said)
    assert not found.finished
    assert found.outcome["status"] == "dead"
    assert found.outcome["epochs"] == 2
    accuracy = 1 - found.outcome["training_error"]
    share = digits.train.labels.bincount().max().item() / len(digits.train)
    assert found.outcome["reason"] == (
        f"chance after 2 epochs: training accuracy {accuracy:.4f}, that of the most frequent class is {share:.4f}"
    )
    assert not (found.folder / "last.safetensors").exists()
    assert not (found.folder / "checkpoints").exists()
    assert said[-1] == f"run: dead: {found.outcome['reason']}"
    again = trained(found.configuration, digits, found.folder)  # a dead run is not tried again either
    assert again.outcome == found.outcome


def test_a_run_shorter_than_that_is_judged_at_its_end(digits: Data, tmp_path: Path) -> None:
    found = trained(lenet(digits, lr=1e-12, epochs=1, dead_after=5), digits, tmp_path / "run")
    assert found.outcome["reason"].startswith("chance after 1 epoch")


def test_chance_is_the_most_frequent_class_and_its_spread(digits: Data) -> None:
    labels = torch.tensor([0] * 75 + [1] * 25)
    part = LabelledImages(torch.zeros(100, 1, 4, 4), labels)
    share, spread = run._chance(replace(digits, train=part))
    assert share == 0.75
    assert spread == pytest.approx(math.sqrt(0.75 * 0.25 / 100))


def test_a_run_that_diverges_is_dead(digits: Data, tmp_path: Path) -> None:
    chosen = lenet(digits, lr=1e30, warmup_epochs=0.0, schedule="constant", clip_norm=None)
    found = trained(chosen, digits, tmp_path / "run")
    assert found.outcome["status"] == "dead"
    assert found.outcome["reason"].startswith("the loss must stay finite; got ")
    assert found.curve["epoch"].tolist() == list(range(found.outcome["epochs"] + 1))
    assert not (found.folder / "last.safetensors").exists()
    assert found.model("best") is not None
    json.loads((found.folder / "outcome.json").read_text(), parse_constant=lambda text: pytest.fail(text))


def test_patience(digits: Data, tmp_path: Path) -> None:
    found = trained(lenet(digits, lr=1e-12, epochs=9, patience=2, dead_after=8), digits, tmp_path / "run")
    assert found.finished
    assert found.outcome["reason"] == "no better validation error for 2 epochs"
    assert (found.outcome["epochs"], found.outcome["best_epoch"]) == (2, 0)


@pytest.fixture(scope="module")
def two(digits: Data) -> Data:
    """Zeros and ones."""

    def part(whole: LabelledImages) -> LabelledImages:
        kept = whole.labels < 2
        return LabelledImages(whole.images[kept], whole.labels[kept], whole.mean, whole.std, whole.numbers[kept])

    test = part(digits.test)
    choice = digits.choice.model_copy(update={"validation": "test"})
    return replace(digits, choice=choice, train=part(digits.train), validation=test, test=test, classes=2)


@pytest.mark.parametrize("stop", [True, False])
def test_zero_loss_ends_a_run_if_the_recipe_says_so(two: Data, tmp_path: Path, stop: bool) -> None:
    recipe = small_recipe(
        loss="hinge", epochs=12, lr=10.0, schedule="constant", weight_decay=0.0, warmup_epochs=0.0, crop_padding=0,
        stop_at_zero_loss=stop,
    )  # fmt: skip
    configuration = configured(two, recipe, options={}).model_copy(update={"model": "poolscope:fullconn2"})
    assert configuration.options == {"num_classes": 1, "in_channels": 1}
    found = trained(configuration, two, tmp_path / "run")
    losses = found.curve["loss"].tolist()[1:]
    assert 0 in losses
    if stop:
        first = losses.index(0) + 1
        assert found.outcome["epochs"] == first < 12
        assert found.outcome["reason"] == f"zero training loss in epoch {first}"
    else:
        assert found.outcome["epochs"] == 12
    assert found.finished  # 12 images all right are not chance, though too few for 4 standard deviations
    assert found.outcome["selected_by"] == "test"
    assert found.curve["validation_error"].equals(found.curve["test_error"])


# Disks and locks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 100 kB."""
    if os.getuid() or not shutil.which("mount"):
        pytest.skip("needs the right to mount a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip(f"needs the right to mount a file system: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


FULL = "^no space left for .*: what was finished is intact; make room and run the same again to go on$"


def test_a_full_disk_is_one_line_and_with_more_room_it_goes_on(
    whole: Run, chosen: Configuration, digits: Data, disk: Path, checkpoint_every_step: None
) -> None:
    said: Said = []
    for kilobytes in range(100, 3000, 120):
        remount(disk, f"size={kilobytes}k")
        try:
            found = trained(chosen, digits, disk / "run", said, checkpoint_seconds=0.0)
            break
        except TrainingStopped as error:
            assert pytest.raises(TrainingStopped, match=FULL)
            assert "no space left for" in str(error)  # noqa: PT017
        assert not list(disk.rglob("*.part"))
        for path in disk.rglob("*.safetensors"):
            read_sealed(path)
        for path in disk.rglob("*.parquet"):
            ps.read_result(path)
    assert kilobytes > 300
    same(found, whole)
    assert "damaged" not in "".join(said)
    assert "goes on after" in "".join(said)


def test_a_disk_that_fills_while_tables_are_written(
    whole: Run, chosen: Configuration, digits: Data, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remount(disk, "size=5m")
    measure = run._Training._measure

    def full(self: Any, epoch: int) -> None:
        if epoch == 2:
            with (disk / "filler").open("wb", buffering=0) as file:
                try:
                    while file.write(b"x" * 4096):
                        pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017
        measure(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(run._Training, "_measure", full)
        with pytest.raises(TrainingStopped, match=FULL):
            trained(chosen, digits, disk / "run")
    assert not (disk / "run" / "sensitivity" / "epoch-0002.parquet").exists()
    (disk / "filler").unlink()
    same(trained(chosen, digits, disk / "run"), whole)


def test_a_read_only_disk_is_one_line(whole: Run, chosen: Configuration, digits: Data, disk: Path) -> None:
    (disk / "run").mkdir()
    remount(disk, "ro")
    with pytest.raises(TrainingStopped, match="must be a folder that can be written to; Read-only file system"):
        trained(chosen, digits, disk / "run")
    with pytest.raises(TrainingStopped, match="must be a folder that can be written to; Read-only file system"):
        trained(chosen, digits, disk / "other")


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, FULL), (errno.EDQUOT, FULL), (errno.EACCES, "must be a folder that can be written to"),
     (errno.EPERM, "must be a folder"), (errno.EROFS, "must be a folder")],
)  # fmt: skip
def test_what_the_system_says_is_told_in_one_line(
    chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(number, os.strerror(number), "name")

    monkeypatch.setattr(run, "write_weights", lambda *arguments, **options: fails())
    with pytest.raises(TrainingStopped, match=message) as caught:
        trained(chosen, digits, tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_other_errors_of_the_system_come_through(
    chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(run, "write_weights", fails)
    with pytest.raises(OSError, match="Input/output error") as caught:
        trained(chosen, digits, tmp_path / "run")
    assert not isinstance(caught.value, TrainingStopped)


def test_a_second_process_is_refused(chosen: Configuration, digits: Data, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no flock on this system")
    script = "import sys, time; from pathlib import Path; from poolscope._lock import locked\n"
    script += "with locked(Path(sys.argv[1]) / '.lock'): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(BlockingIOError, match="another one is at work in"):
                trained(chosen, digits, tmp_path)
        finally:
            holder.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


# Reading, reporting, timing


def test_a_folder_without_a_finished_run_cannot_be_read(whole: Run, tmp_path: Path) -> None:
    for name in ("run.json", "outcome.json", "curve.parquet"):
        folder = tmp_path / name
        shutil.copytree(whole.folder, folder)
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"a finished run's folder must hold {name}"):
            read_run(folder)
    same(read_run(str(whole.folder)), whole)


def test_checkpoints_take_a_small_share_of_the_time(
    chosen: Configuration, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a write of 2 s and steps of 1 s, by a clock of our own: one at least 50 writes after another."""
    clock, writes = [0.0], []
    advance, write = Learner.advance, Checkpoints.write

    def step(self: Learner) -> None:
        clock[0] += 1
        advance(self)

    def slow(self: Checkpoints, *arguments: Any) -> None:
        writes.append(clock[0])
        clock[0] += 2
        write(self, *arguments)

    monkeypatch.setattr(run.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Learner, "advance", step)
    monkeypatch.setattr(Checkpoints, "write", slow)
    recipe = small_recipe(epochs=40, batch_size=16)
    configuration = configured(digits, recipe, options={}).model_copy(update={"model": "poolscope:fullconn2"})
    trained(configuration, digits, tmp_path / "run", checkpoint_seconds=10.0)
    assert writes == [11, 114]  # after more than 10 s; then after more than 50 * 2 s since 13


def test_the_threads_are_those_of_the_configuration_and_come_back(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance, seen = Learner.advance, set()

    def watched(self: Learner) -> None:
        seen.add(torch.get_num_threads())
        advance(self)

    monkeypatch.setattr(Learner, "advance", watched)
    before = torch.get_num_threads()
    configuration = configured(digits, small_recipe(epochs=1), options={}, threads=before + 1)
    trained(configuration.model_copy(update={"model": "poolscope:fullconn2"}), digits, tmp_path / "run")
    assert seen == {before + 1}
    assert torch.get_num_threads() == before


def test_the_words_of_progress(chosen: Configuration, digits: Data, tmp_path: Path) -> None:
    said: Said = []
    found = trained(lenet(digits, epochs=2, dead_after=1, lr=0.01, loss="cross-entropy"), digits, tmp_path / "r", said)
    row = found.curve.iloc[1]
    assert said[0].startswith(
        f"r: epoch 1 of 2: loss {row['loss']:.4f}, error {row['error']:.2%}, validation {row['validation_error']:.2%}, "
        f"test {row['test_error']:.2%}; "
    )
    assert [run.duration(seconds) for seconds in (5.0, 119.0, 600.0, 8000.0)] == ["5 s", "119 s", "10 min", "2.2 h"]


def test_a_table_without_runs_is_none() -> None:
    row = {"epoch": 0, "loss": math.nan, "best": None, "error": 0.5}
    plain = run._plain(row)
    assert plain == {"epoch": 0, "loss": None, "best": None, "error": 0.5}
    assert pd.isna(run._full(plain)["loss"])
