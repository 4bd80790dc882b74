"""Windows against torch's convolutions of pixel numbers, task 2's patches, and the published misalignment."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from poolscope.networks.windows import check_windows, reach, window_table

CONVOLUTIONS = (nn.functional.conv1d, nn.functional.conv2d)


def seen_by_torch(
    size: tuple[int, ...], filter_size: int, stride: int, left: int, right: int, outside: str
) -> list[list[int]]:
    """What each tap of each output sees: a convolution with one filter a tap, of images whose pixels are 1, 2, ..."""
    taps = filter_size ** len(size)
    numbers = torch.arange(1, math.prod(size) + 1, dtype=torch.float64).view(1, 1, *size)
    mode = "circular" if outside == "circular" else "constant"
    padded = nn.functional.pad(numbers, (left, right) * len(size), mode=mode)
    filters = torch.eye(taps, dtype=torch.float64).view(taps, 1, *[filter_size] * len(size))
    seen = CONVOLUTIONS[len(size) - 1](padded, filters, stride=stride)
    return (seen.flatten(2)[0].T - 1).round().long().tolist()


@given(
    dim=st.sampled_from([1, 2]),
    filter_size=st.integers(1, 6),
    is_strided=st.booleans(),
    windows=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    outside=st.sampled_from(["circular", "zero"]),
    alignment=st.sampled_from(["patches", "centred"]),
)
def test_windows_are_those_of_torch(
    dim: int, filter_size: int, is_strided: bool, windows: list[int], outside: Any, alignment: Any
) -> None:
    stride = filter_size if is_strided else 1
    size = tuple(number * max(stride, filter_size) for number in windows[:dim])
    left = reach(filter_size, stride, alignment)
    right = filter_size - 1 - left if stride == 1 else 0
    table = window_table(size, filter_size, stride, outside, alignment)
    assert table.tolist() == seen_by_torch(size, filter_size, stride, left, right, outside)
    assert table.shape == (math.prod(side // stride for side in size), filter_size**dim)


def test_windows_of_stride_one_are_centred_on_their_pixel() -> None:
    assert window_table((5,), 3, 1, "circular", "patches").tolist() == [
        [4, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0],
    ]  # fmt: skip
    assert window_table((4,), 3, 1, "zero", "patches").tolist() == [[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]]
    # even ones as in the authors' code: F/2 - 1 to the left, F/2 to the right
    assert window_table((5,), 2, 1, "circular", "centred").tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0]]
    assert [reach(size, 1, "patches") for size in (1, 2, 3, 4, 5)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("filter_size", [2, 3, 4])
def test_windows_of_stride_f_are_the_patches_of_task_2(dim: int, filter_size: int) -> None:
    size = (2 * filter_size,) * dim
    table = window_table(size, filter_size, filter_size, "circular", "patches")
    pixels = torch.cartesian_prod(*[torch.arange(side) for side in size]).view(-1, dim)
    patches = pixels.div(filter_size, rounding_mode="floor")
    for taps in table:
        inside = patches[taps]
        assert (inside == inside[0]).all(), "a window crosses the border of a patch"
    assert sorted(table.flatten().tolist()) == list(range(math.prod(size))), "each pixel in one window"


def pooled(filter_size: int, alignment: Any, depth: int, length: int) -> set[int]:
    """Pixels that the first output after so many layers of stride F depends on, from -length/2 on."""
    below = {0}
    for layer in reversed(range(depth)):
        table = window_table((length // filter_size**layer,), filter_size, filter_size, "circular", alignment)
        below = {int(pixel) for output in below for pixel in table[output]}
    return {pixel - length if pixel > length // 2 else pixel for pixel in below}


def test_published_centred_windows_of_three_pixels_cross_the_patches() -> None:
    """At k = 2 patches of 9 pixels start at 0; the authors' padding pools -4 .. 4 instead."""
    assert pooled(3, "centred", 1, 27) == {-1, 0, 1}
    assert pooled(3, "centred", 2, 27) == set(range(-4, 5))
    assert pooled(3, "patches", 2, 27) == set(range(9))
    # of two pixels both are {0 .. 3}, not the {1 .. 4} of appendix A
    assert pooled(2, "centred", 2, 16) == pooled(2, "patches", 2, 16) == {0, 1, 2, 3}


@pytest.mark.parametrize("outside", ["circular", "zero"])
def test_published_windows_of_two_pixels_are_the_patches(outside: Any) -> None:
    for size in ((8,), (4, 6)):
        centred = window_table(size, 2, 2, outside, "centred")
        assert torch.equal(centred, window_table(size, 2, 2, outside, "patches"))
        assert centred.min() == 0


@pytest.mark.parametrize(
    ("filter_size", "stride", "outside", "alignment", "message"),
    [
        (0, 1, "circular", "patches", "filter_size must be a whole number of pixels, 1 or more; got 0"),
        (3, 2, "circular", "patches", "stride must be 1 or the filter size 3, as in section 4; got 2"),
        (3, 0, "circular", "patches", "stride must be 1 or the filter size 3.*got 0"),
        (3, 1, "mirror", "patches", "outside must be one of circular, zero; got 'mirror'"),
        (3, 1, "zero", "left", "alignment must be one of patches, centred; got 'left'"),
    ],
)
def test_windows_that_section_4_has_not(
    filter_size: int, stride: int, outside: str, alignment: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_windows(filter_size, stride, outside, alignment)


def test_a_last_window_that_sticks_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"multiples of its stride 2, or its last window would stick out; got 7$"):
        window_table((7,), 2, 2, "circular", "patches")
    with pytest.raises(ValueError, match=r"stride 3.*got 6x4$"):
        window_table((6, 4), 3, 3, "zero", "centred")
