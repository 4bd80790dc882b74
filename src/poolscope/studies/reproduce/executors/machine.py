"""What this machine lets a process use."""

from __future__ import annotations

import os
from pathlib import Path

_GIB = 2**30
_GROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return the number of cores this process may run on, or the control group's share of them if that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def machine_memory() -> float:
    """Return the machine's memory, or the control group's if that is less, in GiB; 8 where it cannot be told."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    except (AttributeError, ValueError, OSError):
        return 8.0
    limit = _limit("memory.max")
    return min(total, int(limit) / _GIB) if limit.isdigit() else total


def _limit(name: str) -> str:
    """Return a limit of the control group in its own words; empty where there is none."""
    try:
        return (_GROUP / name).read_text().strip()
    except OSError:
        return ""
