"""One piece of work, known by the hash of all that determines what comes out of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_DIGITS = 16  # of a key: 64 bits


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Two jobs of the same key are the same run, whichever studies ask for it. The key holds the kind of work with its
    version, the settings, and the keys of the jobs it builds on; of data it holds the hash, not the place.

    Attributes:
        work: kind of work, a name of `poolscope.studies.reproduce.work.WORKS`.
        version: of that kind.
        settings: in JSON's types, not to be changed; a mapping with a ``digest`` is data, whose ``spec`` says only
            where it lies.
        needs: the jobs whose results it reads, by the part they play.
        threads: of the CPU; sums round by it.
        device: "cpu" or "cuda"; sums round by it.
        memory: GiB it may take, for the scheduler; not part of the key.
    """

    work: str
    version: int
    settings: Mapping[str, Any]
    needs: Mapping[str, Job] = field(default_factory=dict)
    threads: int = 1
    device: str = "cpu"
    memory: float = 1.0

    @cached_property
    def key(self) -> str:
        """The kind of work and 16 hexadecimal digits.

        Raises:
            TypeError: settings that JSON has no type for.
            ValueError: settings that are not finite.
        """
        plain = {
            "work": self.work,
            "version": self.version,
            "settings": _without_places(self.settings),
            "needs": {part: job.key for part, job in self.needs.items()},
            "threads": self.threads,
            "device": self.device,
        }
        text = json.dumps(plain, sort_keys=True, allow_nan=False)
        return f"{self.work}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"

    def plain(self) -> dict[str, Any]:
        """Return it in JSON's types, the jobs it needs by their keys."""
        return {
            "key": self.key,
            "work": self.work,
            "version": self.version,
            "settings": dict(self.settings),
            "needs": {part: job.key for part, job in self.needs.items()},
            "threads": self.threads,
            "device": self.device,
        }


def in_order(jobs: Iterable[Job]) -> dict[str, Job]:
    """Return these jobs and all they need by key, each after those it needs."""
    found: dict[str, Job] = {}

    def add(job: Job) -> None:
        if job.key not in found:
            for each in job.needs.values():
                add(each)
            found[job.key] = job

    for job in jobs:
        add(job)
    return found


def _without_places(value: Any) -> Any:
    if isinstance(value, Mapping):
        hidden = {"spec", "root"} if "digest" in value else set()
        return {key: _without_places(each) for key, each in value.items() if key not in hidden}
    if isinstance(value, (list, tuple)):
        return [_without_places(each) for each in value]
    return value
