"""Where jobs are done: on this machine's cores, or on a Ray cluster."""

from __future__ import annotations

from pathlib import Path

from poolscope.studies.reproduce.executors.executor import Executor

__all__ = ["NAMES", "Executor", "make_executor"]

NAMES = ("local", "ray")


def make_executor(name: str, store: Path, *, cores: int | None = None, memory: float | None = None) -> Executor:
    """Return an executor by its name.

    Args:
        name: "local" or "ray".
        store: folder, which must exist, and which every worker must reach.
        cores: of this machine, at most (default: all it may use); a Ray cluster that was there before has its own.
        memory: GiB of this machine, at most (default: nine tenths); "local" alone.

    Raises:
        ValueError: an unknown name, fewer than 1 core, no memory, or a node of the cluster without the store.
        ImportError: Ray is not installed.
        ConnectionError: no Ray cluster where there should be one.
    """
    if name == "local":
        from poolscope.studies.reproduce.executors.local import Local

        return Local(store, cores=cores, memory=memory)
    if name == "ray":
        from poolscope.studies.reproduce.executors.on_ray import OnRay

        return OnRay(store, cores=cores)
    raise ValueError(f"an executor must be one of {', '.join(NAMES)}; got {name!r}")
