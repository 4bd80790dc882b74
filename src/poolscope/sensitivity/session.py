"""One model borrowed for one measurement: what was asked for, the layers, the batches, the table."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from poolscope._checks import check_measured
from poolscope.perturb import Deformation, Diffeomorphism, MatchedNoise, Mover
from poolscope.probe import Layer, select, survey, unwrap
from poolscope.sensitivity.perturbing import DeformationLike, NoiseLike, Perturber
from poolscope.sensitivity.prepare import (
    BatchNorm,
    MemoryFormat,
    Precision,
    batch_statistics,
    borrowed,
    choose_device,
    reestimated,
    working_dtype,
)
from poolscope.sensitivity.result import COLUMNS, Result
from poolscope.sensitivity.source import LoaderSource, Source
from poolscope.sensitivity.sums import REFERENCE_IMAGES, LayerSums, Readout

_CPU_BYTES = 20 * 2**20  # of the largest layer's stacked batch; larger ones only cost page faults
_LEAST_BATCH = 4  # below that, sums over features cost as much as the forwards save
_GPU_BYTES = 2**30


@dataclass
class Settings:
    """How to measure, checked before any work starts; see ``measure``."""

    perturber: Perturber
    layers: str | Sequence[str]
    batch_size: int | Literal["auto"]
    device: str | torch.device
    precision: Precision
    readout: Readout
    bn: BatchNorm
    memory_format: MemoryFormat
    identical_pairs: bool
    most_images: int | None


def make_settings(
    deformation: DeformationLike | None = None,
    noise: NoiseLike | None = None,
    layers: str | Sequence[str] = "auto",
    draws: int = 1,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    device: str | torch.device = "auto",
    precision: Precision = "float32",
    readout: Readout = "values",
    bn: BatchNorm = "eval",
    memory_format: MemoryFormat = "contiguous",
    noise_on: Literal["cpu", "device"] = "cpu",
    protocol: Literal["text", "published"] = "text",
    pairs: Literal["distinct", "all"] = "distinct",
) -> Settings:
    """Check the arguments of ``measure`` and fill in what they leave open."""
    for what, word, words in (
        ("readout", readout, ("values", "channel_mean")),
        ("bn", bn, ("eval", "reestimate", "batch")),
        ("memory_format", memory_format, ("contiguous", "channels_last")),
        ("noise_on", noise_on, ("cpu", "device")),
        ("protocol", protocol, ("text", "published")),
        ("pairs", pairs, ("distinct", "all")),
    ):
        if word not in words:
            raise ValueError(f"{what} must be one of {', '.join(words)}; got {word!r}")
    if batch_size != "auto" and (not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1):
        raise ValueError(f'batch_size must be "auto" or a whole number of images, 1 or more; got {batch_size!r}')
    published = protocol == "published"
    if published:
        precision = "float64"
        deformation = deformation if deformation is not None else Diffeomorphism.published(delta=1.0, cutoff=3)
    working_dtype(precision)
    perturber = Perturber(
        Diffeomorphism() if deformation is None else deformation,
        MatchedNoise() if noise is None else noise,
        seed,
        draws,
        noise_on,
    )
    return Settings(
        perturber=perturber,
        layers=layers,
        batch_size=batch_size,
        device=device,
        precision=precision,
        readout=readout,
        bn=bn,
        memory_format=memory_format,
        identical_pairs=published or pairs == "all",
        most_images=500 if published else None,
    )


class Session:
    """One model borrowed for one measurement: a context that hands it back on every way out.

    Args:
        model: what to measure.
        source: the images.
        settings: how.
        layers: what to measure, as a session of a model of the same structure found it (default: look, as the settings
            say). A network whose signal died shows no batch axis of its own.

    Attributes:
        kind_of_sums: what is made of a batch; a subclass may count other things.
    """

    kind_of_sums: type[LayerSums] = LayerSums

    def __init__(self, model: nn.Module, source: Source, settings: Settings, layers: Sequence[Layer] | None = None):
        self.original = model
        self.model = unwrap(model)
        self.source = source
        self.settings = settings
        self.given_layers = layers
        self.device = choose_device(settings.device, self.model)
        self.dtype = working_dtype(settings.precision)

    def __enter__(self) -> Session:
        import contextlib

        settings = self.settings
        with contextlib.ExitStack() as stack:
            # First of all, for reading images may change the random state too.
            stack.enter_context(borrowed(self.model, self.device, self.dtype, settings.memory_format))
            reference = self._reference()
            parts: list[int] = []
            if settings.bn == "batch":
                stack.enter_context(batch_statistics(self.model, parts))
            self.layers = self._select(reference) if self.given_layers is None else list(self.given_layers)
            self.batch_size = self._batch_size() if settings.batch_size == "auto" else settings.batch_size
            self.sums = self.kind_of_sums(
                self.model,
                self.layers,
                draws=settings.perturber.draws,
                readout=settings.readout,
                autocast=torch.bfloat16 if settings.precision == "bf16-mixed" else None,
                image_shape=_size(reference),
                reference=reference,
                reference_leads=not (isinstance(self.source, LoaderSource) and self.source.shuffles),
                parts=parts,
            )
            if settings.bn == "reestimate":
                stack.enter_context(reestimated(self.model, self._clean_batches()))
            stack.enter_context(self.sums.watching())
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.__exit__(*error)  # type: ignore[arg-type]

    def total(self) -> int | None:
        """Return the number of images that will be measured, if it is known."""
        total, most = self.source.total(), self.settings.most_images
        return total if most is None else most if total is None else min(total, most)

    def pieces(self, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's share of images and indices."""
        left = self.settings.most_images
        for number, (images, indices) in enumerate(self.source.batches(self.batch_size)):
            if left is not None:
                images, indices = images[:left], indices[:left]
                left -= len(images)
            if len(images) and number % world == rank:
                yield images, indices
            if left == 0:
                return

    def process(self, images: Tensor, indices: Tensor) -> Tensor:
        """Perturb, run and count a batch; out of memory, in smaller and smaller parts.

        Returns:
            Per-image powers, float64 ``[layers, 3, B]``.
        """
        powers, start = [], 0
        while start < len(images):
            stop = min(start + self.batch_size, len(images))
            try:
                powers.append(self.sums.process(self.stacked(images[start:stop], indices[start:stop])))
            except RuntimeError as error:
                self.sums.forget()
                if self.batch_size == 1 or not is_out_of_memory(error):
                    raise
                self.batch_size //= 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            start = stop
        return torch.cat(powers, dim=-1)

    def stacked(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return [x; τx; x + η] on the device.

        Raises:
            ValueError: images of another shape than the first ones.
        """
        if images.shape[1:] != self.sums.reference.shape[1:]:
            raise ValueError(
                f"all images must have the shape of the first, {tuple(self.sums.reference.shape[1:])}; "
                f"got {tuple(images.shape[1:])}"
            )
        return self._as_input(self.settings.perturber(self._to_device(images), indices))

    def result(self, name: str, variant: str) -> Result:
        """Return what was measured so far."""
        import pandas as pd

        count = self.sums.moments.count
        if count < 2:
            raise ValueError(f"at least 2 images are needed, the spread is over pairs of them; got {count}")
        estimates = self.sums.estimates(identical_pairs=self.settings.identical_pairs)
        rows: list[dict[str, Any]] = []
        first_bad = next(
            (layer.name for layer, e in zip(self.sums.layers, estimates, strict=True) if e.note == "not finite"), None
        )
        for position, (layer, found) in enumerate(zip(self.sums.layers, estimates, strict=True)):
            note = f"not finite, first at {first_bad}" if found.note == "not finite" else found.note
            if self.settings.bn != "eval":
                note = "; ".join(part for part in (note, f"batch norm: {self.settings.bn}") if part)
            rows.append(
                {
                    "layer": layer.name,
                    "kind": layer.kind,
                    "position": position,
                    "depth": position / (len(estimates) - 1),
                    "features": self.sums.features[position],
                    "images": count,
                    "draws": self.settings.perturber.draws,
                    **found.columns(),
                    "model": name,
                    "variant": variant,
                    "draw": 0,
                    "note": note,
                }
            )
        return Result(pd.DataFrame(rows)[list(COLUMNS)], self.record(name, variant, count))

    def record(self, name: str, variant: str, count: int) -> dict[str, Any]:
        """Return how this was measured."""
        import numpy as np

        import poolscope

        settings, perturber = self.settings, self.settings.perturber
        height, width = self.sums.image_shape
        describe = getattr(perturber.deformation, "describe", None)
        acceptance = getattr(perturber.deformation, "acceptance", None)
        record: dict[str, Any] = {
            "model": name,
            "variant": variant,
            "data": self.source.name,
            "images": count,
            "size": [height, width],
            "deformation": describe((height, width)) if describe else repr(perturber.deformation),
            "noise": repr(perturber.noise),
            "draws": perturber.draws,
            "seed": perturber.seed,
            "noise_on": perturber.noise_on,
            "layers": settings.layers if isinstance(settings.layers, str) else list(settings.layers),
            "precision": settings.precision,
            "readout": settings.readout,
            "batch_norm": settings.bn,
            "memory_format": settings.memory_format,
            "identical_pairs": settings.identical_pairs,
            "batch_size": self.batch_size,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "versions": {
                "poolscope": poolscope.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }
        if acceptance is not None and acceptance.tried:
            record["redrawn"] = {"acceptance": acceptance.share, "rms": acceptance.rms}
        return record

    def _reference(self) -> Tensor:
        total = self.source.total()
        if total is not None and total < 2:
            raise ValueError(f"at least 2 images are needed, the spread is over pairs of them; got {total}")
        reference = self.source.first(REFERENCE_IMAGES)
        check_measured(reference)
        if torch.isfinite(reference).all():
            if (reference == reference[:1]).all():
                raise ValueError(
                    f"images must differ, or there is no spread to compare with; the first {len(reference)} are "
                    "identical"
                )
            if (reference.flatten(2) == reference.flatten(2)[:, :, :1]).all():
                raise ValueError(
                    f"images must have structure for a deformation to move; the first {len(reference)} are constant"
                )
        if reference.ndim == 3 and self.settings.memory_format == "channels_last":
            raise ValueError(
                "memory_format must be contiguous for rows [N, C, L], channels_last is one of images [N, C, H, W]; "
                f"got shape {tuple(reference.shape)}"
            )
        self._check_deformation(reference)
        return self._to_device(reference[: _reference_count(total, reference)])

    def _check_deformation(self, reference: Tensor) -> None:
        """Let the deformation refuse the image size before any work starts."""
        deformation = self.settings.perturber.deformation
        if reference.ndim == 3 and isinstance(deformation, Deformation):
            raise ValueError(
                f"images must be [N, C, H, W] for a smooth deformation (PixelShift is the one for rows [N, C, L]); "
                f"got shape {tuple(reference.shape)} and {deformation!r}"
            )
        if isinstance(deformation, Mover):
            deformation.displacement(_size(reference))

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(self.device, self.dtype)

    def _as_input(self, images: Tensor) -> Tensor:
        if self.settings.memory_format == "channels_last":
            return images.contiguous(memory_format=torch.channels_last)
        return images

    def _clean_batches(self) -> Iterator[Tensor]:
        for images, _ in self.pieces():
            yield self._as_input(self._to_device(images).clone())  # the model may work in place on it

    def _select(self, reference: Tensor) -> list[Layer]:
        pair = self._as_input(reference[:2])
        try:
            found = survey(self.model, pair)  # never in bf16, whose rounding could hide the batch axis
        except Exception as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()
            raise ValueError(
                f"the model must take images of shape {tuple(pair.shape)}, {pair.dtype}; it raised "
                f"{type(error).__name__}: {reason[0] if reason else ''}"
            ) from error
        if found.is_random:
            raise ValueError(
                "the model must give the same answer twice, or its own randomness is taken for sensitivity; it "
                "does not "
                "even in evaluation mode (dropout called as a function with training=True, perhaps)"
            )
        if found.mixes_images:
            raise ValueError(
                "the model must treat every image by itself, or D and G depend on the batch; its output depends on "
                "the other "
                "images of the batch (batch norm without running statistics, perhaps: then pass bn='batch')"
            )
        return select(found, self.settings.layers)

    def _batch_size(self) -> int:
        largest = max(layer.features for layer in self.layers)
        bytes_per_image = self.settings.perturber.stack * largest * self.dtype.itemsize
        budget = _CPU_BYTES if self.device.type == "cpu" else _GPU_BYTES
        return max(_LEAST_BATCH, min(256, budget // bytes_per_image))


def _size(images: Tensor) -> tuple[int, int]:
    """Return (H, W) of images, (1, L) of rows."""
    return (images.shape[-2] if images.ndim == 4 else 1, images.shape[-1])


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether a GPU, or the CPU's allocator, which has no error class of its own, ran out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _reference_count(total: int | None, images: Tensor) -> int:
    """Return how many images the reference c is the mean of: 16, or of large images fewer where there are few.

    Small images come in batches that hold these anyway. Large ones need a forward of their own, kept to 2 % of the
    work; the variance of q grows by 2 / n at most, which widens the errors of D and G a little.
    """
    if total is None or math.prod(images.shape[2:]) <= 64**2:
        return REFERENCE_IMAGES
    return max(2, min(REFERENCE_IMAGES, total // 16))
