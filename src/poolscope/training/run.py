"""One run in one folder: started, killed, resumed and ended with the same weights, bit for bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poolscope._files import written_whole
from poolscope._lock import locked
from poolscope._progress import Progress
from poolscope._sealed import read_sealed
from poolscope.networks import Preprocessing, write_weights
from poolscope.sensitivity import Result, measure, read_result
from poolscope.training.batches import Batches
from poolscope.training.checkpoint import Checkpoints
from poolscope.training.configuration import Configuration
from poolscope.training.evaluate import evaluate
from poolscope.training.finished import Run, read_run
from poolscope.training.folder import claim, duration, environment, note_environment, threads_of, writing
from poolscope.training.learner import Diverged, Learner, training
from poolscope.training.moves import deformations
from poolscope.training.prepare import Data, prepare_model

_SECONDS = 60.0  # between checkpoints, at least
_SHARE = 50  # and so many times what writing one takes: less than 2 % of the time goes there

_CURVE = (
    "epoch", "lr", "loss", "error", "validation_loss", "validation_error", "test_loss", "test_error",
)  # fmt: skip

Row = dict[str, Any]


def train_run(
    configuration: Configuration,
    data: Data,
    folder: str | Path,
    *,
    say: Callable[[str], object] = print,
    progress: bool = True,
    checkpoint_seconds: float = _SECONDS,
    trust_code: bool = False,
) -> Run:
    """Train one network in a folder; go on where an interrupted run of the same configuration stopped.

    Args:
        configuration: what determines the run.
        data: as ``configuration.data`` says.
        folder: made if missing. A finished run in it is read, not repeated.
        say: told of each epoch and of anything unusual.
        progress: show a bar with the time left, if standard error is a terminal.
        checkpoint_seconds: between checkpoints, at least; longer where writing them takes long.
        trust_code: as for ``load_model``, for networks of your own.

    Raises:
        ValueError: the folder holds a run of another configuration.
        BlockingIOError: another process is at work in the folder.
        TrainingStopped: no space left, or no right to write.
    """
    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", wait=False):
            configuration = Configuration.model_validate(claim(folder / "run.json", configuration.plain()))
            if (folder / "outcome.json").is_file():
                Checkpoints(folder / "checkpoints", say).remove()  # it may have been killed before it could
            else:
                with threads_of(configuration.threads):
                    model = prepare_model(configuration, trust_code=trust_code)
                    _Training(configuration, data, model, folder, say, progress, checkpoint_seconds).run()
    return read_run(folder)


class _Training:
    """A run at work."""

    def __init__(
        self,
        configuration: Configuration,
        data: Data,
        model: nn.Module,
        folder: Path,
        say: Callable[[str], object],
        progress: bool,
        checkpoint_seconds: float,
    ):
        self.configuration = configuration
        self.recipe = configuration.recipe
        self.folder = folder
        self.say = say
        self.progress = progress
        self.checkpoint_seconds = checkpoint_seconds
        self.data = data
        self.device = torch.device(configuration.device)
        self.model = model
        self.checkpoints = Checkpoints(folder / "checkpoints", say)
        self.curve: list[Row] = []
        self.best: Row | None = None
        self.best_weights: dict[str, Tensor] | None = None  # not written yet
        self.seconds = 0.0
        self.environments: list[dict[str, str]] = []

    def run(self) -> None:
        self.started = time.monotonic()
        for leftover in self.folder.rglob(".*.part"):  # of a killed process
            leftover.unlink(missing_ok=True)
        self.learner = Learner(
            self.model.to(self.device),
            Batches(self.data.train.to(self.device), self.recipe, self.configuration.seed),
            self.recipe,
            self.configuration.seed,
        )
        same = self.data.validation is self.data.test
        self.test = self.data.test.to(self.device)
        self.validation = self.test if same else self.data.validation.to(self.device)
        if not self._resume():
            self._begin()
        note_environment(self.environments)
        self.written = time.monotonic()
        self.pause = self.checkpoint_seconds
        reason = self._stop_reason()
        number = len(self.data.train)
        with Progress(self.recipe.epochs * number, f"training {self.folder.name}", enabled=self.progress) as bar:
            bar.advance(self.learner.epoch * number)
            with training(self.model, self.device):
                while reason is None:
                    try:
                        reason = self._epoch(bar)
                    except Diverged as error:
                        self._finish("dead", str(error))
                        return
        dead = reason.startswith("chance")
        self._finish("dead" if dead else "finished", reason)

    def _begin(self) -> None:
        self._write_weights("initial", self.model.state_dict(), {"epoch": 0})
        row: Row = {"epoch": 0, "lr": math.nan, "loss": math.nan, "error": math.nan}
        self._judge(row)
        self.curve.append(row)
        self.best, self.best_weights = row, _copied(self.model)
        if 0 in self.configuration.measure.at:
            self._measure(0)

    def _epoch(self, bar: Progress) -> str | None:
        """Take the steps left of an epoch and judge the network; return why training ends, if it does."""
        learner = self.learner
        rate = _rate(learner)
        sizes = [part.numel() for part in torch.empty(len(self.data.train)).tensor_split(learner.batches.steps)]
        while learner.step < learner.batches.steps:
            learner.advance()
            bar.advance(sizes[learner.step - 1])
            if time.monotonic() - self.written > self.pause and learner.step < learner.batches.steps:
                self._checkpoint()
        row: Row = {"epoch": learner.epoch + 1, "lr": rate, **learner.end_epoch()}
        self._judge(row)
        self.curve.append(row)
        if self.best is None or row["validation_error"] < self.best["validation_error"]:
            self.best, self.best_weights = row, _copied(self.model)
        reason = self._stop_reason()
        measure_now = learner.epoch in self.configuration.measure.at
        if measure_now or (self.configuration.measure.last and reason is not None):
            self._measure(learner.epoch)
        if time.monotonic() - self.written > self.pause or measure_now:
            self._checkpoint()
        self._report(row)
        return reason

    def _judge(self, row: Row) -> None:
        """Add errors on validation and test images to an epoch's row."""
        seed, epoch = self.configuration.seed, row["epoch"]
        judged = evaluate(self.model, self.test, self.recipe, seed=seed, epoch=epoch)
        validated = judged
        if self.validation is not self.test:
            validated = evaluate(self.model, self.validation, self.recipe, seed=seed, epoch=epoch)
        row |= {f"validation_{key}": value for key, value in validated.items()}
        row |= {f"test_{key}": value for key, value in judged.items()}

    def _stop_reason(self) -> str | None:
        """Say why training ends here, at the end of an epoch; ``None`` if it does not."""
        if self.learner.step or not self.curve:
            return None
        row, recipe = self.curve[-1], self.recipe
        epoch = row["epoch"]
        if epoch == recipe.dead_after or (epoch == recipe.epochs < recipe.dead_after):
            chance, spread = _chance(self.data)
            if 1 - row["error"] < min(1.0, chance + 4 * spread):  # all right is not by chance, however few they are
                accuracy = f"training accuracy {1 - row['error']:.4f}, that of the most frequent class is {chance:.4f}"
                return f"chance after {_epochs(epoch)}: {accuracy}"
        if recipe.stop_at_zero_loss and row["loss"] == 0:
            return f"zero training loss in epoch {epoch}"
        if recipe.patience is not None and self.best and epoch - self.best["epoch"] >= recipe.patience:
            return f"no better validation error for {_epochs(recipe.patience)}"
        return f"all {_epochs(recipe.epochs)}" if epoch == recipe.epochs else None

    def _measure(self, epoch: int) -> None:
        import pandas as pd

        choice = self.configuration.measure
        images = self.data.measured(choice.images)
        tables, record = [], {}
        for deformation, displacement, cutoff in deformations(self.configuration, (images.shape[-2], images.shape[-1])):
            result = measure(
                self.model,
                images,
                deformation,
                layers=choice.layers if isinstance(choice.layers, str) else list(choice.layers),
                draws=choice.draws,
                bn=choice.bn,
                seed=choice.seed,
                device=self.device,
                memory_format=self.recipe.memory_format,
                progress=False,
                name=self.configuration.model,
                variant="trained" if epoch else "initial",
            )
            first = {"epoch": epoch, "seed": self.configuration.seed, "displacement": displacement}
            for position, (name, value) in enumerate({**first, "cutoff": cutoff}.items()):
                result.table.insert(position, name, value)
            tables.append(result.table)
            record = result.record
        (self.folder / "sensitivity").mkdir(exist_ok=True)
        Result(pd.concat(tables, ignore_index=True), record).save(self._measured(epoch))

    def _measured(self, epoch: int) -> Path:
        return self.folder / "sensitivity" / f"epoch-{epoch:04d}.parquet"

    def _report(self, row: Row) -> None:
        done = self.learner.epoch
        passed = time.monotonic() - self.started
        fresh = max(1, done - self.first_epoch)
        left = passed / fresh * (self.recipe.epochs - done)
        validated = f", validation {row['validation_error']:.2%}" if self.validation is not self.test else ""
        self.say(
            f"{self.folder.name}: epoch {done} of {self.recipe.epochs}: loss {row['loss']:.4f}, error "
            f"{row['error']:.2%}{validated}, test {row['test_error']:.2%}; {duration(left)} left"
        )

    def _checkpoint(self) -> None:
        began = time.monotonic()
        self._write_best()
        tensors, position = self.learner.state()
        assert self.best is not None
        facts = {
            **position,
            "configuration": self.configuration.digest(),
            "curve": [_plain(row) for row in self.curve],
            "best_epoch": self.best["epoch"],
            "seconds": self.seconds + began - self.started,
            "environments": self.environments,
        }
        self.checkpoints.write(tensors, facts)
        self.written = time.monotonic()
        self.pause = max(self.checkpoint_seconds, _SHARE * (self.written - began))

    def _write_best(self) -> None:
        if self.best_weights is not None and self.best is not None:
            self._write_weights("best", self.best_weights, _plain(self.best))
            self.best_weights = None

    def _write_weights(self, which: str, weights: dict[str, Tensor], row: Row) -> None:
        test = self.data.test
        size = (int(test.images.shape[2]), int(test.images.shape[3]))
        wanted = Preprocessing(size, test.mean, test.std, int(test.images.shape[1]), resize=size)
        facts = {"weights": which, "run": self.configuration.plain(), "row": row}
        write_weights(
            self.model, self.folder / f"{which}.safetensors", state=weights, preprocessing=wanted, facts=facts
        )

    def _resume(self) -> bool:
        """Go back to the newest whole checkpoint, if there is one and all it builds on is whole too."""
        self.first_epoch = 0
        found = self.checkpoints.newest()
        if found is None:
            return False
        tensors, facts = found
        curve = [_full(row) for row in facts["curve"]]
        reason = self._unusable(facts)
        if reason:
            self.say(f"{self.folder.name}: begun anew: {reason}")
            return False
        self.learner.restore(tensors, facts)
        self.curve = curve
        self.best = next(row for row in curve if row["epoch"] == facts["best_epoch"])
        self.seconds = facts["seconds"]
        self.environments = facts["environments"]
        self.first_epoch = self.learner.epoch
        self.say(
            f"{self.folder.name}: goes on after {_epochs(self.learner.epoch)} and {self.learner.step} of "
            f"{self.learner.batches.steps} steps"
        )
        return True

    def _unusable(self, facts: dict[str, Any]) -> str | None:
        """Say what is missing for going on from a checkpoint."""
        if facts["configuration"] != self.configuration.digest():
            return "the checkpoint is of another configuration"
        try:
            for which in ("initial", "best"):
                stored = read_sealed(self.folder / f"{which}.safetensors")[1]
                if "row" not in stored:
                    return f"{which}.safetensors is not of a run"
                if which == "best" and stored["row"]["epoch"] < facts["best_epoch"]:
                    return "best.safetensors is older than the checkpoint"
                if which == "best" and stored["row"]["epoch"] > facts["best_epoch"] and not self._same_versions(facts):
                    return "best.safetensors is newer than the checkpoint, and the versions are others"
            done = facts["epoch"] if facts["epoch"] else 0
            for epoch in self.configuration.measure.at:
                if epoch <= done:
                    read_result(self._measured(epoch))
        except (ValueError, KeyError, FileNotFoundError) as error:
            return str(error)
        return None

    def _same_versions(self, facts: dict[str, Any]) -> bool:
        """Whether the steps since a checkpoint, done again, will come to the same bits."""
        return bool(facts["environments"] and facts["environments"][-1] == environment())

    def _finish(self, status: str, reason: str) -> None:
        """Write what was found, the outcome last, and remove the checkpoints."""
        import pandas as pd

        assert self.best is not None
        self._write_best()
        last = self.curve[-1]
        if self.configuration.measure.last and status == "finished" and not self._measured(last["epoch"]).is_file():
            self._measure(last["epoch"])
        if status == "finished":
            self._write_weights("last", self.model.state_dict(), _plain(last))
        record = {"configuration": self.configuration.plain()}
        curve = pd.DataFrame(self.curve, columns=[*_CURVE])  # rows read from a checkpoint are in another order
        curve.insert(1, "seed", self.configuration.seed)
        Result(curve, record).save(self.folder / "curve.parquet")
        epochs = sorted({row["epoch"] for row in self.curve if self._measured(row["epoch"]).is_file()})
        if epochs:
            results = [read_result(self._measured(epoch)) for epoch in epochs]
            table = pd.concat([result.table for result in results], ignore_index=True)
            Result(table, {**results[-1].record, **record}).save(self.folder / "sensitivity.parquet")
        outcome = {
            "status": status,
            "reason": reason,
            "epochs": last["epoch"],
            "best_epoch": self.best["epoch"],
            "selected_by": "test" if self.validation is self.test else "validation",
            **{f"best_{key}": self.best[key] for key in ("validation_error", "test_error")},
            **{f"last_{key}": last[key] for key in ("validation_error", "test_error")},
            "training_loss": None if math.isnan(last["loss"]) else last["loss"],
            "training_error": None if math.isnan(last["error"]) else last["error"],
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "configuration": self.configuration.digest(),
            "seconds": round(self.seconds + time.monotonic() - self.started, 1),
            "environments": self.environments,
        }
        with written_whole(self.folder / "outcome.json") as temporary:
            temporary.write_text(json.dumps(outcome, indent=2) + "\n")
        self.checkpoints.remove()
        self.say(f"{self.folder.name}: {status}: {reason}")


def _chance(data: Data) -> tuple[float, float]:
    """Return the share of the most frequent class among the training images, and its standard deviation by chance."""
    share = float(data.train.labels.bincount().max()) / len(data.train)
    return share, math.sqrt(share * (1 - share) / len(data.train))


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _rate(learner: Learner) -> float:
    from poolscope.training.schedule import learning_rate

    return learning_rate(learner.recipe, learner.epoch, 0, learner.batches.steps)


def _plain(row: Row) -> Row:
    """A row in JSON's types, which know no nan."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _full(row: Row) -> Row:
    return {key: math.nan if value is None else value for key, value in row.items()}


def _epochs(number: int) -> str:
    return f"{number} epoch" if number == 1 else f"{number} epochs"
