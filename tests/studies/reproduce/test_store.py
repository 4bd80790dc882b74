"""Finished runs stay whole, or are found not to be; a kill at any moment leaves nothing that passes for finished."""

import errno
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from poolscope._files import written_whole
from poolscope.studies.reproduce import store as store_module
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.work import WORKS, Work
from poolscope.studies.reproduce.worker import Outcome, perform
from studies.reproduce.made_up_work import ADD, attempts, contents, job

FIRST = job(1)
SECOND = job(2, needs={"first": FIRST})


@pytest.fixture(autouse=True)
def adding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORKS, "add", ADD)


def done(folder: Path) -> Store:
    """Return a store with two finished runs, which collects what it says in ``said``."""
    for each in (FIRST, SECOND):
        assert perform(str(folder), each.plain()).status == "done"
    said: list[str] = []
    store = Store(folder, say=said.append)
    store.said = said  # type: ignore[attr-defined]
    return store


def test_a_finished_run_is_readable_without_us(tmp_path: Path) -> None:
    done(tmp_path)
    folder = tmp_path / "runs" / SECOND.key
    found = json.loads((folder / "done.json").read_text())
    assert set(found["files"]) == {"job.json", "outcome.json", "state.json", "total.json"}, "no leftovers"
    for name, digest in found["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert json.loads((folder / "total.json").read_text()) == (0 + 1 + 2) * 2
    assert json.loads((folder / "job.json").read_text()) == SECOND.plain()
    assert found["seconds"] >= 0
    assert found["cpu_seconds"] >= 0
    assert {"torch", "python", "machine", "cores", "device"} <= set(found["environment"])
    assert not list(tmp_path.rglob("*.part"))
    log = (folder / "log.txt").read_text()
    assert f"begun by process {os.getpid()} of" in log
    assert "starts at 0" in log


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    done(tmp_path)
    before = contents(tmp_path)
    assert perform(str(tmp_path), FIRST.plain()) == Outcome(FIRST.key, "done", 0.0)
    assert attempts(tmp_path) == attempts(tmp_path, "ended") == {FIRST.key: 1, SECOND.key: 1}
    assert contents(tmp_path) == before


def spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    return damage


DAMAGE = {
    "another number": ("total.json", spoil("total.json", b"7")),
    "missing": ("total.json", spoil("total.json", None)),
    "empty": ("job.json", spoil("job.json", b"")),
    "no JSON": ("done.json", spoil("done.json", b'{"files": ')),
    "other JSON": ("done.json", spoil("done.json", b"[]")),
    "no hashes": ("done.json", spoil("done.json", b"{}")),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_found_said_and_made_again(how: str, tmp_path: Path) -> None:
    store, expected = done(tmp_path), contents(tmp_path)
    name, damage = DAMAGE[how]
    assert store.check(FIRST.key)
    damage(store.path(FIRST.key))
    spoilt = contents(tmp_path)
    assert not store.check(FIRST.key)
    (said,) = store.said  # type: ignore[attr-defined]
    assert said.startswith(f"{FIRST.key}: {name} ")
    assert said.endswith("is damaged or missing, so the run must be made again")
    assert contents(tmp_path) == spoilt, "a look changes nothing"
    assert store.check(SECOND.key), "the others stay"
    assert perform(str(tmp_path), FIRST.plain()).seconds > 0
    assert store.check(FIRST.key)
    assert contents(tmp_path) == expected
    assert attempts(tmp_path)[FIRST.key] == 1, "begun anew, with nothing of before"


def test_a_run_without_its_last_file_is_not_done(tmp_path: Path) -> None:
    store = done(tmp_path)
    (store.path(FIRST.key) / "done.json").unlink()
    assert not store.is_done(FIRST.key)
    assert not store.check(FIRST.key)
    assert not store.said  # type: ignore[attr-defined]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claimed(FIRST.key) as ours:
        assert ours
        assert perform(str(tmp_path), FIRST.plain()) == Outcome(FIRST.key, "busy")
        with store.claimed(FIRST.key) as another:
            assert not another
        assert perform(str(tmp_path), job(3).plain()).status == "done", "the others are free"
    assert perform(str(tmp_path), FIRST.plain()).status == "done"
    with pytest.raises(BlockingIOError, match="of the work"), store.claimed(FIRST.key):
        raise BlockingIOError("of the work")


def test_a_run_that_another_runner_made_again_meanwhile_is_kept(tmp_path: Path) -> None:
    """Two runners see the same damage: the second finds it repaired, and must not remove what the first has made."""
    store = done(tmp_path)
    spoil("total.json", b"7")(store.path(FIRST.key))
    assert not store.check(FIRST.key)  # both have seen it
    assert perform(str(tmp_path), FIRST.plain()).seconds > 0
    assert perform(str(tmp_path), FIRST.plain()) == Outcome(FIRST.key, "done", 0.0)
    assert attempts(tmp_path)[FIRST.key] == 1


def test_errors_are_kept_and_told_in_a_line(tmp_path: Path) -> None:
    bad = job(4, fails=True)
    outcome = perform(str(tmp_path), bad.plain())
    assert (outcome.status, outcome.message) == ("failed", "ValueError: it was told to fail")
    failure = tmp_path / "runs" / bad.key / "failure.txt"
    assert "Traceback" in failure.read_text()
    outcome = perform(str(tmp_path), SECOND.plain())
    assert outcome.message.startswith(f"FileNotFoundError: a run must have what it needs; {FIRST.key} is not done")
    for each in (FIRST, SECOND):
        assert perform(str(tmp_path), each.plain()).status == "done"
    assert not (tmp_path / "runs" / SECOND.key / "failure.txt").exists()


@pytest.mark.parametrize("where", ["work", "library", "other library", "end", "lock"])
def test_a_full_disk_is_told_in_one_line_and_goes_on(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "x")

    def fill(*arguments: object, **named: object) -> Any:
        raise full

    def wrapped(*arguments: object) -> None:
        try:
            fill()
        except OSError as error:
            raise RuntimeError("unexpected pos 512 vs 400") from error

    def silent(*arguments: object) -> None:
        patched.setattr(shutil, "disk_usage", lambda folder: usage(folder)._replace(free=1000))
        raise RuntimeError("100000 requested and 25584 written")

    usage = shutil.disk_usage
    with monkeypatch.context() as patched:
        works = {"work": fill, "library": wrapped, "other library": silent}
        if where in works:
            patched.setitem(WORKS, "add", Work("add", 1, works[where]))
        else:
            patched.setattr(store_module, {"end": "_digest", "lock": "locked"}[where], fill)
        outcome = perform(str(tmp_path), FIRST.plain())
    assert outcome.status == "stopped"
    assert outcome.message == (
        f"no space left for {tmp_path}: what was finished is intact; make room and run the same again to go on"
    )
    assert not Store(tmp_path).is_done(FIRST.key)
    assert perform(str(tmp_path), FIRST.plain()).status == "done"


def test_a_file_system_without_locks_fails_a_job_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object, **named: object) -> Any:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store_module, "locked", none)
    outcome = perform(str(tmp_path), FIRST.plain())
    assert (outcome.status, outcome.message) == ("failed", f"OSError: [Errno {errno.ENOLCK}] No locks available")


def test_the_index_is_made_from_the_folders(tmp_path: Path) -> None:
    store = done(tmp_path)
    with written_whole(store.path(FIRST.key) / "log.txt") as log:
        log.write_text("longer" * 100)  # not a result
    store.begin(job(5))
    index = store.index().set_index("key")
    assert set(index.index) == {FIRST.key, SECOND.key}
    row = index.loc[SECOND.key]
    assert json.loads(row["settings"]) == SECOND.settings
    assert json.loads(row["needs"]) == {"first": FIRST.key}
    folder = store.path(SECOND.key)
    names = ("job.json", "outcome.json", "state.json", "total.json")
    assert row["bytes"] == sum((folder / name).stat().st_size for name in names)
    spoil("job.json", b"{")(folder)
    assert list(store.index()["key"]) == [FIRST.key]
    assert store.said == [f"{SECOND.key}: left out of the index, damaged (JSONDecodeError)"]  # type: ignore[attr-defined]


def killed_at(store: Path, plain: dict[str, Any], moment: int) -> bool:
    """Do a job in a process that is killed before its next change of the store, after so many; False if it ends."""
    child = os.fork()
    if child == 0:
        changes = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal changes
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if not writes and event not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"):
                return
            changes += 1
            if changes > moment:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        perform(str(store), plain)
        os._exit(0)
    return os.waitpid(child, 0)[1] != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_killed_before_any_change_the_next_attempt_comes_to_the_same(tmp_path: Path) -> None:
    """An attempt that begins with the removal of a damaged run, so that it changes all that any attempt does."""
    expected = contents(done(tmp_path / "whole").folder)
    moments = 0
    while True:
        folder = tmp_path / f"killed-{moments}"
        shutil.copytree(tmp_path / "whole", folder)
        spoil("total.json", b"7")(folder / "runs" / SECOND.key)
        if not killed_at(folder, SECOND.plain(), moments):
            break
        store = Store(folder, say=lambda text: None)
        if store.check(SECOND.key):
            assert contents(folder) == expected, f"passes for finished, killed after {moments} changes"
        ended = perform(str(folder), SECOND.plain())
        assert ended.status == "done"
        assert store.check(SECOND.key)
        if ended.seconds:
            assert ended.resumed == (attempts(folder)[SECOND.key] > 1)
            assert store.done(SECOND.key)["attempts"] == attempts(folder)[SECOND.key]
        assert contents(folder) == expected, f"killed after {moments} changes"
        assert attempts(folder, "ended")[SECOND.key] <= 1
        assert not [path for path in (folder / "runs").rglob(".*") if path.is_file()]
        assert not list((folder / "runs").glob(".*"))
        moments += 1
    assert moments >= 25, "the changes of a whole attempt"
    assert contents(folder) == expected
