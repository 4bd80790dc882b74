"""Streams of random numbers: a function of seed, purpose and position, and of nothing else."""

import hashlib
import itertools

import torch

from poolscope.training.seeds import stream, stream_seed


def test_the_hash_is_that_of_the_text() -> None:
    # A change here gives every configuration other weights: raise VERSION in training/configuration.py with it.
    first = hashlib.blake2b(b"3/order/1/2", digest_size=8).hexdigest()
    assert stream_seed(3, "order", 1, 2) == int(first, 16) // 2
    assert stream_seed(0, "weights") == int(hashlib.blake2b(b"0/weights/", digest_size=8).hexdigest(), 16) // 2


def test_no_two_streams_are_alike() -> None:
    places = [
        (seed, purpose, *position)
        for seed, purpose in itertools.product(range(12), ("order", "noise"))
        for position in [(), *((epoch,) for epoch in range(12)), *itertools.product(range(12), range(12))]
    ]
    seeds = {stream_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_begins_anew_each_time_and_leaves_the_others_alone() -> None:
    before = torch.get_rng_state()
    first = torch.rand(5, generator=stream(1, "order", 2))
    assert torch.equal(first, torch.rand(5, generator=stream(1, "order", 2)))
    assert not torch.equal(first, torch.rand(5, generator=stream(1, "order", 3)))
    assert torch.equal(torch.get_rng_state(), before)
