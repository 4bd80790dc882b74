"""How fast a core of this machine is, beside that of the machine whose times estimates are made of."""

from __future__ import annotations

import time
from functools import lru_cache

import torch

from poolscope.training.folder import threads_of

# Seconds of `_task` on one core of an AMD EPYC 7003 (Milan) at 2.4 GHz, torch 2.13, the least of many.
_REFERENCE = 0.00060
_TRIES = 300


@lru_cache(maxsize=1)
def slowness() -> float:
    """Return how many times as long one core of this machine takes; measured once in a process, in about 0.3 s.

    The least of many tries counts, each of them shorter than what a processor shared with others gives at a time.
    """
    with threads_of(1), torch.no_grad():
        _task()
        return min(_seconds() for _ in range(_TRIES)) / _REFERENCE


def _seconds() -> float:
    began = time.perf_counter()
    _task()
    return time.perf_counter() - began


def _task() -> None:
    """Convolutions and matrix products, as in training; so small that the system is not asked for memory."""
    image, filters = torch.ones(1, 32, 24, 24), torch.ones(32, 32, 3, 3)
    matrix = torch.ones(160, 160)
    for _ in range(2):
        torch.nn.functional.conv2d(image, filters, padding=1).relu_()
        _ = matrix @ matrix
