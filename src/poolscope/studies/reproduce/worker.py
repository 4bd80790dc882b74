"""What happens in the process, or on the machine, that does a job."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from poolscope.studies.reproduce.store import Store

_LITTLE = 2**20  # bytes left of a disk that is full
_BEGUN = ": begun by process "  # in the log, once an attempt


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        key: of the job.
        status: "done"; "busy": another runner is at it; "failed"; "stopped": the store cannot be written to, so that no
            other job can be done either.
        seconds: this attempt took; 0 if it was done before.
        message: why it failed, in a line.
        resumed: whether it went on from an interrupted attempt, so that ``seconds`` are of a part of it.
    """

    key: str
    status: Literal["done", "busy", "failed", "stopped"]
    seconds: float = 0.0
    message: str = ""
    resumed: bool = False


def perform(store_folder: str, job: dict[str, Any]) -> Outcome:
    """Do a job in its folder of the store, unless it is done or another process is at it.

    ``log.txt`` of the run's folder gets a line when an attempt begins and when the run has ended.

    Args:
        store_folder: of the store.
        job: of ``Job.plain``.

    Returns:
        How it ended. An error does not get out: it is written to ``failure.txt`` of the run's folder, and a line of it
        returned.
    """
    from poolscope.training.folder import TrainingStopped, writing

    key = job["key"]
    began = time.monotonic()
    try:
        with writing(Path(store_folder)):
            store = Store(store_folder, say=lambda text: None)  # the runner has said what is damaged
            with store.claimed(key) as ours:
                if not ours:
                    return Outcome(key, "busy")
                if store.check(key):
                    return Outcome(key, "done")
                error = _attempt(store, job)
    except TrainingStopped as stopped:
        return Outcome(key, "stopped", time.monotonic() - began, str(stopped))
    except Exception as unforeseen:  # such as a file system without locks
        error = unforeseen
    seconds = time.monotonic() - began
    if error is not None:
        return Outcome(key, "failed", seconds, _line(error))
    return Outcome(key, "done", seconds, resumed=store.done(key).get("attempts", 1) > 1)


def _attempt(store: Store, job: dict[str, Any]) -> BaseException | None:
    """Do a job whose lock is held; return what went wrong, which is then in ``failure.txt``.

    Raises:
        OSError: the store is full, or cannot be written to; a TrainingStopped says so in a line.
    """
    from poolscope.training.folder import TrainingStopped, environment, threads_of

    folder = store.begin(job)
    began, cpu = time.monotonic(), time.process_time()
    attempts = 1 + _attempts(folder / "log.txt")
    with (folder / "log.txt").open("a") as log:

        def say(text: str) -> None:
            print(text, file=log, flush=True)

        say(f"{_now()}{_BEGUN}{os.getpid()} of {platform.node()}")
        try:
            with threads_of(job["threads"]):
                _do(store, job, folder, say)
        except TrainingStopped:
            raise
        except (Exception, SystemExit) as error:
            if _is_full(error, folder):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            (folder / "failure.txt").write_text(traceback.format_exc())
            return error
        where = {**environment(), "cores": os.cpu_count(), "device": _device_name(job["device"])}
        taken = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - cpu}
        taken = {name: round(value, 3) for name, value in taken.items()}
        store.end(job["key"], **taken, attempts=attempts, environment=where)
        say(f"{_now()}: ended")
    return None


def _attempts(log: Path) -> int:
    """Return how many attempts a log tells of."""
    return log.read_text().count(_BEGUN) if log.exists() else 0


def _do(store: Store, job: dict[str, Any], folder: Path, say: Callable[[str], object]) -> None:
    from poolscope.studies.reproduce.work import WORKS

    for needed in job["needs"].values():
        if not store.is_done(needed):
            raise FileNotFoundError(f"a run must have what it needs; {needed} is not done in {store.folder}")
    needs = {part: store.path(needed) for part, needed in job["needs"].items()}
    WORKS[job["work"]].do(job["settings"], needs, folder, say, job["device"])


def _is_full(error: BaseException | None, folder: Path) -> bool:
    """Whether an error, or one that it stems from, is of a full disk; some libraries do not say so."""
    if shutil.disk_usage(folder).free < _LITTLE:
        return True
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else platform.machine()
