"""Where jobs are done: on this machine's cores, or on a Ray cluster."""

from __future__ import annotations

from pathlib import Path

from poolscope.studies.reproduce.executors.executor import Executor

NAMES = ("local", "ray")


def make_executor(name: str, store: Path, *, cores: int | None = None, memory: float | None = None) -> Executor:
    """Return an executor by its name.

    Args:
        name: "local" or "ray".
        store: folder that every worker can reach.
        cores: of this machine, at most (default: all it may use); "local" alone.
        memory: GiB, at most (default: what the machine has); "local" alone.

    Raises:
        ValueError: an unknown name, or limits below 1 core or above 0 GiB.
        ImportError: Ray is not installed.
    """
    if name == "local":
        from poolscope.studies.reproduce.executors.local import Local

        return Local(store, cores=cores, memory=memory)
    if name == "ray":
        from poolscope.studies.reproduce.executors.on_ray import OnRay

        return OnRay(store)
    raise ValueError(f"an executor must be one of {', '.join(NAMES)}; got {name!r}")
