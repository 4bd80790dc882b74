"""Keyed random numbers against Philox written out, and independent of batches."""

import math

import pytest
import torch

from helpers import seeded
from poolscope.perturb.randomness import GeneratorRandomness, KeyedRandomness, Purpose

WORD = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64 with ten rounds, as in Salmon et al., SC 2011."""
    c, k = list(counter), list(key)
    for _ in range(10):
        low, high = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(high >> 64) ^ c[1] ^ k[0], high & WORD, (low >> 64) ^ c[3] ^ k[1], low & WORD]
        k = [(k[0] + 0x9E3779B97F4A7C15) & WORD, (k[1] + 0xBB67AE8584CAA73B) & WORD]
    return c


def test_philox_gives_the_published_answers():
    # The three vectors of Random123's known-answer tests for philox4x64-10.
    assert philox([0] * 4, [0] * 2) == [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ones = philox([WORD] * 4, [WORD] * 2)
    assert ones == [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    digits_of_pi = [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89]
    answer = philox(digits_of_pi, [0x452821E638D01377, 0xBE5466CF34E90C6C])
    assert answer == [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6]


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
@pytest.mark.parametrize(("index", "draw", "attempt"), [(0, 0, 0), (5, 0, 0), (5, 3, 0), (123456, 3, 2)])
def test_uniform_numbers_are_philox_of_the_key(seed: int, index: int, draw: int, attempt: int):
    words = []
    for block in (1, 2):  # numpy counts up before each block; word 0 of the counter is the block's number
        words += philox([block, attempt, draw, index], [seed, Purpose.NOISE])
    halves = [half for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    expected = torch.tensor([(half >> 8) / 2**24 for half in halves])
    randomness = KeyedRandomness(seed, torch.tensor([index]), draw, Purpose.NOISE, attempt)
    assert torch.equal(randomness.uniform(16)[0], expected)


INDICES = torch.tensor([0, 3, 1, 4, 1_000_000, 5, 9, 2])


@pytest.mark.parametrize("method", ["normal", "uniform"])
@pytest.mark.parametrize("cuts", [[], [1], [3, 4], list(range(1, 8))])
def test_rows_depend_on_the_index_alone(method: str, cuts: list[int]):
    whole = getattr(KeyedRandomness(1, INDICES, 2, Purpose.DEFORMATION), method)(2, 6)
    parts = [
        getattr(KeyedRandomness(1, part, 2, Purpose.DEFORMATION), method)(2, 6) for part in INDICES.tensor_split(cuts)
    ]
    assert torch.equal(torch.cat(parts), whole)
    order = torch.randperm(8, generator=seeded(0))
    assert torch.equal(getattr(KeyedRandomness(1, INDICES[order], 2, Purpose.DEFORMATION), method)(2, 6), whole[order])
    assert whole.dtype == torch.float32
    assert len(torch.unique(whole, dim=0)) == 8


def test_every_part_of_the_key_counts():
    keys = [
        (seed, draw, purpose, attempt, index)
        for seed in (0, 1)
        for draw in (0, 1)
        for purpose in Purpose
        for attempt in (0, 1)
        for index in (0, 1)
    ]
    rows = [
        KeyedRandomness(seed, torch.tensor([index]), draw, purpose, attempt).normal(4)
        for seed, draw, purpose, attempt, index in keys
    ]
    assert len(torch.unique(torch.cat(rows), dim=0)) == len(keys) == 48


def test_a_second_try_is_the_next_attempt_of_the_same_images():
    first = KeyedRandomness(1, INDICES, 0, Purpose.DEFORMATION)
    used = first.normal(5)
    second = first.again(torch.tensor([6, 1]))
    assert second.batch == 2
    expected = KeyedRandomness(1, torch.tensor([9, 3]), 0, Purpose.DEFORMATION, attempt=1).normal(5)
    assert torch.equal(second.normal(5), expected)
    assert not torch.equal(expected, used[[6, 1]])
    third = second.again(torch.tensor([1]))  # rows of the second source: image 3 again
    assert torch.equal(third.normal(5), KeyedRandomness(1, torch.tensor([3]), 0, Purpose.DEFORMATION, 2).normal(5))


def moments_agree(normal: torch.Tensor) -> None:
    values = normal.double().flatten()
    error = 1 / math.sqrt(values.numel())
    assert error < 0.005
    assert abs(values.mean()) < 5 * error
    assert abs(values.square().mean() - 1) < 5 * math.sqrt(2) * error
    assert abs(values.pow(4).mean() - 3) < 5 * math.sqrt(96) * error


def test_normals_are_standard_and_rows_uncorrelated():
    keyed = KeyedRandomness(3, torch.arange(500), 0, Purpose.NOISE).normal(100)
    moments_agree(keyed)
    moments_agree(GeneratorRandomness(seeded(0), 500).normal(100))
    # Consecutive indices and attempts share all but one bit of their counter.
    retry = KeyedRandomness(3, torch.arange(500), 0, Purpose.NOISE, attempt=1).normal(100)
    for left, right in ((keyed[:-1], keyed[1:]), (keyed, retry)):
        assert abs((left * right).mean()) < 5 / math.sqrt(left.numel())


def test_generators_are_reproducible_and_differ():
    generators = KeyedRandomness(1, INDICES, 0, Purpose.LIBRARY).generators()
    seeds = [generator.initial_seed() for generator in generators]
    assert all(0 <= seed < 2**32 for seed in seeds)  # what a CPU generator keeps
    assert len(set(seeds)) == 8
    again = KeyedRandomness(1, INDICES[[4]], 0, Purpose.LIBRARY).generators()
    assert again[0].initial_seed() == seeds[4]
    assert torch.equal(torch.rand(3, generator=again[0]), torch.rand(3, generator=generators[4]))


def test_float32_whatever_the_default():
    torch.set_default_dtype(torch.float64)
    try:
        numbers = GeneratorRandomness(seeded(0), 4).normal(3), GeneratorRandomness(seeded(0), 4).uniform(3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(numbers[0], GeneratorRandomness(seeded(0), 4).normal(3))
    assert torch.equal(numbers[1], GeneratorRandomness(seeded(0), 4).uniform(3))


def test_generator_source_goes_on_from_where_it_was():
    generator = seeded(0)
    source = GeneratorRandomness(generator, 6)
    first, second = source.normal(2), source.again(torch.tensor([1, 4])).normal(2)
    expected = seeded(0)
    assert torch.equal(first, torch.randn(6, 2, generator=expected))
    assert torch.equal(second, torch.randn(2, 2, generator=expected))
