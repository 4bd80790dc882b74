"""The scheduler: the right order, whatever fails, and several runners on one store."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from poolscope.studies.reproduce import execute as execute_module
from poolscope.studies.reproduce.execute import Failure, execute, missing
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.work import WORKS
from poolscope.studies.reproduce.worker import Outcome
from poolscope.training.folder import TrainingStopped
from studies.reproduce.made_up_work import ADD, Forked, attempts, contents, job

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork", allow_module_level=True)


@pytest.fixture(autouse=True)
def adding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORKS, "add", ADD)
    monkeypatch.setattr(execute_module, "_PATIENCE", 0.05)


def all_of(jobs: Sequence[Job], folder: Path, *, slots: int = 2, said: list[str] | None = None) -> list[Failure]:
    """Do all that is missing of these jobs, by forked processes."""
    store = Store(folder, say=lambda text: None)
    say: Callable[[str], object] = (lambda text: None) if said is None else said.append
    return execute(missing(jobs, store), store, Forked(folder, slots), seconds=lambda each: 1.0, say=say)


def web(pause: float = 0.0) -> list[Job]:
    """Return six jobs, some of which need others."""
    first, second = job(1, pause=pause), job(2, steps=5, pause=pause)
    third = job(3, pause=pause, needs={"a": first})
    fourth = job(4, pause=pause, needs={"a": first, "b": third})
    return [fourth, third, second, job(5, pause=pause, needs={"a": second}), job(6, pause=pause)]


class Played:
    """An executor in which nothing happens but what it is told: the order is all there is to see."""

    slots = 1

    def __init__(self, outcomes: dict[str, list[Outcome]] | None = None):
        self.outcomes = outcomes or {}
        self.order: list[str] = []
        self.now: list[str] = []
        self.closed = 0

    def has_room(self, job: Job) -> bool:
        return not self.now

    def submit(self, job: Job) -> None:
        self.order.append(job.key)
        self.now.append(job.key)

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.now:
            time.sleep(min(seconds, 0.01))
        ended, self.now = self.now, []
        return [self.outcomes[key].pop(0) if self.outcomes.get(key) else Outcome(key, "done", 1.0) for key in ended]

    def close(self) -> None:
        self.closed += 1


def play(
    jobs: Sequence[Job], played: Played, folder: Path, seconds: Callable[[Job], float] = lambda each: 1.0
) -> tuple[list[Failure], list[str]]:
    store, said = Store(folder), []
    failures = execute(missing(jobs, store), store, played, seconds=seconds, say=said.append)
    assert played.closed
    return failures, said


def test_each_after_what_it_needs_and_all_at_the_end(tmp_path: Path) -> None:
    jobs = web()
    assert not all_of(jobs, tmp_path)
    assert not missing(jobs, Store(tmp_path))
    totals = {key.split("/")[0]: int(text) for key, text in contents(tmp_path).items() if key.endswith("total.json")}
    by_number = {each.settings["number"]: totals[each.key] for each in [*jobs, jobs[0].needs["a"]]}
    assert by_number == {1: 3, 2: 10, 3: 6, 4: 12, 5: 13, 6: 3}
    assert set(attempts(tmp_path, "ended").values()) == {1}
    assert not all_of(jobs, tmp_path), "nothing left"
    assert set(attempts(tmp_path).values()) == {1}


def test_the_longest_way_goes_first(tmp_path: Path) -> None:
    """1 → 3 → 4 takes 1 + 1 + 5; 2 → 5 takes 3 + 1; 6 takes 4."""
    jobs = web()
    lengths = {1: 1.0, 2: 3.0, 3: 1.0, 4: 5.0, 5: 1.0, 6: 4.5}
    played = Played()
    play(jobs, played, tmp_path, lambda each: lengths[each.settings["number"]])
    numbers = {each.key: each.settings["number"] for each in [*jobs, jobs[0].needs["a"]]}
    assert [numbers[key] for key in played.order] == [1, 3, 4, 6, 2, 5]


def test_a_failure_takes_along_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    bad = job(1, fails=True)
    after = job(2, needs={"a": bad})
    last = job(3, needs={"a": after, "b": job(4)})
    said: list[str] = []
    failures = all_of([last, job(5)], tmp_path, said=said)
    assert failures == [
        Failure(bad.key, "ValueError: it was told to fail"),
        Failure(after.key, f"needs {bad.key}, which failed"),
        Failure(last.key, f"needs {after.key}, which failed"),
    ]
    assert set(attempts(tmp_path, "ended").items()) >= {(job(4).key, 1), (job(5).key, 1)}
    assert any(f"] {after.key}: failed: needs {bad.key}, which failed" in line for line in said)
    assert [line.split("]")[0] for line in said] == [f"[{number}/5" for number in range(1, 6)]


def test_no_more_at_once_than_there_is_room_for(tmp_path: Path) -> None:
    executor, store = Forked(tmp_path, 3), Store(tmp_path)
    execute(missing([job(k, pause=0.02) for k in range(7)], store), store, executor, seconds=lambda each: 1.0)
    assert executor.most == 3


def test_damage_upstream_is_repaired_before_it_is_used(tmp_path: Path) -> None:
    first, second = job(1), job(2, needs={"a": job(1)})
    assert not all_of([first], tmp_path)
    (tmp_path / "runs" / first.key / "total.json").write_text("1000")
    said: list[str] = []
    store = Store(tmp_path, say=said.append)
    left = missing([second], store)
    assert list(left) == [first.key, second.key]
    assert len(said) == 1
    assert not execute(left, store, Forked(tmp_path), seconds=lambda each: 1.0, say=lambda text: None)
    assert (tmp_path / "runs" / second.key / "total.json").read_text() == "6"


def test_a_full_store_stops_all_with_its_line(tmp_path: Path) -> None:
    line = "no space left for here"
    played = Played({job(1).key: [Outcome(job(1).key, "stopped", 1.0, line)]})
    with pytest.raises(TrainingStopped, match=f"^{line}$"):
        play([job(1), job(2), job(3)], played, tmp_path)
    assert played.order == [job(1).key]
    assert played.closed


def test_an_interrupt_ends_what_is_at_work_and_says_that_nothing_is_lost(tmp_path: Path) -> None:
    class Interrupted(Played):
        def wait(self, seconds: float) -> list[Outcome]:
            raise KeyboardInterrupt

    played, said = Interrupted(), []
    store = Store(tmp_path)

    def say(text: str) -> None:
        assert played.closed, "said when it is so"
        said.append(text)

    with pytest.raises(KeyboardInterrupt):
        execute(missing([job(1)], store), store, played, seconds=lambda each: 1.0, say=say)
    assert said == ["interrupted; nothing is lost: the same command goes on from here"]


def test_another_runners_job_is_waited_for(tmp_path: Path) -> None:
    first, second = job(1), job(2, needs={"a": job(1)})
    busy = Outcome(first.key, "busy")
    played = Played({first.key: [busy, busy, busy, Outcome(first.key, "done", 0.0)]})
    failures, said = play([second, job(3)], played, tmp_path)
    assert not failures
    assert played.order.count(first.key) == 4
    assert played.order.index(second.key) > max(k for k, key in enumerate(played.order) if key == first.key)
    assert said[0] == f"{first.key}: another runner is at it"
    assert sum("another runner is at it" in line for line in said) == 1
    assert any(f"{first.key}: done by another runner" in line for line in said)


def test_the_time_left_follows_what_jobs_have_taken(tmp_path: Path) -> None:
    """Three jobs of an estimated 100 s; the first takes 1000 s: the others are then expected to take 2000 s."""
    played = Played({job(1).key: [Outcome(job(1).key, "done", 1000.0)]})
    _, said = play([job(1), job(2), job(3)], played, tmp_path, lambda each: 100.0)
    assert said[0] == f"[1/3] {job(1).key}: done in 17 min; about 33 min left"
    assert said[-1].endswith("done in 1 s")
    resumed = Played({job(4).key: [Outcome(job(4).key, "done", 1.0, resumed=True)]})
    _, said = play([job(4), job(5)], resumed, tmp_path, lambda each: 120.0)
    assert said[0].endswith("about 2 min left"), "the rest of a run says nothing of what whole ones take"


def in_child(work: Callable[[], object]) -> int:
    """Run something in a forked process, the first of a process group of its own; return its id."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        try:
            work()
        finally:
            os._exit(sys.exc_info()[0] is not None)
    os.setpgid(child, child)
    return child


def slow_web() -> list[Job]:
    return web(pause=0.03)


def stopped_in_the_middle(runner: int, folder: Path, before: dict[str, int]) -> None:
    """Stop a runner and its jobs when it has begun some that are not done, however busy the machine is."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        os.killpg(runner, signal.SIGSTOP)
        begun = [key for key, number in attempts(folder).items() if number > before.get(key, 0)]
        if any(not (folder / "runs" / key / "done.json").exists() for key in begun):
            return
        os.killpg(runner, signal.SIGCONT)
        time.sleep(0.002)
    raise AssertionError("nothing was at work")


def test_a_runner_killed_again_and_again_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, folder, chance = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    assert not all_of(slow_web(), whole)
    for _ in range(5):
        before = attempts(folder)
        child = in_child(lambda: all_of(slow_web(), folder))
        time.sleep(chance.uniform(0.0, 0.1))
        stopped_in_the_middle(child, folder, before)
        os.killpg(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not all_of(slow_web(), folder)
    assert contents(folder) == contents(whole)
    assert max(attempts(folder, "ended").values()) == 1
    assert any(number > 1 for number in attempts(folder).values()), "killed in the middle"


def test_two_runners_do_nothing_twice_and_both_see_all_done(tmp_path: Path) -> None:
    def runner(number: int) -> Callable[[], None]:
        def run() -> None:
            said: list[str] = []
            failures = all_of(slow_web(), tmp_path / "store", said=said)
            (tmp_path / f"said-{number}").write_text("\n".join(said))
            assert not failures

        return run

    children = [in_child(runner(number)) for number in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    said = [(tmp_path / f"said-{number}").read_text() for number in range(2)]
    assert "another runner is at it" in "".join(said)
    for text in said:
        assert sum(": done " in line for line in text.splitlines()) == 6
    assert set(attempts(tmp_path / "store").values()) == {1}
    assert set(attempts(tmp_path / "store", "ended").values()) == {1}
    assert not all_of(slow_web(), tmp_path / "whole")
    assert contents(tmp_path / "store") == contents(tmp_path / "whole")
