"""Where random numbers come from: a generator in the caller's hand, or a counter keyed by image and draw."""

from __future__ import annotations

import enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


class Purpose(enum.IntEnum):
    """Which stream of a key a number belongs to, so that deformation and noise never share random numbers."""

    DEFORMATION = 1
    NOISE = 2
    LIBRARY = 3


@runtime_checkable  # the tests check annotations
class Randomness(Protocol):
    """Normal and uniform numbers, one independent row for each image of a batch."""

    batch: int

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normals ``[batch, *shape]``, float32, on the source's device."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Draw uniforms on [0, 1) ``[batch, *shape]``, float32, on the source's device."""
        ...

    def again(self, rows: Tensor) -> Randomness:
        """Return a source of fresh numbers for the images ``rows`` (integer ``[n]``), as a second try needs."""
        ...


class GeneratorRandomness:
    """Numbers from a ``torch.Generator``, consumed in order."""

    def __init__(self, generator: torch.Generator, batch: int):
        self.generator = generator
        self.batch = batch

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(
            (self.batch, *shape), generator=self.generator, device=self.generator.device, dtype=torch.float32
        )

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(
            (self.batch, *shape), generator=self.generator, device=self.generator.device, dtype=torch.float32
        )

    def again(self, rows: Tensor) -> GeneratorRandomness:
        return GeneratorRandomness(self.generator, len(rows))


class KeyedRandomness:
    """Numbers that depend on (seed, image index, draw, purpose, attempt) alone.

    Philox 4x64 (Salmon et al., SC 2011) with key (seed, purpose) and a 256-bit counter whose upper words are
    (attempt, draw, index): streams of different images never overlap, whatever the batch, the order or the
    number of processes. Numbers are drawn on the CPU.

    Args:
        seed: 0 .. 2^64 - 1.
        indices: integer ``[batch]``, each image's index in its data set.
        draw: number of the draw, from 0.
        purpose: what the numbers are for.
        attempt: number of the try within a draw, from 0.
    """

    def __init__(self, seed: int, indices: Tensor, draw: int, purpose: Purpose, attempt: int = 0):
        self.seed = seed
        self.indices = indices
        self.draw = draw
        self.purpose = purpose
        self.attempt = attempt
        self.batch = len(indices)
        key = np.array([seed, int(purpose)], dtype=np.uint64)
        self._streams = [
            np.random.Generator(np.random.Philox(key=key, counter=np.array([0, attempt, draw, index], dtype=np.uint64)))
            for index in indices.tolist()
        ]

    def normal(self, *shape: int) -> Tensor:
        rows = np.empty((self.batch, *shape), dtype=np.float32)
        for stream, row in zip(self._streams, rows, strict=True):
            stream.standard_normal(dtype=np.float32, out=row)
        return torch.from_numpy(rows)

    def uniform(self, *shape: int) -> Tensor:
        rows = np.empty((self.batch, *shape), dtype=np.float32)
        for stream, row in zip(self._streams, rows, strict=True):
            stream.random(dtype=np.float32, out=row)
        return torch.from_numpy(rows)

    def again(self, rows: Tensor) -> KeyedRandomness:
        return KeyedRandomness(self.seed, self.indices[rows], self.draw, self.purpose, self.attempt + 1)

    def generators(self) -> list[torch.Generator]:
        """Return one CPU ``torch.Generator`` an image, for samplers that are not poolscope's own.

        Torch's CPU generator keeps 32 bits of its seed, so each seed is drawn from the image's stream (a hash), not
        added up: two of n images share a seed with probability about n² / 2^33.
        """
        seeds = [int(stream.integers(2**32)) for stream in self._streams]
        return [torch.Generator().manual_seed(seed) for seed in seeds]


class DeviceRandomness(KeyedRandomness):
    """The same keys, but normals drawn by the device's own generator: faster for large images on a GPU.

    Each image's generator is seeded with 63 bits from its Philox stream, a hash of the key (32 of them count on the
    CPU). The numbers are other ones than the CPU's, and may differ between kinds of device.

    Args:
        device: where numbers are drawn.
        arguments: as for ``KeyedRandomness``.
    """

    def __init__(self, device: torch.device, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.device = device

    def normal(self, *shape: int) -> Tensor:
        generator = torch.Generator(self.device)
        rows = torch.empty(self.batch, *shape, dtype=torch.float32, device=self.device)
        for stream, row in zip(self._streams, rows, strict=True):
            row.normal_(generator=generator.manual_seed(int(stream.integers(2**63))))
        return rows
