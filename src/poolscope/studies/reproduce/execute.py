"""Do the jobs that are not done: each after those it needs, the longest ways first, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from poolscope._progress import Progress
from poolscope.studies.reproduce.executors import Executor
from poolscope.studies.reproduce.job import Job, in_order
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.worker import Outcome
from poolscope.training.folder import TrainingStopped, duration

_PATIENCE = 2.0  # seconds until another runner's job is looked at again
_TICK = 0.5  # seconds to wait for an end, at most


@dataclass(frozen=True)
class Failure:
    """A job that could not be done.

    Attributes:
        key: of the job.
        reason: in a line.
    """

    key: str
    reason: str


def missing(jobs: Iterable[Job], store: Store) -> dict[str, Job]:
    """Return the jobs, and those they need, that are not done, in an order in which they can be.

    All files of those that are done are checked by their hashes; nothing is changed.
    """
    ordered = in_order(jobs)
    with ThreadPoolExecutor(8) as threads:  # hashing and reading let other threads run
        whole = threads.map(store.check, ordered)
        return {key: job for (key, job), done in zip(ordered.items(), whole, strict=True) if not done}


def execute(
    jobs: Mapping[str, Job],
    store: Store,
    executor: Executor,
    *,
    seconds: Callable[[Job], float],
    say: Callable[[str], object] = print,
    progress: bool = True,
) -> list[Failure]:
    """Do jobs until all are done or failed; what fails does not stop the rest.

    Another runner may work on the same store at the same time: what it is at is left to it and looked at again.

    Args:
        jobs: of `missing`.
        store: where they go.
        executor: what does them; it is closed at the end, whatever the end.
        seconds: estimate of what a job takes on one core, for the order and the time left.
        say: told of each end.
        progress: show a bar with the time left, if standard error is a terminal.

    Returns:
        Those that failed, with those that needed them.

    Raises:
        TrainingStopped: the store is full, or cannot be written to.
        KeyboardInterrupt: after it has ended all that was at work; nothing is lost.
    """
    estimates = {key: seconds(job) for key, job in jobs.items()}
    clock = _Clock(estimates, executor.slots)
    try:
        with Progress(len(jobs), "reproducing", enabled=progress) as bar:
            return _Execution(jobs, executor, _ways(jobs, estimates), clock, say, bar).run()
    except KeyboardInterrupt:
        executor.close()
        say("interrupted; nothing is lost: the same command goes on from here")
        raise
    finally:
        executor.close()


def _ways(jobs: Mapping[str, Job], estimates: Mapping[str, float]) -> dict[str, float]:
    """Return, for each job, the seconds from its start to the end of the longest chain of jobs that need it."""
    after = dict.fromkeys(jobs, 0.0)
    ways = {}
    for key, job in reversed(in_order(jobs.values()).items()):  # each before those it needs
        if key in jobs:
            ways[key] = estimates[key] + after[key]
            for needed in job.needs.values():
                if needed.key in jobs:
                    after[needed.key] = max(after[needed.key], ways[key])
    return ways


class _Execution:
    """Jobs being done."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        executor: Executor,
        ways: Mapping[str, float],
        clock: _Clock,
        say: Callable[[str], object],
        bar: Progress,
    ):
        self.waiting = {key: jobs[key] for key in sorted(jobs, key=lambda key: -ways[key])}
        self.running: dict[str, Job] = {}
        self.again: dict[str, float] = {}  # when to look at another runner's job again
        self.failures: dict[str, Failure] = {}
        self.executor, self.clock, self.say, self.bar = executor, clock, say, bar
        self.total = len(jobs)

    def run(self) -> list[Failure]:
        while self.waiting or self.running:
            self._start()
            for outcome in self.executor.wait(_TICK):
                self._note(outcome)
        return list(self.failures.values())

    def _start(self) -> None:
        """Submit what can be done now; give up what needs a job that failed."""
        for key, job in list(self.waiting.items()):
            needs = [each.key for each in job.needs.values()]
            failed = next((needed for needed in needs if needed in self.failures), None)
            if failed is not None:
                del self.waiting[key]
                self._end(Outcome(key, "failed", 0.0, f"needs {failed}, which failed"))
                continue
            ready = not any(needed in self.waiting or needed in self.running for needed in needs)
            if ready and self.again.get(key, 0.0) <= time.monotonic() and self.executor.has_room(job):
                self.running[key] = self.waiting.pop(key)
                self.executor.submit(job)

    def _note(self, outcome: Outcome) -> None:
        """Take account of a job that has ended, or is another runner's."""
        job = self.running.pop(outcome.key)
        if outcome.status == "stopped":
            raise TrainingStopped(outcome.message)
        if outcome.status != "busy":
            self._end(outcome)
            return
        if outcome.key not in self.again:
            self.say(f"{outcome.key}: another runner is at it")
        self.waiting[outcome.key] = job
        self.again[outcome.key] = time.monotonic() + _PATIENCE

    def _end(self, outcome: Outcome) -> None:
        if outcome.status == "failed":
            self.failures[outcome.key] = Failure(outcome.key, outcome.message)
        whole = outcome.status == "done" and not outcome.resumed
        self.clock.end(outcome.key, outcome.seconds if whole else 0.0)
        self.bar.advance(1)
        self.say(_said(outcome, self.clock, self.total))


class _Clock:
    """What is left, by estimates corrected with what the jobs done so far have taken."""

    def __init__(self, estimates: Mapping[str, float], slots: int):
        self.left = dict(estimates)
        self.slots = slots
        self.expected = self.taken = 0.0
        self.ended = 0

    def end(self, key: str, seconds: float) -> None:
        """Note a job that has ended, and what it took; 0 if it was not done here, or not in whole."""
        estimate = self.left.pop(key)
        self.ended += 1
        if seconds:
            self.expected += estimate
            self.taken += seconds

    def remaining(self) -> float:
        """Return the seconds left, about."""
        factor = self.taken / self.expected if self.expected else 1.0
        total = factor * sum(self.left.values()) / max(1, self.slots)
        return max(total, factor * max(self.left.values(), default=0.0))


def _said(outcome: Outcome, clock: _Clock, total: int) -> str:
    done = f"done in {duration(outcome.seconds)}" if outcome.seconds else "done by another runner"
    what = done if outcome.status == "done" else f"failed: {outcome.message}"
    left = f"; about {duration(clock.remaining())} left" if clock.left else ""
    return f"[{clock.ended}/{total}] {outcome.key}: {what}{left}"
