"""Runners to be killed, started from tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Runners:
    """The process of ``runner.py``; its standard error goes to a file."""

    def __init__(self, errors: Path):
        self.errors = errors
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("runner.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors.open("w"), text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip

    def start(self, kind: str, store: Path) -> int:
        """Begin, or go on; return the id of the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{kind} {store}\n")
        self.process.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """Wait for the end of the last one; return its exit code, or minus the signal that ended it."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@contextmanager
def runners(errors: Path) -> Iterator[Runners]:
    """Give a process that starts runners, for a while."""
    each = Runners(errors)
    try:
        yield each
        assert each.process.stdin is not None
        each.process.stdin.close()
        assert each.process.wait(30) == 0
    finally:
        each.process.kill()


def soon(what: Callable[[], object], *, within: float = 30.0) -> bool:
    """Whether something comes true in a time."""
    until = time.monotonic() + within
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for it does not."""
    try:
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat")
        return not status.is_file() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def same_tables(found: Path, expected: Path) -> None:
    """Compare figure 7's tables, made of two stores, number for number and bit for bit."""
    from poolscope.studies.reproduce.run import plan
    from poolscope.studies.reproduce.study import Sources

    part = plan(["fig7"], "smoke", Sources("digits"))[0]
    one, other = (
        part.study.tables(part.settings, {name: store / "runs" / job.key for name, job in part.jobs.items()})
        for store in (found, expected)
    )
    assert one.keys() == other.keys()
    assert len(one) >= 10
    for name, table in one.items():
        assert table.equals(other[name]), name
        assert len(table), name
