"""Jobs in processes of this machine: as many as its cores and memory hold, threads pinned to what each job asks for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from poolscope.studies.reproduce.executors.machine import machine_memory, usable_cores
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.worker import Outcome, perform

_PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_KILLED = "its process was killed, perhaps for want of memory; the same command goes on with it"


@dataclass
class _Worker:
    """A process, kept from job to job: importing torch takes seconds."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class Local:
    """Processes of this machine.

    A worker that dies takes no other's job with it. Workers end when this process does, killed or not; an interrupt
    from the keyboard is this process's alone.

    Args:
        store: folder.
        cores: used at once, at most (default: those this process may run on).
        memory: GiB, at most (default: nine tenths of the machine's).

    Raises:
        ValueError: fewer than 1 core, or no memory.
    """

    def __init__(self, store: Path, *, cores: int | None = None, memory: float | None = None):
        self.store = store
        self.cores = usable_cores() if cores is None else cores
        self.memory = 0.9 * machine_memory() if memory is None else memory
        if self.cores < 1 or self.memory <= 0:
            raise ValueError(f"cores must be 1 or more and memory above 0 GiB; got {self.cores} and {self.memory}")
        self.workers: list[_Worker] = []

    @property
    def slots(self) -> int:
        """Cores."""
        return self.cores

    def has_room(self, job: Job) -> bool:
        """Whether cores and memory are free for a job, and the GPU; a job that asks for more than there is runs alone.

        One job at a time has the GPU.
        """
        jobs = [worker.job for worker in self.workers if worker.job is not None]
        if not jobs:
            return True
        threads = sum(each.threads for each in jobs) + job.threads
        on_gpu = job.device == "cuda" and any(each.device == "cuda" for each in jobs)
        return threads <= self.cores and sum(each.memory for each in jobs) + job.memory <= self.memory and not on_gpu

    def submit(self, job: Job) -> None:
        """Start a job in a process that has nothing to do, or in a new one."""
        for worker in [each for each in self.workers if each.job is None]:
            try:
                self._start(worker, job)
                return
            except OSError:  # it was killed while it had nothing to do
                self._forget(worker)
        worker = _new_worker()
        self.workers.append(worker)
        self._start(worker, job)

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that have ended since; one whose process died has failed."""
        busy = {worker.pipe: worker for worker in self.workers if worker.job is not None}
        if not busy:
            time.sleep(seconds)
            return []
        outcomes = []
        for pipe in wait(list(busy), timeout=seconds):
            assert isinstance(pipe, Connection)
            worker, job = busy[pipe], busy[pipe].job
            assert job is not None
            try:
                outcomes.append(pipe.recv())
                worker.job = None
            except (EOFError, OSError):
                outcomes.append(Outcome(job.key, "failed", 0.0, _KILLED))
                self._forget(worker)
        return outcomes

    def close(self) -> None:
        """End all processes, at work or not."""
        for worker in self.workers:
            worker.process.kill()  # nothing that a job writes needs a gentler end
        for worker in list(self.workers):
            self._forget(worker)

    def _start(self, worker: _Worker, job: Job) -> None:
        worker.pipe.send((perform, str(self.store), job.plain()))
        worker.job = job

    def _forget(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.process.join(5)  # its locks are free then
        worker.pipe.close()


def _new_worker() -> _Worker:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there,))
    with _fit_for_workers():
        process.start()
    there.close()  # so that its end is seen here
    return _Worker(process, here)


@contextmanager
def _fit_for_workers() -> Iterator[None]:
    """Have a process started in a block compute with one thread, until a job says otherwise, and miss interrupts."""
    before = {name: os.environ.get(name) for name in _PINNED}
    os.environ.update(dict.fromkeys(_PINNED, "1"))  # read when the libraries are loaded
    blocks = hasattr(signal, "pthread_sigmask")
    if blocks:
        resource_tracker.ensure_running()  # or it would start in the block, and undo it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else set()
    try:
        yield
    finally:
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(pipe: Connection) -> None:
    """Do one job after another, until there is nobody left to tell."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    while True:
        try:
            do, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(do(*arguments))
