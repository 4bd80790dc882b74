"""Gaussian corruption of normalised images, of a given expected norm: fresh at every call, or frozen for each image."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from poolscope.perturb.randomness import Purpose

# Number of the draw: measurements count theirs from 0, so that their noise never repeats an image's corruption.
_DRAW = 2**63


def corrupt(
    images: Float[Tensor, "images channels height width"], eta: float, *, generator: torch.Generator
) -> Float[Tensor, "images channels height width"]:
    """Normalised images with fresh Gaussian noise added, of expected squared norm ``eta``² an image.

    Every pixel value gets an independent normal number times eta / √(C·H·W). The root mean square norm is ``eta``
    exactly, the mean norm smaller by its share 1 / (4·C·H·W), 8e-5 at 3x32x32.

    Args:
        images: normalised images; the noise is drawn on their device, in their type.
        eta: expected norm of the noise of one image, in the units of the normalised images; at 0 nothing is drawn
            and the images themselves are returned.
        generator: source of all randomness, on the device of the images.

    Raises:
        ValueError: ``eta`` negative or not finite, or ``generator`` on another device than the images.

    Source: the paper's noisy CIFAR-10, η of figures 1 and C3 (0, 0.01, 0.1, 1, 10, 30, 100); its code draws so, in
    training and in testing, anew at every access and after the normalisation.
    """
    check_noise(eta)
    if generator.device.type != images.device.type:
        raise ValueError(
            f"generator must be on the device of the images, where the noise is drawn, {images.device}; got one on "
            f"{generator.device}"
        )
    if eta == 0:
        return images
    noise = torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
    return noise.mul_(eta / math.sqrt(images[0].numel())).add_(images)


def frozen_noise(
    indices: Int64[Tensor, "images"], shape: Sequence[int], eta: float, *, seed: int
) -> Float32[Tensor, "images ..."]:
    """Gaussian noise of expected squared norm ``eta``² that depends on (seed, image index) alone, on the CPU.

    Philox 4x64 with key (seed, noise) and a counter of its own for each image, and numpy's normal numbers: the same
    to the last bit whatever the batch, its order, or the number of threads (torch's, which share the work).

    Args:
        indices: each image's index in its data set. Two data sets, such as training and test images, share the noise
            of an index; give them different seeds.
        shape: of an image, as (C, H, W).
        eta: expected norm of the noise of one image.
        seed: 0 .. 2^64 - 1.

    Returns:
        One noise an image, to be added after normalisation; zeros at ``eta`` = 0.

    Raises:
        ValueError: ``eta`` negative or not finite, a negative index, or ``seed`` out of range.

    Source: as `corrupt`. The paper's code has fresh noise only; frozen noise makes a noisy data set that can be fitted,
    and measured again.
    """
    check_noise(eta, seed)
    if len(indices) and indices.min() < 0:
        raise ValueError(f"indices must not be negative, they count the images from 0; got {int(indices.min())}")
    noise = np.zeros((len(indices), *shape), dtype=np.float32)
    if eta == 0 or not noise.size:
        return torch.from_numpy(noise)
    numbers = indices.tolist()
    workers = min(torch.get_num_threads(), len(numbers))
    edges = np.linspace(0, len(numbers), workers + 1).astype(int).tolist()

    def fill(first: int, last: int) -> None:
        _fill(noise[first:last], numbers[first:last], seed)

    if workers == 1:
        fill(0, len(numbers))
    else:
        with ThreadPoolExecutor(workers) as pool:  # numpy lets go of Python's lock while it draws
            list(pool.map(fill, edges[:-1], edges[1:]))
    return torch.from_numpy(noise).mul_(eta / math.sqrt(noise[0].size))


def check_noise(eta: float, seed: int = 0) -> None:
    if not 0 <= eta < math.inf:
        raise ValueError(f"eta must be a finite norm of at least 0, the expected norm of an image's noise; got {eta}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"the seed of the noise must be in 0 .. 2**64 - 1, the key of a counter; got {seed}")


def _fill(rows: np.ndarray, indices: list[int], seed: int) -> None:
    """Standard normals into each row, from the stream of its index.

    One bit generator is set to one counter after another: building one for each image takes ten times as long.
    """
    philox = np.random.Philox(key=np.array([seed, int(Purpose.NOISE)], dtype=np.uint64))
    normals = np.random.Generator(philox)
    state = philox.state  # its buffer is empty, and stays so in this copy
    for row, index in zip(rows, indices, strict=True):
        state["state"]["counter"][:] = (0, 0, _DRAW, index)
        philox.state = state
        normals.standard_normal(dtype=np.float32, out=row)
