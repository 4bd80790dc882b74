"""Finished runs in a folder that anything can read: Parquet, JSON and safetensors, each with its hash."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._files import written_whole
from poolscope._lock import locked
from poolscope.studies.reproduce.job import Job

if TYPE_CHECKING:
    import pandas as pd

_DONE = "done.json"
_NOT_KEPT = {_DONE, "log.txt", "failure.txt"}
_COLUMNS = ["key", "work", "seconds", "attempts", "bytes", "threads", "device", "needs", "settings"]


class Store:
    """Runs by key, one folder each: ``runs/KEY`` with ``job.json``, what the work wrote, and at last ``done.json``.

    ``done.json`` holds the hash of every file; a folder without it is of a run that has not ended, which goes on there.
    Nothing else is kept anywhere: tables of what there is are made from the folders. ``locks`` holds a file for each
    run; who holds its lock is at work on it, and no lock outlives its process. Over a network the file system must
    know ``flock``, as NFS 4 does.

    Args:
        folder: of the store, made if missing.
        say: told of damage.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | Path, say: Callable[[str], object] = print):
        self.folder = Path(folder)
        self.say = say
        (self.folder / "runs").mkdir(parents=True, exist_ok=True)
        (self.folder / "locks").mkdir(exist_ok=True)

    def path(self, key: str) -> Path:
        """Return the folder of a run, which need not exist."""
        return self.folder / "runs" / key

    def is_done(self, key: str) -> bool:
        """Whether a run has ended, by its last file alone; `check` looks at the others."""
        return (self.path(key) / _DONE).is_file()

    def done(self, key: str) -> dict[str, Any]:
        """Return what was noted at the end of a run.

        ``seconds`` and ``cpu_seconds`` of its last attempt, ``attempts``, ``environment`` and ``files``.
        """
        found: dict[str, Any] = json.loads((self.path(key) / _DONE).read_text())
        return found

    def check(self, key: str) -> bool:
        """Whether a run has ended and all its files are as they were then, by their hashes; damage is said."""
        if not self.is_done(key):
            return False
        try:
            files = self.done(key)["files"]
            damaged = next((name for name, digest in files.items() if not self._is(key, name, digest)), None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            damaged = f"{_DONE} ({type(error).__name__})"
        if damaged is not None:
            self.say(f"{key}: {damaged} is damaged or missing, so the run must be made again")
        return damaged is None

    @contextmanager
    def claimed(self, key: str) -> Iterator[bool]:
        """Hold a run's lock; yields False if another process holds it."""
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / "locks" / f"{key}.lock", wait=False))
                ours = True
            except BlockingIOError:
                ours = False
            yield ours

    def begin(self, job: Job | dict[str, Any]) -> Path:
        """Return the folder of a run, made with its ``job.json`` if there is none; for who holds its lock.

        A damaged run that had ended is removed first: a part of its files must not pass for an interrupted one.
        """
        plain = job if isinstance(job, dict) else job.plain()
        folder = self.path(plain["key"])
        self._sweep(plain["key"])
        if self.is_done(plain["key"]):
            os.replace(folder, folder.with_name(f".{folder.name}.removed"))  # at once, whenever a kill comes
            self._sweep(plain["key"])
        folder.mkdir(exist_ok=True)
        _write(folder / "job.json", plain)
        return folder

    def end(self, key: str, **facts: Any) -> None:
        """Note that a run has ended, with the hashes of its files; for who holds its lock.

        Args:
            key: of the run.
            facts: to be noted: seconds, versions.
        """
        folder = self.path(key)
        for leftover in folder.rglob(".*.part"):
            leftover.unlink(missing_ok=True)
        files = {
            str(path.relative_to(folder)): _digest(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in _NOT_KEPT and not path.name.startswith(".")
        }
        (folder / "failure.txt").unlink(missing_ok=True)
        _write(folder / _DONE, {"key": key, **facts, "files": files})

    def index(self) -> pd.DataFrame:
        """Return the finished runs, made from their folders: ``key``, ``work``, ``seconds`` of the last attempt, …

        Those whose JSON is damaged are left out, which is said.
        """
        import pandas as pd

        rows = []
        for folder in sorted((self.folder / "runs").iterdir()):
            if folder.name.startswith(".") or not self.is_done(folder.name):
                continue
            try:
                rows.append(self._row(folder))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                self.say(f"{folder.name}: left out of the index, damaged ({type(error).__name__})")
        return pd.DataFrame(rows, columns=_COLUMNS)

    def _row(self, folder: Path) -> dict[str, Any]:
        job, done = json.loads((folder / "job.json").read_text()), self.done(folder.name)
        return {
            "key": folder.name,
            "work": job["work"],
            "seconds": done.get("seconds"),
            "attempts": done.get("attempts"),
            "bytes": sum((folder / name).stat().st_size for name in done["files"] if (folder / name).is_file()),
            "threads": job["threads"],
            "device": job["device"],
            "needs": json.dumps(job["needs"]),
            "settings": json.dumps(job["settings"]),
        }

    def _is(self, key: str, name: str, digest: str) -> bool:
        path = self.path(key) / name
        return path.is_file() and _digest(path) == digest

    def _sweep(self, key: str) -> None:
        """Remove what is left of a damaged run, also where a process was killed while it did so."""
        shutil.rmtree(self.folder / "runs" / f".{key}.removed", ignore_errors=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, value: dict[str, Any]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
