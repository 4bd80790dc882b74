"""Quick kinds of work, and an executor quick to start, by which the engine is tested."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.work import Work
from poolscope.studies.reproduce.worker import Outcome, perform

Context = multiprocessing.get_context("fork")


def add(
    settings: Mapping[str, Any], needs: Mapping[str, Path], folder: Path, say: Callable[[str], object], device: str
) -> None:
    """Add up 0, 1, … and what the needed runs came to, a step at a time; go on after an interruption."""
    if settings.get("fails"):
        raise ValueError("it was told\nto fail")
    outcome, state = folder / "outcome.json", folder / "state.json"
    if outcome.is_file():  # believed, as an interrupted training's is
        return
    (folder / ".something.part").write_text("half")
    total, step = json.loads(state.read_text()) if state.is_file() else (0, 0)
    say(f"starts at {step}")
    for number in range(step, settings["steps"]):
        time.sleep(settings["pause"])
        total += number
        temporary = folder / ".state.part"
        temporary.write_text(json.dumps([total, number + 1]))
        os.replace(temporary, state)
    total += sum(json.loads((each / "total.json").read_text()) for each in needs.values())
    (folder / "total.json").write_text(json.dumps(total))
    outcome.write_text("finished")


def job(number: int, *, steps: int = 3, pause: float = 0.0, needs: Mapping[str, Job] | None = None, **more: Any) -> Job:
    """Return a job that comes to 0 + 1 + … + (steps - 1) and what it needs."""
    fields = {name: more.pop(name) for name in ("threads", "device", "memory") if name in more}
    return Job("add", 1, {"number": number, "steps": steps, "pause": pause, **more}, needs or {}, **fields)


ADD = Work("add", 1, add)


class Forked:
    """An executor of forked processes: they start at once, and end with this one if the process group is killed."""

    def __init__(self, store: Path, slots: int = 2):
        self.store, self.slots = store, slots
        self.running: dict[Connection, tuple[Any, Job]] = {}
        self.most = 0
        self.order: list[str] = []

    def has_room(self, job: Job) -> bool:
        return len(self.running) < self.slots

    def submit(self, job: Job) -> None:
        here, there = Context.Pipe(duplex=False)
        process = Context.Process(target=_forked, args=(there, str(self.store), job.plain()))
        process.start()
        there.close()
        self.running[here] = (process, job)
        self.most = max(self.most, len(self.running))
        self.order.append(job.key)

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.running:
            time.sleep(min(seconds, 0.01))
        outcomes = []
        for ready in wait(list(self.running), timeout=seconds):
            assert isinstance(ready, Connection)
            process, _ = self.running.pop(ready)
            outcomes.append(ready.recv())
            process.join()
        return outcomes

    def close(self) -> None:
        for process, _ in self.running.values():
            process.kill()
            process.join()
        self.running = {}


def _forked(there: Connection, store: str, plain: dict[str, Any]) -> None:
    there.send(perform(store, plain))
    there.close()
    os._exit(0)


def contents(store: Path) -> dict[str, bytes]:
    """Return the results of a store's runs, byte for byte: all files but times, words and hashes of both."""
    return {
        str(path.relative_to(store / "runs")): path.read_bytes()
        for path in sorted((store / "runs").rglob("*"))
        if path.is_file() and path.name not in ("done.json", "log.txt")
    }


def attempts(store: Path, word: str = "begun") -> dict[str, int]:
    """Return how often each run was begun, or "ended", by its log."""
    return {path.parent.name: path.read_text().count(f": {word}") for path in (store / "runs").glob("*/log.txt")}
