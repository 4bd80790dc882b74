"""What happens in the process, or on the machine, that does a job."""

from __future__ import annotations

import os
import time
import traceback
from dataclasses import dataclass
from typing import Any, Literal

from poolscope.studies.reproduce.store import Store


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        key: of the job.
        status: "done"; "busy": another runner is at it; "failed".
        seconds: this attempt took.
        message: why it failed, in a line.
    """

    key: str
    status: Literal["done", "busy", "failed"]
    seconds: float = 0.0
    message: str = ""


def perform(store_folder: str, job: dict[str, Any]) -> Outcome:
    """Do a job in its folder of the store, unless it is done or another process is at it.

    Args:
        store_folder: of the store.
        job: of ``Job.plain``.

    Returns:
        How it ended. An error does not get out: it is written to ``failure.txt`` of the run's folder, and a line of it
        returned.
    """
    import torch

    from poolscope.studies.reproduce.work import WORKS
    from poolscope.training.folder import environment, threads_of

    store = Store(store_folder)
    key = job["key"]
    began = time.monotonic()
    with store.claimed(key) as ours:
        if not ours:
            return Outcome(key, "busy")
        if store.is_done(key):
            return Outcome(key, "done")
        folder = store.begin(job)
        try:
            with threads_of(job["threads"]), (folder / "log.txt").open("a") as log:

                def say(text: str) -> None:
                    print(text, file=log, flush=True)

                needs = {part: store.path(needed) for part, needed in job["needs"].items()}
                WORKS[job["work"]].do(job["settings"], needs, folder, say, job["device"])
        except Exception as error:
            (folder / "failure.txt").write_text(traceback.format_exc())
            message = f"{type(error).__name__}: {error}"
            return Outcome(key, "failed", time.monotonic() - began, " ".join(message.split()))
        seconds = time.monotonic() - began
        where = {**environment(), "cores": os.cpu_count(), "device": _device_name(job["device"], torch)}
        store.end(key, seconds=round(seconds, 3), environment=where)
    return Outcome(key, "done", seconds)


def _device_name(device: str, torch: Any) -> str:
    import platform

    return torch.cuda.get_device_name() if device == "cuda" else platform.machine()
