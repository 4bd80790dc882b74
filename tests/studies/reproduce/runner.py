"""A runner to be killed: a process of its own, in which runners are forked before any thread is started.

Reads lines "light STORE", "fig7 STORE" or "ray STORE"; for each it forks a runner, the first of a process group of its
own, and prints its process id, then, when it has ended, its exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poolscope.studies.reproduce.job import Job

# Nothing heavy is imported here: workers import this file too, as their runner's.


def long() -> list[Job]:
    """Return two jobs that take a minute."""
    from studies.reproduce.made_up_work import job

    return [job(number, pause=60.0) for number in (1, 2)]


def fig7() -> list[Job]:
    """Return the runs of figure 7 at the smallest scale."""
    from poolscope.studies.reproduce.run import plan
    from poolscope.studies.reproduce.study import Sources

    return list(plan(["fig7"], "smoke", Sources("digits"))[0].jobs.values())


def run(jobs: Iterable[Job], folder: Path, name: str) -> int:
    """Do what is missing of some jobs with two cores; return the number of failures."""
    from poolscope.studies.reproduce.execute import execute, missing
    from poolscope.studies.reproduce.executors import make_executor
    from poolscope.studies.reproduce.store import Store

    store = Store(folder)
    with (folder / "said").open("a") as said:
        failures = execute(
            missing(jobs, store),
            store,
            make_executor(name, folder, cores=2),
            seconds=lambda each: 1.0,
            say=lambda text: print(text, file=said, flush=True),
        )
    return len(failures)


def main() -> None:
    from poolscope.studies.reproduce.executors import local
    from studies.reproduce.light_work import note

    jobs: dict[str, list[Job]] = {"light": long()}
    with tempfile.TemporaryDirectory() as folder:
        run([], Path(folder), "local")  # what is imported at first use, the children then have
    for line in sys.stdin:
        kind, folder = line.split(maxsplit=1)
        if kind not in jobs:
            jobs[kind] = fig7()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setpgid(0, 0)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if kind == "light":
                    local.perform = note  # type: ignore[attr-defined]
                code = run(jobs[kind], Path(folder.strip()), "ray" if kind == "ray" else "local")
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
