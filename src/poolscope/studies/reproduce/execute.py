"""Do the jobs that are not done: each after those it needs, the longest ways first, whatever fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from poolscope._progress import Progress
from poolscope.studies.reproduce.executors import Executor
from poolscope.studies.reproduce.job import Job, in_order
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.worker import Outcome
from poolscope.training.folder import duration

_PATIENCE = 2.0  # seconds until another runner's job is looked at again


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
    """Return the jobs, and those they need, that are not done, in an order in which they can be; all files checked."""
    return {key: job for key, job in in_order(jobs).items() if not store.check(key)}


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

    Args:
        jobs: of `missing`.
        store: where they go.
        executor: what does them.
        seconds: estimate of what a job takes, for the order and the time left.
        say: told of each end.
        progress: show a bar with the time left, if standard error is a terminal.

    Returns:
        Those that failed, with those that needed them.
    """
    waiting = dict(sorted(jobs.items(), key=lambda item: -_way(item[1], jobs, seconds)))
    running: dict[str, Job] = {}
    busy: dict[str, float] = {}  # when to look again
    failures: dict[str, Failure] = {}
    clock = _Clock({key: seconds(job) for key, job in jobs.items()}, executor.slots)
    try:
        with Progress(len(jobs), "reproducing", enabled=progress) as bar:
            while waiting or running:
                for key, job in list(waiting.items()):
                    failed = next((each.key for each in job.needs.values() if each.key in failures), None)
                    if failed is not None:
                        failures[key] = Failure(key, f"needs {failed}, which failed")
                        del waiting[key]
                        clock.end(key, 0.0)
                        bar.advance(1)
                    elif busy.get(key, 0.0) > time.monotonic():
                        continue
                    elif all(store.is_done(each.key) for each in job.needs.values()) and executor.has_room(job):
                        del waiting[key]
                        running[key] = job
                        executor.submit(job)
                for outcome in executor.wait(0.5 if running else 0.2):
                    job = running.pop(outcome.key)
                    if outcome.status == "busy":
                        if outcome.key not in busy:
                            say(f"{outcome.key}: another runner is at it")
                        waiting[outcome.key] = job
                        busy[outcome.key] = time.monotonic() + _PATIENCE
                        continue
                    if outcome.status == "failed":
                        failures[outcome.key] = Failure(outcome.key, outcome.message)
                    clock.end(outcome.key, outcome.seconds)
                    bar.advance(1)
                    say(_said(outcome, clock, len(jobs)))
    finally:
        executor.close()
    return list(failures.values())


def _way(job: Job, jobs: Mapping[str, Job], seconds: Callable[[Job], float]) -> float:
    """Return the seconds from a job's start to the end of the longest chain of jobs that need it."""
    after = [each for each in jobs.values() if any(needed.key == job.key for needed in each.needs.values())]
    return seconds(job) + max((_way(each, jobs, seconds) for each in after), default=0.0)


class _Clock:
    """What is left, by estimates corrected with what the jobs done so far have taken."""

    def __init__(self, estimates: Mapping[str, float], slots: int):
        self.left = dict(estimates)
        self.slots = slots
        self.expected = self.taken = 0.0
        self.ended = 0

    def end(self, key: str, seconds: float) -> None:
        """Note a job that has ended."""
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
    what = f"done in {duration(outcome.seconds)}" if outcome.status == "done" else f"failed: {outcome.message}"
    left = f"; about {duration(clock.remaining())} left" if clock.left else ""
    return f"[{clock.ended}/{total}] {outcome.key}: {what}{left}"
