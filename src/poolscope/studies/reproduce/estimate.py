"""How long a job will take, about."""

from __future__ import annotations

from poolscope.studies.reproduce.job import Job


def job_seconds(job: Job) -> float:
    """Return the seconds a job takes on one core of a common machine, about."""
    return 30.0
