"""Jobs in processes of this machine: as many as its cores and memory hold, threads pinned to what each job asks for."""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.worker import Outcome, perform

_GIB = 2**30
_PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Slot:
    """One process, kept from job to job: importing torch takes seconds."""

    pool: ProcessPoolExecutor
    job: Job | None = None


class Local:
    """Processes of this machine.

    Each is a pool of one worker: a worker that dies takes no other's job with it. Workers end when this process does,
    killed or not.

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
        self.idle: list[_Slot] = []
        self.busy: dict[Future[Outcome], _Slot] = {}

    @property
    def slots(self) -> int:
        """Cores."""
        return self.cores

    def has_room(self, job: Job) -> bool:
        """Whether cores and memory are free for a job; a job that asks for more than there is runs alone."""
        jobs = [slot.job for slot in self.busy.values() if slot.job is not None]
        if not jobs:
            return True
        threads = sum(each.threads for each in jobs) + job.threads
        on_gpu = job.device == "cuda" and any(each.device == "cuda" for each in jobs)
        return threads <= self.cores and sum(each.memory for each in jobs) + job.memory <= self.memory and not on_gpu

    def submit(self, job: Job) -> None:
        """Start a job in a process that has nothing to do, or in a new one."""
        slot = self.idle.pop() if self.idle else _Slot(_pool())
        slot.job = job
        self.busy[slot.pool.submit(perform, str(self.store), job.plain())] = slot

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that have ended since; one whose process died has failed."""
        ended, _ = wait(self.busy, timeout=seconds, return_when=FIRST_COMPLETED)
        outcomes = []
        for future in ended:
            slot = self.busy.pop(future)
            assert slot.job is not None
            try:
                outcomes.append(future.result())
                self.idle.append(slot)
            except BrokenProcessPool:
                slot.pool.shutdown(wait=False)
                message = "its process was killed, perhaps for want of memory; the same command goes on with it"
                outcomes.append(Outcome(slot.job.key, "failed", 0.0, message))
            slot.job = None
        return outcomes

    def close(self) -> None:
        """End all processes, at work or not."""
        for slot in [*self.idle, *self.busy.values()]:
            for process in list((slot.pool._processes or {}).values()):
                process.terminate()
            slot.pool.shutdown(wait=False, cancel_futures=True)
        self.idle, self.busy = [], {}


def usable_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_memory() -> float:
    """Return the machine's memory, or the control group's if that is less, in GiB; 8 where it cannot be told."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (AttributeError, ValueError, OSError):
        return 8.0
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text) / _GIB)
    return total


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_at_start)


def _at_start() -> None:
    """Pin libraries to one thread until the job says otherwise, and end with the parent, even a killed one."""
    for name in _PINNED:
        os.environ[name] = "1"
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
