"""One seed, many independent streams: every random choice is a function of (seed, purpose, position) alone."""

from __future__ import annotations

import hashlib

import torch


def stream_seed(seed: int, purpose: str, *position: int) -> int:
    """Return 63 bits that depend on all of the arguments: a hash, since torch's CPU generator keeps only 32 of them.

    Args:
        seed: of the run.
        purpose: what the numbers are for, such as "order".
        position: where in the run, such as epoch and step.
    """
    key = f"{seed}/{purpose}/{'/'.join(map(str, position))}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def stream(seed: int, purpose: str, *position: int, device: torch.device | None = None) -> torch.Generator:
    """Return a generator of that stream, on the CPU unless told otherwise; arguments as for `stream_seed`."""
    return torch.Generator(device or "cpu").manual_seed(stream_seed(seed, purpose, *position))
