"""What workers do in tests of the executors: quick to import, unlike real work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from poolscope.studies.reproduce.worker import Outcome


def note(store: str, job: dict[str, Any]) -> Outcome:
    """Write down this process and its surroundings, then wait as long as the job says.

    One that ``wants`` a file of the store is another runner's while it is there; one that ``gives`` it removes it.
    """
    folder, settings = Path(store), job["settings"]
    if "wants" in settings and (folder / settings["wants"]).exists():
        return Outcome(job["key"], "busy")
    environment = Path("/proc/self/environ")
    blocked = hasattr(signal, "pthread_sigmask") and signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    lines = [str(os.getpid()), f"interrupts blocked: {blocked}"]
    if environment.is_file():  # as it was when the process began
        lines += [each.decode() for each in environment.read_bytes().split(b"\0") if b"_NUM_THREADS=" in each]
    temporary = folder / f".{job['key']}"
    temporary.write_text("\n".join(lines))
    temporary.rename(folder / job["key"])
    time.sleep(settings["pause"])
    if "gives" in settings:
        (folder / settings["gives"]).unlink()
    return Outcome(job["key"], "done", 1.0)


def die(store: str, job: dict[str, Any], seen: str) -> Outcome:
    """End the worker's process, as a want of memory would."""
    os._exit(1)
