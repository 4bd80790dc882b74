"""Jobs as tasks of a Ray cluster: a GPU a job, another try where a worker or a node dies."""

from __future__ import annotations

import logging
import math
import os
import platform
import time
import uuid
from pathlib import Path
from typing import Any

import poolscope
from poolscope.studies.reproduce.executors.machine import usable_cores
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.worker import Outcome, perform

_RETRIES = 3  # of a job whose worker or node dies
_GIB = 2**30
_OBJECTS = 2**27  # bytes that a cluster started here keeps for objects: results go by files
_WAIT = 60.0  # seconds for every node to say what it sees


class OnRay:
    """Tasks of a Ray cluster: the one that ``RAY_ADDRESS`` names, else one started on this machine for the while.

    Every node must have the store under the same path, by a network file system with locks, the data too, and the same
    poolscope. Ray keeps the jobs in line, each with its threads as CPUs, its memory, and one GPU if its device is
    "cuda". A job whose worker or node dies is tried again, up to three times, and goes on where it stopped; a job that
    raises an error is not.

    Args:
        store: folder, which must exist.
        cores: of this machine, at most, for a cluster started on it (default: all that may be used).

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster at ``RAY_ADDRESS``.
        ValueError: a node does not see the store, or has another poolscope or none; or fewer than 1 core.
    """

    def __init__(self, store: Path, *, cores: int | None = None):
        if cores is not None and cores < 1:
            raise ValueError(f"cores must be 1 or more; got {cores}")
        self.ray = _ray()
        self.store = Path(store).absolute()
        self.seen = self.store / "locks" / f"ray-{uuid.uuid4().hex}.lock"  # who sees it has the same store
        self.running: dict[Any, Job] = {}  # by Ray's reference to the result
        self.refused: list[Outcome] = []
        self.connected = not self.ray.is_initialized()
        if self.connected:
            _connect(self.ray, usable_cores() if cores is None else cores)
        self.cpus = max(1, int(self.ray.cluster_resources().get("CPU", 1)))
        self.task = self.ray.remote(max_retries=_RETRIES, retry_exceptions=False)(_perform)
        try:
            self.seen.touch()
            self._look()
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """CPUs of the cluster, as it was at the beginning."""
        return self.cpus

    def has_room(self, job: Job) -> bool:
        """Always: Ray keeps the line, by which an autoscaling cluster knows what it lacks."""
        return True

    def submit(self, job: Job) -> None:
        """Hand a job to Ray; one that asks for more CPUs or memory than any node has gets all of the largest."""
        most = self._most()
        if job.device == "cuda" and not most.get("GPU"):
            reason = "a job on cuda needs a node with a GPU; the cluster has none"
            self.refused.append(Outcome(job.key, "failed", 0.0, reason))
            return
        task = self.task.options(
            name=job.key,
            num_cpus=min(job.threads, most.get("CPU", 1.0)),
            num_gpus=1 if job.device == "cuda" else 0,
            memory=int(min(job.memory * _GIB, most.get("memory", math.inf))),
        )
        self.running[task.remote(str(self.store), job.plain(), str(self.seen))] = job

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that have ended since; one whose workers died again and again has failed."""
        outcomes, self.refused = self.refused, []
        if not self.running:
            time.sleep(0 if outcomes else seconds)
            return outcomes
        every = list(self.running)
        ended, _ = self.ray.wait(every, timeout=0 if outcomes else seconds)
        if ended:  # others may have too
            ended, _ = self.ray.wait(every, num_returns=len(every), timeout=0)
        for each in ended:
            job = self.running.pop(each)
            try:
                outcomes.append(self.ray.get(each))
            except self.ray.exceptions.RayTaskError as error:
                reason = f"its node cannot do it: {_last_line(error)}"
                outcomes.append(Outcome(job.key, "failed", 0.0, reason))
            except self.ray.exceptions.RayError as error:
                reason = f"its worker died, {_RETRIES + 1} times: {_first_line(error)}"
                outcomes.append(Outcome(job.key, "failed", 0.0, reason))
        return outcomes

    def close(self) -> None:
        """End all that is at work, and the cluster if it was started here; any other stays as it was."""
        for each in self.running:
            self.ray.cancel(each, force=True)
        self.running = {}
        self.seen.unlink(missing_ok=True)
        if self.connected:
            self.ray.shutdown()
            self.connected = False

    def _most(self) -> dict[str, float]:
        """Return the most that a node has of each resource."""
        most: dict[str, float] = {}
        for node in self.ray.nodes():
            if node["Alive"]:
                for name, amount in node["Resources"].items():
                    most[name] = max(most.get(name, 0.0), amount)
        return most

    def _look(self) -> None:
        """Ask every node what it sees."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ask = self.ray.remote(num_cpus=0)(_sees)
        asked = {}
        for node in self.ray.nodes():
            if node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                asked[ask.options(scheduling_strategy=there).remote(str(self.seen))] = node["NodeManagerAddress"]
        answered, silent = self.ray.wait(list(asked), num_returns=len(asked), timeout=_WAIT)
        faults = {asked[each]: f"it does not answer within {_WAIT:g} s" for each in silent}
        for each in answered:
            try:
                sees, version = self.ray.get(each)
            except self.ray.exceptions.RayError as error:
                faults[asked[each]] = _last_line(error)
                continue
            if version != poolscope.__version__:
                faults[asked[each]] = f"it has poolscope {version}, not {poolscope.__version__}"
            elif not sees:
                faults[asked[each]] = "it does not see the folder"
        if faults:
            first = next(iter(faults))
            more = f" (and {len(faults) - 1} more nodes)" if len(faults) > 1 else ""
            raise ValueError(
                f"every node of a Ray cluster must reach the store, by a network file system, and have this poolscope; "
                f"got {self.store} and node {first}: {faults[first]}{more}"
            )


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(f"the executor ray needs Ray: pip install 'poolscope[ray]'; {error}") from error
    return ray


def _connect(ray: Any, cores: int) -> None:
    """Join the cluster of ``RAY_ADDRESS``, or start one of this machine's cores that ends with this process."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, **quiet)
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it tells its makers of every cluster otherwise
    ray.init(address="local", num_cpus=cores, object_store_memory=_OBJECTS, include_dashboard=False, **quiet)


def _perform(store: str, job: dict[str, Any], seen: str) -> Outcome:
    """Do a job on a node; one that joined the cluster late may not have the store."""
    if not Path(seen).is_file():
        return Outcome(job["key"], "failed", 0.0, f"every node must reach the store; {platform.node()} does not")
    return perform(store, job)


def _sees(path: str) -> tuple[bool, str]:
    return Path(path).is_file(), poolscope.__version__


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


def _last_line(error: Exception) -> str:
    """Return what a traceback from a node ends with."""
    return str(error).strip().splitlines()[-1].strip()
