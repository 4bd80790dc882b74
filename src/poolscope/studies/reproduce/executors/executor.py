"""What the scheduler asks of an executor."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.worker import Outcome


@runtime_checkable
class Executor(Protocol):
    """Does jobs somewhere else, several at once."""

    @property
    def slots(self) -> int:
        """How many jobs of one thread run at once, about."""
        ...

    def has_room(self, job: Job) -> bool:
        """Whether a job could start now."""
        ...

    def submit(self, job: Job) -> None:
        """Start a job."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that have ended since, as soon as there is one, after at most so long; none: wait so long."""
        ...

    def close(self) -> None:
        """End, with all that is still at work; a second time nothing happens."""
        ...
