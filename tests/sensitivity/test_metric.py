"""The metric: the estimate from all images at once, however they arrive, wherever they are, and whoever merges them."""

import copy
import json
import math
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

import poolscope as ps
from helpers import seeded
from poolscope._torchvision import import_torchmetrics
from poolscope.sensitivity.estimate import epsilon, estimate
from poolscope.sensitivity.sums import REFERENCE_IMAGES

Batch = tuple[Tensor, Tensor, Tensor]

EXACT = ("D", "G", "R", "deformation_power", "noise_power", "spread")
ERRORS = ("D_se", "G_se", "R_se")
NUMBERS = (*EXACT, *ERRORS, "R_low", "R_high")

#: Of standard errors, if other images make the reference c: by each, the variance of q is 1 + 2 / 16 times too large on
#: average (Gaussian f), a standard error 1 + 1 / 16; twice that for the scatter of c.
OTHER_REFERENCE = 2 / REFERENCE_IMAGES


def case(
    images: int = 60, *, mean: float = 5.0, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = (2, 3)
) -> Batch:
    """f(x), f(τx), f(x + η), each image of its own size."""
    generator = seeded(0)
    clean = torch.randn(images, *shape, generator=generator, dtype=torch.float64)
    clean *= 1 + torch.rand(images, *(1 for _ in shape), generator=generator, dtype=torch.float64)
    moved = clean + 0.1 * clean.abs() * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return tuple((part + mean).to(dtype) for part in (clean, moved, noisy))


def at_once(clean: Tensor, moved: Tensor, noisy: Tensor, *, identical_pairs: bool = False) -> dict[str, Any]:
    """Estimate from all images in float64, c the mean of the first 16, without the streaming sums."""
    f, f_moved, f_noisy = (part.double().flatten(1) for part in (clean, moved, noisy))
    c = f[:REFERENCE_IMAGES].mean(dim=0)
    powers = [(f_moved - f).square().sum(dim=1), (f_noisy - f).square().sum(dim=1), 2 * (f - c).square().sum(dim=1)]
    rows = torch.stack(powers)
    return estimate(
        len(f),
        rows.mean(dim=1),
        torch.cov(rows),
        float((f.mean(dim=0) - c).square().sum()),
        float(f.mean(dim=0).square().sum()),
        eps=epsilon(clean.dtype),
        identical_pairs=identical_pairs,
    ).columns()


def assert_same(
    found: dict[str, Any], expected: dict[str, Any], tolerance: float, names: tuple[str, ...] = NUMBERS
) -> None:
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=tolerance), name
    assert found["note"] == expected["note"]


def fed(batch: Batch, cuts: list[int] | None = None, **options: bool) -> ps.Sensitivity:
    metric = ps.Sensitivity(**options)
    for parts in zip(*(part.tensor_split(cuts or []) for part in batch), strict=True):
        metric.update(*parts)
    return metric


@settings(max_examples=50)
@given(cuts=st.sets(st.integers(1, 59)))
def test_batching_changes_nothing(cuts: set[int]) -> None:
    found = fed(case(), sorted(cuts)).compute()
    assert found["images"] == 60
    assert_same(found, at_once(*case()), 1e-12)  # means near 5, differences near 0.1: 50 · 2^-53 a term


@pytest.mark.parametrize("size", [1, 7, 16, 60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_less_precise_representations(size: int, dtype: torch.dtype) -> None:
    batch = case(dtype=dtype)
    # The oracle has the same rounded numbers and takes their differences in float64. In float32 a difference of two
    # numbers of one type is exact nearly always; f - c, |f|² and the sums are good to a few 2^-24.
    assert_same(fed(batch, list(range(size, 60, size))).compute(), at_once(*batch), 1e-5)


@pytest.mark.parametrize("images", [2, 3, REFERENCE_IMAGES - 1, REFERENCE_IMAGES, REFERENCE_IMAGES + 1])
def test_few_images(images: int) -> None:
    batch = case(images)
    assert_same(fed(batch, list(range(1, images))).compute(), at_once(*batch), 1e-12)


def test_large_means_do_not_cancel() -> None:
    batch = case(mean=1e6)  # 1e6 · 2^-53 = 1e-10 beside 0.1
    assert_same(fed(batch, [1, 20]).compute(), at_once(*batch), 1e-8)
    assert_same(fed(batch, [1, 20]).compute(), at_once(*case(mean=0)), 1e-8)


def test_equal_pairs() -> None:
    found = fed(case(), [7], identical_pairs=True).compute()
    assert_same(found, at_once(*case(), identical_pairs=True), 1e-12)
    assert found["D"] == pytest.approx(60 / 59 * fed(case()).compute()["D"], rel=1e-12)


def test_batches_of_unlike_precision() -> None:
    clean, moved, noisy = case(mean=1e5, dtype=torch.float32)
    for first, second in ((torch.float64, torch.float32), (torch.float32, torch.float64)):
        metric = ps.Sensitivity()
        metric.update(*(part[:40].to(first) for part in (clean, moved, noisy)))
        metric.update(*(part[40:].to(second) for part in (clean, moved, noisy)))
        # The reference, near 1e5, is one number for both: rounded for one of them it would be off by 1e5 · 2^-24.
        assert_same(metric.compute(), at_once(clean, moved, noisy), 1e-6, EXACT)
        assert_same(metric.compute(), at_once(clean, moved, noisy), 1e-3, ERRORS)  # of a c rounded to float32: by 0.004
        assert float(metric.eps) == epsilon(torch.float32)  # the coarsest of the two


def test_a_constant_representation_and_one_that_is_not_finite() -> None:
    clean, moved, noisy = case()
    constant = fed((clean[:1].expand_as(clean), moved, noisy)).compute()
    assert constant["note"].startswith("constant")
    assert math.isnan(constant["D"])
    moved[50] = math.inf
    infinite = fed((clean, moved, noisy)).compute()
    assert infinite["note"] == "not finite"
    assert math.isnan(infinite["D"])


@settings(max_examples=40)
@given(cuts=st.sets(st.integers(1, 59), max_size=4), order=st.randoms(use_true_random=False))
def test_merging_is_exact(cuts: set[int], order: Random) -> None:
    parts = [fed(part) for part in zip(*(t.tensor_split(sorted(cuts)) for t in case()), strict=True)]
    parts += [ps.Sensitivity(), ps.Sensitivity()]  # without images
    order.shuffle(parts)
    first, *others = parts
    for other in others:
        first.merge_state(other)
    found = first.compute()
    assert found["images"] == 60
    assert_same(found, at_once(*case()), 1e-12, EXACT)


def test_errors_after_merging_differ_by_the_reference_alone() -> None:
    batch = case(400)
    merged = fed(tuple(part[:150] for part in batch))
    merged.merge_state(fed(tuple(part[150:] for part in batch)))
    whole = at_once(*batch)
    assert_same(merged.compute(), whole, OTHER_REFERENCE, ERRORS)
    # R has no denominator that c enters
    assert_same(merged.compute(), whole, 1e-12, ("R_se", "R_low", "R_high"))
    # and it is the two groups' own covariances which are merged, exactly
    assert merged.compute()["D_se"] == pytest.approx(_merged_by_definition(batch, 150), rel=1e-12)


def _merged_by_definition(batch: Batch, cut: int) -> float:
    """Return D's standard error from q about each group's own c, their means moved to the first group's."""
    f, f_moved, _ = (part.flatten(1) for part in batch)
    groups = (slice(cut), slice(cut, None))
    a = (f_moved - f).square().sum(dim=1)
    q = torch.cat([2 * (f[g] - f[g][:REFERENCE_IMAGES].mean(dim=0)).square().sum(dim=1) for g in groups])
    about_first = 2 * (f - f[:REFERENCE_IMAGES].mean(dim=0)).square().sum(dim=1)
    for group in groups:
        q[group] += about_first[group].mean() - q[group].mean()
    spread = 2 * (f - f.mean(dim=0)).square().sum(dim=1).mean()
    influence = a / a.mean() - q / spread
    count = len(f)
    return float(a.mean() / (spread * count / (count - 1)) * influence.std() / math.sqrt(count))


def test_a_merge_is_seen_by_the_next_compute() -> None:
    halves = [tuple(part[:30] for part in case()), tuple(part[30:] for part in case())]
    metric = fed(halves[0])
    metric.compute()  # torchmetrics keeps this for the next call
    metric.merge_state(fed(halves[1]))
    assert metric.compute()["images"] == 60


def test_merging_leaves_the_other_as_it_was_and_both_go_on() -> None:
    batch = case()
    one, other = fed(tuple(part[:10] for part in batch)), fed(tuple(part[10:30] for part in batch))
    before = other.compute()
    one.merge_state(other)
    one.update(*(part[30:] for part in batch))
    assert_same(one.compute(), at_once(*batch), 1e-12, EXACT)
    assert other.compute() == before
    empty = ps.Sensitivity()
    empty.merge_state(other)
    empty.update(*(part[30:] for part in batch))
    assert other.compute() == before
    assert_same(empty.compute(), at_once(*(part[10:] for part in batch)), 1e-12)


@pytest.mark.parametrize("images", [5, 60], ids=["before the reference", "after"])
def test_copies_are_equal_and_apart(images: int, tmp_path: Path) -> None:
    batch = case(images)
    metric = fed(batch, [3])
    expected = metric.compute()
    data = pickle.dumps(metric)
    assert len(data) < 20_000, "a pickle holds the state, no temporaries"
    torch.save(metric, tmp_path / "metric.pt")
    copies = [
        metric.clone(),
        copy.deepcopy(metric),
        pickle.loads(data),
        torch.load(tmp_path / "metric.pt", weights_only=False),
    ]
    for other in copies:
        assert other.compute() == expected
        other.update(*case())
        assert other.compute()["images"] == images + 60
    assert metric.compute() == expected


@pytest.mark.parametrize("images", [5, 60], ids=["before the reference", "after"])
def test_a_state_dict_resumes(images: int) -> None:
    metric = fed(tuple(part[:images] for part in case(80)))
    metric.persistent(True)
    saved = copy.deepcopy(metric.state_dict())
    resumed = ps.Sensitivity()
    resumed.load_state_dict(saved)
    for one in (metric, resumed):
        one.update(*(part[images:] for part in case(80)))
    assert resumed.compute() == metric.compute()
    assert_same(resumed.compute(), at_once(*case(80)), 1e-12)


def test_reset_starts_anew_even_with_other_features() -> None:
    metric = fed(case())
    metric.reset()
    metric.update(*case(20, shape=(4,), dtype=torch.float32))
    fresh = fed(case(20, shape=(4,), dtype=torch.float32))
    assert metric.compute() == fresh.compute()
    metric.update(*case(3, shape=(4,)))
    metric.reset()
    metric.update(*case(3, shape=(5,)))
    metric.reset()
    assert metric.count == 0
    metric.update(*case(1))
    with pytest.raises(ValueError, match="at least 2 images"):
        metric.compute()


def test_to_a_device_and_types() -> None:
    metric = fed(case(dtype=torch.float32), [20]).to("cpu")
    expected = metric.compute()
    assert metric.float().half().double().compute() == expected  # torchmetrics: states keep their type
    assert metric.count.dtype == torch.int64


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    batch = case(dtype=torch.float32)
    metric = ps.Sensitivity().to("cuda")
    for part in zip(*(t.cuda().tensor_split([5, 30]) for t in batch), strict=True):
        metric.update(*part)
    assert metric.centre.device.type == "cuda"
    assert_same(metric.compute(), at_once(*batch), 1e-5)
    on_cpu = ps.Sensitivity()
    on_cpu.merge_state(metric)
    assert_same(on_cpu.compute(), at_once(*batch), 1e-5)
    assert_same(metric.to("cpu").compute(), at_once(*batch), 1e-5)


def test_called_as_a_function_it_returns_the_batch_and_keeps_all() -> None:
    batch = case()
    metric = ps.Sensitivity()
    for part in zip(*(t.tensor_split([20, 23]) for t in batch), strict=True):
        assert_same(metric(*part), at_once(*part), 1e-12)
    assert_same(metric.compute(), at_once(*batch), 1e-12)


def test_called_with_one_image_it_refuses_and_keeps_what_it_has() -> None:
    metric = fed(case())
    expected = metric.compute()
    with pytest.raises(ValueError, match=r"at least 2 images.*update takes fewer; got 1"):
        metric(*(part[:1] for part in case()))
    assert metric.compute() == expected


def test_gradients_do_not_pass() -> None:
    clean, moved, noisy = case(20)
    metric = ps.Sensitivity()
    metric(clean.requires_grad_(), moved, noisy)  # torchmetrics lets gradients pass here, not in update
    assert not metric.centre.requires_grad
    assert not metric.offset.requires_grad


def test_in_a_collection() -> None:
    MetricCollection = import_torchmetrics().MetricCollection
    collection = MetricCollection(
        {"text": ps.Sensitivity(), "published": ps.Sensitivity(identical_pairs=True)}, compute_groups=True
    )
    for part in zip(*(t.tensor_split([5, 30, 50]) for t in case()), strict=True):
        collection.update(*part)
    assert len(collection.compute_groups) == 1  # their states are equal, and kept once
    found = collection.compute()
    text, published = at_once(*case()), at_once(*case(), identical_pairs=True)
    for name in NUMBERS:
        assert found[f"text_{name}"] == pytest.approx(text[name], rel=1e-12)
        assert found[f"published_{name}"] == pytest.approx(published[name], rel=1e-12)


def test_refused_inputs() -> None:
    metric = ps.Sensitivity()
    clean, moved, noisy = case()
    with pytest.raises(TypeError, match=r"noisy must be floating point.*torch.int64"):
        metric.update(clean, moved, noisy.long())
    with pytest.raises(ValueError, match=r"same images.*\(60, 2, 3\), \(59, 2, 3\), \(60, 2, 3\)"):
        metric.update(clean, moved[1:], noisy)
    with pytest.raises(ValueError, match=r"same images.*\(60, 2, 3\), \(60, 2, 3\), \(60, 6\)"):
        metric.update(clean, moved, noisy.flatten(1))
    with pytest.raises(ValueError, match=r"at least one; got shapes \(0, 2, 3\)"):
        metric.update(clean[:0], moved[:0], noisy[:0])
    with pytest.raises(ValueError, match=r"one a row, at least one; got shapes \(\)"):
        metric.update(clean[0, 0, 0], moved[0, 0, 0], noisy[0, 0, 0])
    metric.update(clean[:1], moved[:1], noisy[:1])
    with pytest.raises(ValueError, match=r"at least 2 images.*got 1"):
        metric.compute()
    for batch in (case(5, shape=(7,)), case(30, shape=(7,))):
        with pytest.raises(ValueError, match=r"6 features of the first; got 7"):
            metric.update(*batch)
    metric.update(clean[1:], moved[1:], noisy[1:])
    with pytest.raises(ValueError, match=r"6 features of the first; got 7"):
        metric.update(*case(30, shape=(7,)))
    with pytest.raises(ValueError, match=r"same number of features; got 6 and 7"):
        metric.merge_state(fed(case(shape=(7,))))
    with pytest.raises(TypeError, match="only another Sensitivity can be merged in; got dict"):
        metric.merge_state({})
    assert_same(metric.compute(), at_once(clean, moved, noisy), 1e-12)  # nothing of the above was counted


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric Sensitivity was called before")
def test_no_images_at_all() -> None:
    with pytest.raises(ValueError, match=r"at least 2 images.*got 0"):
        ps.Sensitivity().compute()


WORKER = """
    import json, sys
    import torch
    import torch.distributed as dist
    import poolscope as ps

    folder, rank = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=3)
    batch = torch.load(f"{folder}/batch.pt")
    pair = dist.new_group([0, 1])

    def fed(*bounds, dtype=torch.float64, group=None):
        metric = ps.Sensitivity(process_group=group)
        for start, stop in zip(bounds, bounds[1:]):
            metric.update(*(part[start:stop].to(dtype) for part in batch))
        return metric

    results = {}
    metric = fed(*[(0, 50, 101), (101, 150), (150, 160, 340)][rank])
    results["three"] = metric.compute()
    start = 340 + 20 * rank
    metric.update(*(part[start : start + 20] for part in batch))
    results["three, going on"] = metric.compute()
    if rank < 2:
        results["two"] = fed(*[(0, 200), (200, 300, 400)][rank], group=pair).compute()
    results["one without images"] = fed(*[(0, 250), (0,), (250, 400)][rank]).compute()
    results["few images each"] = fed(*[(0, 3), (3, 4, 8), (8, 9)][rank]).compute()
    dtype = [torch.float32, torch.float64, torch.bfloat16][rank]
    results["unlike types"] = fed(*[(0, 100), (100, 200), (200, 400)][rank], dtype=dtype).compute()
    unlike = ps.Sensitivity()
    unlike.update(*(part[:20, : 3 + rank % 2] for part in batch))
    try:
        unlike.compute()
    except ValueError as error:
        results["refused"] = str(error)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(results, file)
    dist.barrier()
    dist.destroy_process_group()
"""


@pytest.fixture(scope="module")
def from_processes(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> list[dict[str, Any]]:
    """What each of three gloo processes found."""
    folder = tmp_path_factory.mktemp("gloo")
    torch.save(_flat(case(400)), folder / "batch.pt")
    environment = {**os.environ, "PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder)]
    started = [
        subprocess.Popen([*command, str(rank)], env=environment, stderr=subprocess.PIPE, text=True) for rank in range(3)
    ]
    try:
        errors = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(3)]


def _flat(batch: Batch) -> Batch:
    return tuple(part.flatten(1) for part in batch)


@pytest.mark.parametrize(
    ("name", "images", "processes"),
    [("three", 340, 3), ("three, going on", 400, 3), ("two", 400, 2), ("one without images", 400, 3)],
)
def test_processes_together_find_what_one_does(
    from_processes: list[dict[str, Any]], name: str, images: int, processes: int
) -> None:
    whole = at_once(*(part[:images] for part in case(400)))
    for results in from_processes[:processes]:
        found = results[name]
        assert found["images"] == images
        assert_same(found, whole, 1e-12, (*EXACT, "R_se", "R_low", "R_high"))
        assert_same(found, whole, OTHER_REFERENCE, ERRORS)
        assert found == from_processes[0][name], "all processes have the same numbers"


def test_processes_with_fewer_images_than_make_a_reference(from_processes: list[dict[str, Any]]) -> None:
    found = from_processes[2]["few images each"]
    assert found["images"] == 9
    assert_same(found, at_once(*(part[:9] for part in case(400))), 1e-12, EXACT)


def test_processes_of_unlike_precision(from_processes: list[dict[str, Any]]) -> None:
    types = [(0, 100, torch.float32), (100, 200, torch.float64), (200, 400, torch.bfloat16)]
    rounded = tuple(
        torch.cat([part[start:stop].to(dtype).double() for start, stop, dtype in types]) for part in _flat(case(400))
    )
    # differences of float32 are good to 2^-24, but each f - c is about the same c in all of its sums
    assert_same(from_processes[1]["unlike types"], at_once(*rounded), 1e-6, EXACT)


def test_processes_with_unlike_features_are_told(from_processes: list[dict[str, Any]]) -> None:
    for results in from_processes:
        assert results["refused"] == "all processes must have the same number of features; got [3, 4]"
