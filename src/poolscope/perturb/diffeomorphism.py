"""Maximum-entropy diffeomorphisms: smooth random displacement fields of a given size and smoothness."""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from poolscope._checks import check_positive
from poolscope.perturb.deformation import Deformation
from poolscope.perturb.folding import folds
from poolscope.perturb.modes import Modes, check_cutoff, field_from_coefficients, grid_from_coefficients
from poolscope.perturb.randomness import KeyedRandomness, Purpose, Randomness
from poolscope.perturb.warping import Interpolation, copy_frame, resample

Fold = Literal["warn", "redraw", "ignore"]
Norm = Literal["gaussian", "fixed"]

_MOST_TRIES = 16
_DRAWS_FOR_FOLDING = 512
_LARGEST_SIDE_FOR_FOLDING = 64


@dataclass
class Acceptance:
    """What ``fold="redraw"`` did so far: how many fields were tried and kept, and the rms of those kept, in pixels."""

    tried: int = 0
    kept: int = 0
    square_sum: float = 0.0

    @property
    def share(self) -> float:
        """Kept over tried; nan before the first field."""
        return self.kept / self.tried if self.tried else math.nan

    @property
    def rms(self) -> float:
        """Root mean square of |(dx, dy)| over pixels and the kept fields, in pixels; nan before the first field."""
        return math.sqrt(self.square_sum / self.kept) if self.kept else math.nan


class Diffeomorphism(Deformation):
    """Smooth random deformations of maximum entropy at a given mean gradient energy.

    Each of dx, dy is an independent sum of modes sin(iπx) sin(jπy) with i² + j² <= (cutoff + 1/2)² and Gaussian
    amplitudes of variance T / (i² + j²); zero on the image frame. One field an image, shared by its channels.

    Give at most one of ``displacement`` and ``temperature``.

    Args:
        displacement: true root mean square of |(dx, dy)| over pixels and draws, in pixels, at every size and cutoff
            (default: min(H, W) / 32). The published δ is the limit of many modes instead and falls short: see
            ``published``.
        cutoff: highest mode number along an axis, 1 .. min(H, W) - 2.
        temperature: T, with displacements in units of the shorter side.
        norm: ``"gaussian"`` amplitudes (the published code), or ``"fixed"``: every field is scaled to exactly the same
            rms over its pixels (the text's "fixed average displacement", section 2).
        fold: what to do about fields that fold the image: ``"warn"`` once if more than 1 % of draws do, ``"redraw"``
            them (at most 16 tries an image; ``acceptance`` says what that did to the ensemble), or ``"ignore"``.
        interpolation: of the resampling.

    Raises:
        ValueError: both or a negative displacement and temperature, cutoff below 1, or an unknown word.

    Source: Petrini et al., NeurIPS 2021; section 2 of the paper says "sampled uniformly", the code is Gaussian.
    """

    def __init__(
        self,
        displacement: float | None = None,
        cutoff: int = 3,
        *,
        temperature: float | None = None,
        norm: Norm = "gaussian",
        fold: Fold = "warn",
        interpolation: Interpolation = "bilinear",
    ):
        if displacement is not None and temperature is not None:
            raise ValueError(
                "displacement and temperature are two names for one amplitude, give one; "
                f"got displacement={displacement} and temperature={temperature}"
            )
        if displacement is not None:
            displacement = check_positive(displacement, "displacement", allow_zero=True)
        if temperature is not None:
            temperature = check_positive(temperature, "temperature", allow_zero=True)
        if not isinstance(cutoff, int) or isinstance(cutoff, bool) or cutoff < 1:
            raise ValueError(f"cutoff must be a whole number >= 1, the highest mode along an axis; got {cutoff!r}")
        for name, word, words in (
            ("norm", norm, get_args(Norm)),
            ("fold", fold, get_args(Fold)),
            ("interpolation", interpolation, get_args(Interpolation)),
        ):
            if word not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}; got {word!r}")
        self.cutoff = cutoff
        self.norm = norm
        self.fold = fold
        self.interpolation = interpolation
        self.acceptance = Acceptance()
        self._judged: set[Modes] = set()
        self._displacement = displacement
        self._temperature = temperature
        self._delta: float | None = None

    @classmethod
    def published(cls, delta: float = 1.0, cutoff: int = 3, **options: object) -> Diffeomorphism:
        """Return the authors' ensemble: temperature T = 4 δ² / (π n² ln c), where n is the image's side.

        δ is the large-c limit of the rms at the image centre; at n = 32 and c = 3, δ = 1 means a true rms of 0.816
        pixels over the image and 1.27 at its centre.

        Args:
            delta: δ in pixels.
            cutoff: c, 2 or more, since ln 1 = 0.
            options: as for ``Diffeomorphism``.

        Raises:
            ValueError: cutoff below 2, delta negative, or a second amplitude beside it.
        """
        if "temperature" in options:
            raise ValueError(f"delta fixes the temperature, leave that out; got temperature={options['temperature']}")
        if isinstance(cutoff, int) and cutoff == 1:
            raise ValueError(f"cutoff must be at least 2: the published temperature divides by ln(c); got {cutoff}")
        deformation = cls(None, cutoff, **options)  # type: ignore[arg-type]
        deformation._delta = check_positive(delta, "delta", allow_zero=True)
        return deformation

    def temperature(self, size: tuple[int, int]) -> float:
        """Return T for images of ``size`` (H, W); displacements are in units of the shorter side."""
        return (self._amplitude(size) / min(size)) ** 2

    def displacement(self, size: tuple[int, int]) -> float:
        """Return the rms of |(dx, dy)| over pixels and draws for images of ``size`` (H, W), in pixels."""
        if self._displacement is not None:
            check_cutoff(self.cutoff, *size)
            return self._displacement  # what was asked for, to the last bit
        return self._amplitude(size) * Modes(*size, self.cutoff).unit_rms

    def mean_square(self, size: tuple[int, int]) -> float:
        return self.displacement(size) ** 2

    def delta(self, size: tuple[int, int]) -> float:
        """Return the authors' δ = n sqrt(π T ln c) / 2 in pixels (nan at cutoff 1, where ln c = 0)."""
        return self._amplitude(size) * math.sqrt(math.pi * math.log(self.cutoff)) / 2 if self.cutoff > 1 else math.nan

    def _amplitude(self, size: tuple[int, int]) -> float:
        """Return sqrt(T) times the side: the standard deviation, in pixels, of a mode times sqrt(i² + j²)."""
        check_cutoff(self.cutoff, *size)
        if self._delta is not None:
            return 2 * self._delta / math.sqrt(math.pi * math.log(self.cutoff))
        if self._temperature is not None:
            return math.sqrt(self._temperature) * min(size)
        wanted = self._displacement if self._displacement is not None else min(size) / 32
        return wanted / Modes(*size, self.cutoff).unit_rms

    def fold_probability(self, size: tuple[int, int]) -> float:
        """Return the share of draws that fold somewhere, from 512 draws of a fixed seed (standard error <= 2.2 %).

        Sides above 64 pixels are judged on a 64-pixel grid at the same relative displacement: the field is smooth.
        """
        side = min(size)
        scale = min(1.0, _LARGEST_SIDE_FOR_FOLDING / side)
        coarse = tuple(max(self.cutoff + 2, round(scale * length)) for length in size)
        return _fold_probability(round(self._amplitude(size) * min(coarse) / side, 12), self.cutoff, coarse, self.norm)

    def describe(self, size: tuple[int, int]) -> dict[str, float | int | str]:
        """Return what this ensemble is on images of ``size`` (H, W): amplitudes in pixels, T, fold probability."""
        return {
            "kind": type(self).__name__,
            "displacement": self.displacement(size),
            "cutoff": self.cutoff,
            "temperature": self.temperature(size),
            "delta": self.delta(size),
            "fold_probability": self.fold_probability(size),
            "norm": self.norm,
            "fold": self.fold,
            "interpolation": self.interpolation,
        }

    def __repr__(self) -> str:
        size = (max(32, self.cutoff + 2),) * 2
        about = self.describe(size)
        return (
            f"Diffeomorphism(displacement={about['displacement']:.4g} px, cutoff={self.cutoff}, "
            f"temperature={about['temperature']:.3g}, P(fold)={about['fold_probability']:.3g} "
            f"at {size[0]}x{size[1]}; norm={self.norm!r}, fold={self.fold!r})"
        )

    def draw(self, randomness: Randomness, size: tuple[int, int], *, dtype: torch.dtype) -> Tensor:
        modes = Modes(*size, self.cutoff)
        return field_from_coefficients(self._coefficients(randomness, modes, self._amplitude(size), dtype), modes)

    def move(self, images: Tensor, randomness: Randomness) -> Tensor:
        dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
        height, width = images.shape[-2:]
        modes = Modes(height, width, self.cutoff)
        amplitude = self._amplitude((height, width))
        coefficients = self._coefficients(randomness, modes, amplitude, dtype)
        if amplitude == 0:
            return images.clone()
        flat = images.to(dtype)
        moved = resample(flat, grid_from_coefficients(coefficients.to(images.device), modes), self.interpolation)
        copy_frame(flat, moved)
        return moved.to(images.dtype)

    def _coefficients(self, randomness: Randomness, modes: Modes, amplitude: float, dtype: torch.dtype) -> Tensor:
        if self.fold == "warn" and modes not in self._judged:
            size = (modes.height, modes.width)
            if (probability := self.fold_probability(size)) > 0.01:
                _warn_of_folding(probability, self.displacement(size), self.cutoff, size)
            self._judged.add(modes)
        coefficients = self._gaussian(randomness, modes, amplitude, dtype)
        if self.fold == "redraw":
            self._redraw(coefficients, randomness, modes, amplitude)
        return coefficients

    def _gaussian(self, randomness: Randomness, modes: Modes, amplitude: float, dtype: torch.dtype) -> Tensor:
        scale = _scales(modes, amplitude, dtype)
        coefficients = randomness.normal(2, scale.shape[0]).to(dtype)
        coefficients *= scale.to(coefficients.device)
        if self.norm == "fixed" and amplitude > 0:
            # Parseval on the pixel grid: the modes are orthogonal there, with the mean squares used in ``unit_rms``.
            rms = coefficients.square().sum(dim=(1, 2)).mul(modes.pixel_mean).sqrt()
            coefficients *= (self.displacement((modes.height, modes.width)) / rms)[:, None, None]
        return coefficients

    def _redraw(self, coefficients: Tensor, randomness: Randomness, modes: Modes, amplitude: float) -> None:
        """Replace, in place, the coefficients of fields that fold by fresh ones until none does."""
        rows = torch.arange(len(coefficients))
        source, tried = randomness, len(rows)
        for attempt in range(_MOST_TRIES):
            folded = folds(field_from_coefficients(coefficients[rows], modes)).nonzero().flatten().cpu()
            if attempt == 0 and (probability := self.fold_probability((modes.height, modes.width))) > 0.5:
                raise ValueError(
                    "less than half of the draws may fold when folded ones are redrawn, or the ensemble is no longer "
                    f"the one asked for; about {probability:.0%} fold at displacement "
                    f"{self.displacement((modes.height, modes.width)):.3g} px and cutoff {self.cutoff}"
                )
            if not len(folded):
                break
            if attempt == _MOST_TRIES - 1:
                raise ValueError(
                    f"each image may take at most {_MOST_TRIES} tries until its field does not fold; "
                    f"{len(folded)} of {len(coefficients)} images did not get one"
                )
            rows = rows[folded]
            source = source.again(folded)
            coefficients[rows] = self._gaussian(source, modes, amplitude, coefficients.dtype)
            tried += len(rows)
        self.acceptance.tried += tried
        self.acceptance.kept += len(coefficients)
        self.acceptance.square_sum += float(coefficients.double().square().sum() * modes.pixel_mean)


@functools.lru_cache(maxsize=64)
def _scales(modes: Modes, amplitude: float, dtype: torch.dtype) -> Tensor:
    return (modes.amplitudes * amplitude).to(dtype)


@functools.lru_cache(maxsize=256)
def _fold_probability(amplitude: float, cutoff: int, size: tuple[int, int], norm: Norm) -> float:
    if amplitude == 0:
        return 0.0
    modes = Modes(*size, cutoff)
    ensemble = Diffeomorphism(amplitude * modes.unit_rms, cutoff, norm=norm, fold="ignore")
    folded = 0
    for start in range(0, _DRAWS_FOR_FOLDING, 64):
        randomness = KeyedRandomness(0, torch.arange(start, start + 64), 0, Purpose.LIBRARY)
        folded += int(folds(ensemble.draw(randomness, size, dtype=torch.float32)).sum())
    return folded / _DRAWS_FOR_FOLDING


@functools.lru_cache(maxsize=256)
def _warn_of_folding(probability: float, displacement: float, cutoff: int, size: tuple[int, int]) -> None:
    """Warn once for each ensemble and size."""
    warnings.warn(
        f"about {probability:.1%} of the deformations fold the image over itself (displacement {displacement:.3g} px, "
        f"cutoff {cutoff}, {size[0]}x{size[1]} pixels), so that they are no diffeomorphisms; lower the displacement or "
        'the cutoff, or pass fold="redraw"; fold="ignore" silences this',
        stacklevel=2,
    )
