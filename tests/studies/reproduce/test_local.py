"""Processes of this machine: room for each job, and none that outlives its runner or takes another's job along."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolscope.studies.reproduce import execute as execute_module
from poolscope.studies.reproduce.execute import execute
from poolscope.studies.reproduce.executors import Executor, local, machine, make_executor
from poolscope.studies.reproduce.executors.local import Local
from poolscope.studies.reproduce.executors.machine import machine_memory, usable_cores
from poolscope.studies.reproduce.job import Job, in_order
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.worker import Outcome
from studies.reproduce.light_work import note
from studies.reproduce.made_up_work import job
from studies.reproduce.runner import long
from studies.reproduce.runners import Runners, is_alive, runners, soon

LONG = long()
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "perform", note)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Local]:
    executor = Local(tmp_path, cores=2, memory=4.0)
    yield executor
    executor.close()


def ended(executor: Local) -> list[Outcome]:
    """Return the next outcomes, which must come soon."""
    for _ in range(60):
        outcomes = executor.wait(0.5)
        if outcomes:
            return outcomes
    raise AssertionError("nothing has ended in 30 s")


def written(path: Path) -> list[str]:
    """Return what a worker wrote down, the first line its process, as soon as it has."""
    assert soon(path.exists), "it did not begin"
    return path.read_text().splitlines()


def test_room_is_cores_and_memory_and_one_gpu(tmp_path: Path) -> None:
    executor = Local(tmp_path, cores=4, memory=8.0)
    process, pipe = multiprocessing.get_context("spawn").Process(), multiprocessing.Pipe()[0]

    def room(job: Job, *running: Job) -> bool:
        executor.workers = [local._Worker(process, pipe, each) for each in (*running, None)]
        return executor.has_room(job)

    one, two = job(1), job(2, threads=2)
    assert room(one, one, one, one)
    assert not room(one, one, one, one, one)
    assert room(two, two)
    assert not room(two, two, one)
    assert room(job(1, memory=4.0), job(2, memory=4.0))
    assert not room(job(1, memory=4.0), job(2, memory=4.5))
    assert room(job(1, threads=9, memory=99.0)), "alone"
    assert not room(job(1, threads=9), one)
    assert not room(job(1, device="cuda"), job(2, device="cuda"))
    assert room(job(1, device="cuda"), one)


def test_a_process_is_kept_from_job_to_job_with_pinned_threads(workers: Local, tmp_path: Path) -> None:
    before = {name: os.environ.get(name) for name in local._PINNED}
    workers.submit(job(1))
    assert {name: os.environ.get(name) for name in local._PINNED} == before
    assert ended(workers) == [Outcome(job(1).key, "done", 1.0)]
    workers.submit(job(2))
    assert ended(workers) == [Outcome(job(2).key, "done", 1.0)]
    first, second = (written(tmp_path / job(number).key) for number in (1, 2))
    assert first[0] == second[0]
    if Path("/proc/self/environ").is_file():
        assert sorted(first[2:]) == ["MKL_NUM_THREADS=1", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1"]
    os.kill(int(first[0]), signal.SIGKILL)  # with nothing to do
    assert soon(lambda: not workers.workers[0].process.is_alive())
    workers.submit(job(3))
    assert ended(workers) == [Outcome(job(3).key, "done", 1.0)]


def test_a_worker_killed_fails_its_own_job_alone(workers: Local, tmp_path: Path) -> None:
    workers.submit(LONG[0])
    workers.submit(job(3, pause=0.2))
    os.kill(int(written(tmp_path / LONG[0].key)[0]), signal.SIGKILL)
    outcomes = {each.key: each for each in ended(workers)}
    while len(outcomes) < 2:
        outcomes |= {each.key: each for each in ended(workers)}
    killed = outcomes[LONG[0].key]
    assert (killed.status, killed.message) == ("failed", local._KILLED)
    assert outcomes[job(3, pause=0.2).key].status == "done"


def test_close_ends_all_at_once(workers: Local, tmp_path: Path) -> None:
    workers.submit(LONG[0])
    process = int(written(tmp_path / LONG[0].key)[0])
    began = time.monotonic()
    workers.close()
    assert not is_alive(process)
    assert time.monotonic() - began < 2
    workers.close()


def test_waiting_costs_next_to_nothing(workers: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One job is at work for a while, another is another runner's as long, and fifty need both."""
    monkeypatch.setattr(execute_module, "_PATIENCE", 0.2)
    (tmp_path / "taken").touch()
    first, other = job(1, pause=1.5, gives="taken"), job(2, wants="taken")
    jobs = [first, other, *(job(number, needs={"a": first, "b": other}) for number in range(3, 53))]
    said: list[str] = []
    cpu, began = time.process_time(), time.monotonic()
    workers.wait(0.3)
    assert time.monotonic() - began >= 0.3, "with nothing at work it waits all the same"
    failures = execute(in_order(jobs), Store(tmp_path), workers, seconds=lambda each: 1.0, say=said.append)
    assert not failures
    assert f"{other.key}: another runner is at it" in said
    assert time.monotonic() - began > 1.8
    assert time.process_time() - cpu < 0.6, "most of it for fifty jobs and two processes"


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    with runners(tmp_path_factory.mktemp("runners") / "errors") as each:
        yield each


@needs_fork
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_runner(how: signal.Signals, runner: Runners, tmp_path: Path) -> None:
    """Killed, the runner alone gets the signal; Ctrl-C goes to all of its process group."""
    child = runner.start("light", tmp_path)
    notes = [written(tmp_path / each.key) for each in LONG]
    assert [note[1] for note in notes] == ["interrupts blocked: True"] * 2
    processes = [int(note[0]) for note in notes]
    assert all(map(is_alive, processes))
    (os.killpg if how == signal.SIGINT else os.kill)(child, how)
    assert runner.ended() == (130 if how == signal.SIGINT else -how)
    assert soon(lambda: not any(map(is_alive, processes)), within=5)
    words = "interrupted; nothing is lost: the same command goes on from here\n"
    assert (tmp_path / "said").read_text() == (words if how == signal.SIGINT else "")
    assert runner.errors.read_text() == "", "workers say nothing"


def test_limits_are_checked(tmp_path: Path) -> None:
    for limits in ({"cores": 0}, {"memory": 0.0}):
        with pytest.raises(ValueError, match=r"cores must be 1 or more and memory above 0 GiB; got"):
            make_executor("local", tmp_path, **limits)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"one of local, ray; got 'slurm'"):
        make_executor("slurm", tmp_path)
    executor = make_executor("local", tmp_path, cores=3, memory=2.5)
    assert isinstance(executor, Executor)
    assert (executor.slots, executor.memory) == (3, 2.5)  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_control_groups_limit_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    cores, memory = usable_cores(), machine_memory()
    assert cores == len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert (usable_cores(), machine_memory()) == (cores, memory)
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2**29}\n")
    assert (usable_cores(), machine_memory()) == (1, 0.5)
    (tmp_path / "cpu.max").write_text("20000 100000\n")
    assert usable_cores() == 1
