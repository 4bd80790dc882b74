"""Several seeds of one experiment in one folder: trained together, killed, resumed, finished one by one."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from poolscope._files import written_whole
from poolscope._lock import locked
from poolscope._progress import Progress
from poolscope.networks import load_model, write_weights
from poolscope.networks.simple import SimpleCNN
from poolscope.sensitivity import Result
from poolscope.tasks import parse
from poolscope.training.checkpoint import Checkpoints
from poolscope.training.folder import claim, duration, note_environment, threads_of, writing
from poolscope.training.seeds import stream, stream_seed
from poolscope.training.simple.captured import Step, stepper
from poolscope.training.simple.experiment import VERSION, Experiment
from poolscope.training.simple.finished import SimpleRuns, read_simple_runs
from poolscope.training.simple.stack import Stack

_SECONDS = 60.0  # between checkpoints, at least
_TEST_BATCH = 512


@dataclass
class _Seed:
    """How far one network is.

    Attributes:
        seed: of its initial weights and the order of its batches.
        interpolation: epochs until the hinge loss was 0, ``None`` while it has not been.
        losses: hinge loss of the epoch at each check.
        interpolated_error: test error then.
    """

    seed: int
    interpolation: int | None = None
    losses: list[float] = field(default_factory=list)
    interpolated_error: float | None = None


def train_simple(
    experiment: Experiment,
    out: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3),
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], object] = print,
    progress: bool = True,
    checkpoint_seconds: float = _SECONDS,
) -> SimpleRuns:
    """Train simple CNNs until M times their interpolation time; go on where an interrupted call stopped.

    Training of a seed ends with the first check at or after M times its interpolation time at which the hinge loss of
    the epoch is exactly 0, or when ``experiment.wait`` is over (the authors wait for ever, and for no error on 128
    validation pairs as well: the error on all pairs not learned from is in the outcome instead). A network that then
    has errors on its training pairs is "lost". Seeds end one by one; those left go on together.

    Args:
        experiment: task, network and training.
        out: folder of the runs, made if missing; finished seeds in it are read, not repeated.
        seeds: of initial weights and of the order of batches; one split of the pairs, that of the task's name, for all.
        device: "auto", "cpu", "cuda".
        threads: of the CPU (default: torch's number); with the seeds trained together, part of what decides rounding.
        say: told of interpolations, ends, and every minute.
        progress: show a bar with the time left, if standard error is a terminal.
        checkpoint_seconds: between checkpoints, at least.

    Returns:
        The runs, also those that did not interpolate.

    Raises:
        ValueError: no seed, one twice, another device, no threads, or a folder with another experiment.
        BlockingIOError: another process is at work in the folder.
        TrainingStopped: no space left, or no right to write.

    Source: section 4.3, appendix B; published code where the text is silent (`Experiment`).
    """
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds must be different whole numbers from 0; got {list(seeds)}")
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda; got {device!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 or more; got {threads}")
    folder = Path(out)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    threads = threads or torch.get_num_threads()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", wait=False), threads_of(threads), _flushing():
            plain = {"experiment": experiment.model_dump(mode="json"), "device": device, "threads": threads}
            claim(folder / "run.json", {**plain, "version": VERSION})
            for start in range(0, len(seeds), experiment.together):
                group = list(seeds[start : start + experiment.together])
                if any(not _has_ended(folder, seed) for seed in group):
                    _Group(experiment, group, folder, torch.device(device), say, progress, checkpoint_seconds).run()
                _remove_checkpoints(folder, say)
    return read_simple_runs(folder, seeds)


class _Group:
    """Seeds trained together."""

    def __init__(
        self,
        experiment: Experiment,
        seeds: list[int],
        folder: Path,
        device: torch.device,
        say: Callable[[str], object],
        progress: bool,
        checkpoint_seconds: float,
    ):
        self.experiment = experiment
        self.seeds = seeds
        self.folder = folder
        self.device = device
        self.say = say
        self.progress = progress
        self.checkpoint_seconds = checkpoint_seconds
        task, split = parse(experiment.task)
        assert split is not None
        self.size = task.shape[1:]
        self.train, self.test = split.of(task)
        self.images = task.images(task.pairs).flatten(1)[:, :, None].to(device)
        self.signs = task.labels_of(task.pairs).float().to(device)
        self.batches = len(self.train) // experiment.batch_size
        self.checkpoints = Checkpoints(folder / f"checkpoints-{'-'.join(map(str, seeds))}", say)
        self.epoch = 0
        self.seconds = 0.0
        self.environments: list[dict[str, str]] = []

    def run(self) -> None:
        """Train until all have ended."""
        self.started = time.monotonic()
        for leftover in self.folder.rglob(".*.part"):  # of a killed process
            leftover.unlink(missing_ok=True)
        self._begin()
        self.step = self._stepper()
        note_environment(self.environments)
        written = said = time.monotonic()
        with torch.no_grad(), Progress(None, self._words(), enabled=self.progress) as bar:
            bar.advance(self.epoch)
            while self.states:
                losses = self._epoch()
                bar.advance(1)
                ends = self.epoch % self.experiment.check_every == 0 or self.epoch == self.experiment.most_epochs
                ended = self._check(losses.tolist()) if ends else False
                now = time.monotonic()
                if ends:
                    bar.tell(self._words(), self._total())
                if ends and self.states and now - said > _SECONDS:
                    self.say(self._words())
                    said = now
                if self.states and (ended or now - written > self.checkpoint_seconds):
                    self._checkpoint()
                    written = time.monotonic()

    def _begin(self) -> None:
        """Go on from the newest checkpoint, or from initial weights.

        Seeds of the checkpoint that ended after it come along until they end again: with fewer in a batched product,
        the others could round otherwise.
        """
        found = self.checkpoints.newest()
        if found is not None:
            tensors, facts = found
            self.states = [_Seed(**state) for state in facts["states"]]
            self.epoch, self.seconds, self.environments = facts["epoch"], facts["seconds"], facts["environments"]
            self.stack = Stack([self._initial(state.seed) for state in self.states], self.size)
            for number, tensor in enumerate(self.stack.tensors):
                tensor.copy_(tensors[str(number)])
            self.together = facts.get("together", self.seeds)
            self.say(f"{self.folder.name}: goes on after {self.epoch} epochs")
            return
        networks = []
        # A process can be killed between an end and its first checkpoint: then those that began together begin again.
        self.together = [
            seed
            for seed in self.seeds
            if any(not _has_ended(self.folder, each) for each in [seed, *_companions(self.folder, seed)])
        ]
        for seed in self.together:
            place = self.folder / f"seed-{seed}"
            place.mkdir(exist_ok=True)
            networks.append(self._initial(seed))
            write_weights(networks[-1].cpu(), place / "initial.safetensors", facts=self._facts(seed, "initial"))
            networks[-1].to(self.device)
        self.states = [_Seed(seed) for seed in self.together]
        self.stack = Stack(networks, self.size)

    def _initial(self, seed: int) -> SimpleCNN:
        model = load_model("poolscope:simplecnn", seed=stream_seed(seed, "weights") % 2**32, **self.experiment.options)
        assert isinstance(model, SimpleCNN)
        return model.to(self.device)

    def _stepper(self) -> Step:
        experiment = self.experiment
        return stepper(
            self.stack,
            lr=experiment.lr * experiment.channels,
            ridge=experiment.ridge,
            bias_lr=experiment.lr if experiment.bias_lr == "plain" else None,
        )

    def _epoch(self) -> Tensor:
        """Take the steps of an epoch; return each network's mean hinge loss in it, while weights change."""
        experiment = self.experiment
        rows = [
            self.train[torch.randperm(len(self.train), generator=stream(state.seed, "order", self.epoch))]
            for state in self.states
        ]
        used = self.batches * experiment.batch_size
        order = torch.stack(rows)[:, :used].view(len(rows), self.batches, -1).to(self.device)
        loss = torch.zeros(len(rows), dtype=torch.float64, device=self.device)
        for number in range(self.batches):
            chosen = order[:, number]
            loss += self.step(self.images[chosen], self.signs[chosen])
        self.epoch += 1
        return loss / self.batches

    def _check(self, losses: list[float]) -> bool:
        """Note losses and interpolations, write those that end; return whether any did."""
        reasons: list[tuple[str, str] | None] = []
        errors: list[float] | None = None
        for number, (state, loss) in enumerate(zip(self.states, losses, strict=True)):
            state.losses.append(loss)
            if loss == 0 and state.interpolation is None:
                errors = self._errors(self.test) if errors is None else errors
                state.interpolation, state.interpolated_error = self.epoch, errors[number]
                self.say(f"{self.folder.name}: seed {state.seed} interpolates after {self.epoch} epochs")
            reasons.append(self._ended(number, state, loss))
        for number, reason in enumerate(reasons):
            if reason is not None:
                self._finish(number, *reason)
        self._keep([reason is None for reason in reasons])
        return any(reason is not None for reason in reasons)

    def _ended(self, number: int, state: _Seed, loss: float) -> tuple[str, str] | None:
        """Return the status and the reason if training of a seed ends here."""
        experiment = self.experiment
        if not math.isfinite(loss):
            return "diverged", f"hinge loss {loss} in epoch {self.epoch}"
        if state.interpolation is None:
            if self.epoch >= min(experiment.give_up, experiment.most_epochs):
                return "not interpolated", f"hinge loss {loss:.3g} after {self.epoch} epochs"
            return None
        multiple = self.epoch / state.interpolation
        over = multiple / experiment.multiple - 1
        is_over = over >= 0 and (loss == 0 or (experiment.wait is not None and over >= experiment.wait))
        if not is_over and self.epoch < experiment.most_epochs:
            return None
        wrong = 0.0 if loss == 0 else self._errors(self.train)[number]
        what = f"hinge loss {loss:.3g}" if loss else "zero hinge loss"
        what += f", training error {wrong:.2%}," if wrong else ""
        when = f"after {multiple:.0f} times the interpolation time of {state.interpolation} epochs"
        return "lost" if wrong else "finished" if is_over else "cut short", f"{what} {when}"

    def _finish(self, number: int, status: str, reason: str) -> None:
        import pandas as pd

        state = self.states[number]
        if _has_ended(self.folder, state.seed):
            return  # before the process was killed
        place = self.folder / f"seed-{state.seed}"
        model = self._initial(state.seed)
        self.stack.write_to(model, number)
        if status != "diverged":
            write_weights(model.cpu(), place / "last.safetensors", facts=self._facts(state.seed, "last"))
        every = self.experiment.check_every
        checks = pd.DataFrame({"loss": state.losses})
        checks.insert(0, "epoch", ((checks.index + 1) * every).where(checks.index < len(checks) - 1, self.epoch))
        checks.insert(0, "seed", state.seed)
        Result(checks, {"experiment": self.experiment.model_dump(mode="json")}).save(place / "checks.parquet")
        errors = self._errors(self.test, by_class=True)[number]
        outcome = {
            "seed": state.seed,
            "status": status,
            "reason": reason,
            "interpolation": state.interpolation,
            "epochs": self.epoch,
            "multiple": None if state.interpolation is None else self.epoch / state.interpolation,
            "loss": state.losses[-1] if math.isfinite(state.losses[-1]) else None,
            "training_error": self._errors(self.train)[number],
            "test_error": self._errors(self.test)[number],
            "balanced_test_error": errors,
            "test_error_at_interpolation": state.interpolated_error,
            "together": self.together,
            "seconds": round(self.seconds + time.monotonic() - self.started, 1),
            "environments": self.environments,
        }
        with written_whole(place / "outcome.json") as temporary:
            temporary.write_text(json.dumps(outcome, indent=2) + "\n")
        self.say(f"{self.folder.name}: seed {state.seed} {status}: {reason}, test error {outcome['test_error']:.2%}")

    def _errors(self, pairs: Tensor, *, by_class: bool = False) -> list[float]:
        """Return each network's share of wrong pairs, or the mean of the two classes' shares."""
        outputs = []
        for part in pairs.to(self.device).split(_TEST_BATCH):
            images = self.images[part][None].expand(len(self.states), -1, -1, -1)
            outputs.append(self.stack.outputs(images))
        signs = self.signs[pairs.to(self.device)]
        wrong = (~(torch.cat(outputs, 1) * signs > 0)).double()  # also where there is no number
        if by_class:
            return ((wrong[:, signs > 0].mean(1) + wrong[:, signs < 0].mean(1)) / 2).tolist()
        return wrong.mean(1).tolist()

    def _keep(self, kept: list[bool]) -> None:
        if not all(kept):
            self.stack.only([number for number, keep in enumerate(kept) if keep])
            self.step = self._stepper()
            self.states = [state for state, keep in zip(self.states, kept, strict=True) if keep]

    def _checkpoint(self) -> None:
        facts = {
            "epoch": self.epoch,
            "states": [asdict(state) for state in self.states],
            "seconds": self.seconds + time.monotonic() - self.started,
            "environments": self.environments,
            "together": self.together,
        }
        self.checkpoints.write({str(number): each for number, each in enumerate(self.stack.tensors)}, facts)

    def _facts(self, seed: int, which: str) -> dict[str, Any]:
        return {"weights": which, "seed": seed, "experiment": self.experiment.model_dump(mode="json")}

    def _total(self) -> int | None:
        """Return the epochs in all, once every network has interpolated."""
        times = [state.interpolation for state in self.states]
        if not times or None in times:
            return None
        return min(self.experiment.most_epochs, math.ceil(self.experiment.multiple * max(each or 0 for each in times)))

    def _words(self) -> str:
        """Say how far each network is."""
        times = ", ".join("-" if each.interpolation is None else str(each.interpolation) for each in self.states)
        total = self._total()
        text = f"{self.folder.name}: epoch {self.epoch}, interpolation after {times} (seeds "
        text += ", ".join(str(state.seed) for state in self.states) + ")"
        if total is None:
            return text
        seconds = self.seconds + time.monotonic() - self.started
        left = seconds / max(1, self.epoch) * (total - self.epoch)
        return f"{text}, ends after {total} or so, {duration(max(0.0, left))} left"


def _has_ended(folder: Path, seed: int) -> bool:
    return (folder / f"seed-{seed}" / "outcome.json").is_file()


def _companions(folder: Path, seed: int) -> list[int]:
    """Return the seeds that one which has ended was trained together with."""
    path = folder / f"seed-{seed}" / "outcome.json"
    return list(json.loads(path.read_text())["together"]) if path.is_file() else []


def _remove_checkpoints(folder: Path, say: Callable[[str], object]) -> None:
    """Remove those of which every seed has ended, also such as a killed process, or one with fewer seeds, left."""
    for place in folder.glob("checkpoints-*"):
        if all(_has_ended(folder, int(seed)) for seed in place.name.split("-")[1:]):
            Checkpoints(place, say).remove()


@contextmanager
def _flushing() -> Iterator[None]:
    """Take denormal numbers as 0 in a block: vanishing gradients would slow the CPU several times."""
    before = bool((torch.tensor([1e-40]) * torch.ones(1)).item() == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
