"""Scale detection (section 3): two active pixels on an empty background, labelled by how far apart they are."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

Boundary = Literal["periodic", "open"]
Norm = Literal["euclidean", "max"]
GapRule = Literal["closed", "half-open", "half-width"]
Labelling = Literal["text", "opposite"]
Pixels = Literal["all", "off-diagonal"]

Pairs = Int64[Tensor, "pairs 2 dim"]


@dataclass(frozen=True)
class ScaleDetection:
    """One finite task: every allowed pair of distinct pixels is an image.

    Task 1: +1 ("near") if the pixels' distance d is below the scale ξ, -1 ("far") above it; distances in the gap about
    ξ, and ξ itself, do not occur. Task 2: the image is cut into patches of ξ pixels a side, from its first pixel on; +1
    if both pixels are in one patch, -1 otherwise.

    Args:
        task: 1 or 2.
        dim: 1, rows of ``length`` pixels, or 2, squares.
        length: L, pixels a side in which the two may be.
        scale: ξ, in pixels.
        gap: g, in pixels, of task 1.
        boundary: distances round the ring or torus ("periodic", default in one dimension, where networks are
            circular too), or not ("open", default in two, as published).
        norm: of distances in two dimensions.
        gap_rule: which distances are left out. "closed": ξ - g/2 <= d <= ξ + g/2 (the text, whose "in" must read "not
            in"); "half-open": d = ξ + g/2 stays, as far (the authors' 2D code); "half-width": ξ - g <= d < ξ + g (their
            1D code: twice the gap).
        labels: of task 2; "opposite": -1 within one patch (the authors' 2D "quadrant" task, contrary to the text).
        pixels: which may be active in two dimensions; "off-diagonal": those with row = column never are (a slip of the
            authors' 2D code).
        padding: empty pixels put around the image, which is then of length + 2 padding a side (the authors' 2D code has
            28 and pads by 2 for VGGs and AlexNet).
        pixel: value of an active pixel. "unit": a mean square of 1 a pixel, sqrt(L/2) in one dimension as in the text,
            L / sqrt(2) in two, on which the text is silent; "published": sqrt(L/2) and L²/2; or a number.

    Raises:
        ValueError: a choice that there is not, a gap or norm where it means nothing, or a task with one class.

    Source: section 3, figure 5; section 4.3 for the sizes 32, 11, 4 and 128, 32. With these, task 1 has 256 near and 80
    far pairs (192 and 48 by "half-width", 256 and 112 by "half-open"), task 2 1984 and 6144.
    """

    task: int = 1
    dim: int = 1
    length: int = 32
    scale: int = 11
    gap: float = 0.0
    boundary: Boundary | None = None
    norm: Norm = "euclidean"
    gap_rule: GapRule = "closed"
    labels: Labelling = "text"
    pixels: Pixels = "all"
    padding: int = 0
    pixel: Literal["unit", "published"] | float = "unit"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("task", self.task, (1, 2)),
            ("dim", self.dim, (1, 2)),
            ("boundary", self.boundary, (None, *get_args(Boundary))),
            ("norm", self.norm, get_args(Norm)),
            ("gap_rule", self.gap_rule, get_args(GapRule)),
            ("labels", self.labels, get_args(Labelling)),
            ("pixels", self.pixels, get_args(Pixels)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}; got {value!r}")
        for name, number, least in (("length", self.length, 3), ("scale", self.scale, 1), ("padding", self.padding, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ValueError(f"{name} must be a whole number of pixels, {least} or more; got {number!r}")
        if not 0 <= self.gap < math.inf:
            raise ValueError(f"gap must be a number of pixels, not negative; got {self.gap!r}")
        if isinstance(self.pixel, str) and self.pixel not in ("unit", "published"):
            raise ValueError(f"pixel must be unit, published or a number; got {self.pixel!r}")
        if not isinstance(self.pixel, str) and not 0 < self.pixel < math.inf:
            raise ValueError(f"pixel must be a positive number, the value of an active pixel; got {self.pixel!r}")
        if self.task == 1 and self.labels != "text":
            raise ValueError(f"labels are a choice of task 2; task 1 has y = sign(ξ - d); got {self.labels!r}")
        if self.task == 2 and (self.gap or self.gap_rule != "closed" or self.boundary or self.norm != "euclidean"):
            raise ValueError(
                "task 2 goes by patches, not by distances: gap, gap_rule, boundary and norm are of task 1; got "
                f"gap={self.gap:g}, gap_rule={self.gap_rule}, boundary={self.boundary}, norm={self.norm}"
            )
        if self.dim == 1 and (self.norm != "euclidean" or self.pixels != "all"):
            raise ValueError(
                f"norm and pixels are choices of two dimensions; got norm={self.norm}, pixels={self.pixels} in one"
            )
        near, far = self.counts
        if not near or not far:
            raise ValueError(
                f"both classes must occur; length {self.length}, scale {self.scale}, gap {self.gap:g} leave {near} "
                f"pairs with label +1 and {far} with -1"
            )

    @property
    def value(self) -> float:
        """What an active pixel has; the background is 0."""
        if isinstance(self.pixel, str):
            if self.dim == 1:
                return math.sqrt(self.length / 2)
            return self.length**2 / 2 if self.pixel == "published" else self.length / math.sqrt(2)
        return float(self.pixel)

    @property
    def is_periodic(self) -> bool:
        """Whether distances go round the ring or torus."""
        return self.boundary == "periodic" or (self.boundary is None and self.dim == 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image: (1, L) or (1, L, L), padding included."""
        return (1, *[self.length + 2 * self.padding] * self.dim)

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of pairs with labels +1 and -1."""
        signs = self.labels_of(self.pairs)
        return int((signs > 0).sum()), int((signs < 0).sum())

    @cached_property
    def pairs(self) -> Pairs:
        """All allowed pairs of distinct pixels, each once, in lexicographic order; positions without padding."""
        sites = self._sites()
        first, second = torch.combinations(torch.arange(len(sites)), 2).unbind(1)
        every = torch.stack([sites[first], sites[second]], dim=1)
        return every[self.labels_of(every) != 0]

    def distance(self, pairs: Pairs) -> Float64[Tensor, "pairs"]:
        """Return the distance d of the two pixels of each pair, in pixels.

        Args:
            pairs: positions (along the row; or row and column), from 0.
        """
        apart = (pairs[:, 0] - pairs[:, 1]).abs().double()
        if self.is_periodic:
            apart = torch.minimum(apart, self.length - apart)
        return apart.amax(1) if self.norm == "max" else apart.square().sum(1).sqrt()

    def labels_of(self, pairs: Pairs) -> Int64[Tensor, "pairs"]:
        """Return +1 or -1; 0 for pairs that are not allowed.

        Args:
            pairs: positions (along the row; or row and column), from 0.
        """
        if self.task == 2:
            patches = pairs.div(self.scale, rounding_mode="floor")
            same = (patches[:, 0] == patches[:, 1]).all(1)
            sign = 1 if self.labels == "text" else -1
            return torch.where(same, sign, -sign)
        distance, half = self.distance(pairs), self.gap if self.gap_rule == "half-width" else self.gap / 2
        near, far = distance < self.scale - half, distance > self.scale + half
        if self.gap_rule != "closed":
            far = distance >= self.scale + half
        return near.long() - far.long()

    def images(self, pairs: Pairs, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the images ``[N, 1, L]`` or ``[N, 1, L, L]``, padding included, |x|² = 2 value².

        Args:
            pairs: positions (along the row; or row and column), from 0, of distinct pixels.
            dtype: of the images.
        """
        images = torch.zeros(len(pairs), *self.shape, dtype=dtype)
        rows = torch.arange(len(pairs))
        for pixel in pairs.unbind(1):
            images[(rows, torch.zeros_like(rows), *(pixel + self.padding).unbind(1))] = self.value
        return images

    def _sites(self) -> Int64[Tensor, "sites dim"]:
        sites = torch.tensor(list(itertools.product(range(self.length), repeat=self.dim)))
        return sites[sites[:, 0] != sites[:, 1]] if self.pixels == "off-diagonal" else sites
