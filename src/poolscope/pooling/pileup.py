"""Noise that piles up: how much of a layer's response to noise is the same whatever the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from poolscope._progress import Progress
from poolscope.networks import model_name
from poolscope.perturb import GaussianNoise, MatchedNoise
from poolscope.pooling.coherence import CoherenceSums
from poolscope.sensitivity.perturbing import DeformationLike, NoiseLike, Perturber
from poolscope.sensitivity.prepare import BatchNorm, MemoryFormat, Precision
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source

if TYPE_CHECKING:
    import pandas as pd


def noise_pileup(
    model: nn.Module,
    images: object,
    deformation: DeformationLike | None = None,
    noise: NoiseLike | None = None,
    *,
    layers: str | Sequence[str] = "auto",
    draws: int = 8,
    seed: int = 0,
    batch_size: int | Literal["auto"] = "auto",
    device: str | torch.device = "auto",
    precision: Precision = "float32",
    bn: BatchNorm = "eval",
    memory_format: MemoryFormat = "contiguous",
    progress: bool = True,
    name: str | None = None,
    variant: str = "given",
) -> pd.DataFrame:
    """Split each layer's response to noise into its mean over draws of the noise (coherent) and the rest.

    δ = f(x+η) - f(x) of an image scatters from draw to draw, and spatial pooling averages that scatter out. Its mean
    over draws, E_η δ, stays: rectified noise has a positive mean, the same everywhere, and layers that add up positions
    pile it up. coherent_power = E_x |E_η δ|², share = coherent_power / noise_power = Σ coherent / Σ total over images,
    between 0 (δ averages out: any linear layer) and 1 (δ is the same for every draw). Both sums are unbiased over the
    draws (a mean over pairs of different draws), so that an estimate may lie a little below 0. With noise matched to
    τx - x the mean is over τ and η together.

    Plain noise is what the mechanism is tested with. Rectified noise has a mean of its own: with it even a linear
    network shows the share that ReLU makes (1 / π at the input, for Gaussian noise, and more behind averages), and
    the table says so.

    One pass over the images, one forward of [x; x+η_1; … x+η_n] a batch; memory grows with ``draws`` and not with the
    number of images. What is drawn for an image depends on (seed, image index, draw) alone, and is what ``measure``
    draws. The model, the random state and the images come back as they were.

    Args:
        model: any ``nn.Module`` that takes images; compiled ones are measured through the original.
        images: as for ``measure``.
        deformation: τ, to which noise is matched (default: ``Diffeomorphism()``); not used by ``GaussianNoise``.
        noise: η (default: ``MatchedNoise()``), or any callable ``(images, moved, *, generator) -> images + noise``.
        layers: which representations, as for ``measure``.
        draws: n, noises an image, 2 or more. For a small share the error falls as 1 / sqrt(n (n - 1)) as long as noise
            prevails, so that more draws help more than more images.
        seed: of the counter-based generator.
        batch_size: images a forward, or ``"auto"``.
        device: where to run; ``"auto"``: the model's device, or a GPU if there is one.
        precision: ``"float32"``, ``"float64"``, or ``"bf16-mixed"``.
        bn: batch normalisation, as for ``measure``. With ``"batch"`` every draw is normalised by itself: the part of δ
            that all images share goes, and another comes in, f(x) scaled by the noise's own width.
        memory_format: ``"channels_last"`` is faster for most convolutional networks.
        progress: show progress with the time left, if standard error is a terminal.
        name: the table's ``model`` column (default: the model's own name).
        variant: the table's ``variant`` column.

    Returns:
        A table, the input first: ``layer, kind, position, depth, features, images, draws, noise_power, coherent_power,
        coherent_power_se, share, share_se, share_low, share_high, G, model, variant, note``; powers in units of the
        representation squared, G = noise_power / E|f(x1) - f(x2)|² (equation 1), errors over images, intervals of 95 %.
        The share is nan, with a note, where noise_power is not above rounding; G where the spread over images is not.
        ``table.attrs["record"]`` says how it was measured.

    Raises:
        TypeError: as for ``measure``.
        ValueError: as for ``measure``, or fewer than two draws.

    Source: section 4, the mechanism of figure 6 (right) and equation 6: E[δ] of rectified noise.
    """
    import pandas as pd

    if not isinstance(draws, int) or isinstance(draws, bool) or draws < 2:
        raise ValueError(
            f"draws must be a whole number, 2 or more: the coherent part is a mean over pairs of draws; got {draws!r}"
        )
    settings = make_settings(
        deformation,
        noise,
        layers,
        draws,
        seed,
        batch_size,
        device,
        precision,
        bn=bn,
        memory_format=memory_format,
    )
    perturber = _NoisePerturber(settings.perturber)
    settings = replace(settings, perturber=perturber)
    source = open_source(images, model)
    name = name or model_name(model)
    session = _Session(model, source, settings)
    with session:
        with Progress(session.total(), f"noise in {name}", enabled=progress) as bar:
            for part, indices in session.pieces():
                session.process(part, indices)
                bar.advance(len(part))
        count = session.sums.moments.count
        if count < 2:
            raise ValueError(f"at least 2 images are needed, errors are over images; got {count}")
        table = pd.DataFrame(_rows(session)).assign(model=name, variant=variant)
        record = session.record(name, variant, count)
        if not perturber.is_matched:
            record["deformation"] = None
    table = table[[column for column in table if column != "note"] + ["note"]]
    table.attrs["record"] = record
    return table


class _Session(Session):
    """A session that counts coherent and total power."""

    kind_of_sums = CoherenceSums
    sums: CoherenceSums


class _NoisePerturber(Perturber):
    """Makes [x; x + η of every draw] of a batch, with the very η of ``measure``."""

    def __init__(self, like: Perturber):
        self.is_matched = not isinstance(like.noise, GaussianNoise)  # a noise of the user's own may be
        super().__init__(like.deformation if self.is_matched else _unmoved, like.noise, like.seed, like.draws)

    @property
    def stack(self) -> int:
        """Number of versions of an image in the stacked batch."""
        return 1 + self.draws

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the stacked batch ``[(1 + draws) B, ...]``."""
        noisy = []
        for draw in range(self.draws):
            moved = self._move(images, indices, draw) if self.is_matched else images
            noisy.append(self._add_noise(images, moved, indices, draw))
        return torch.cat([images, *noisy])


def _unmoved(images: Tensor, *, generator: torch.Generator) -> Tensor:
    return images


def _rows(session: _Session) -> list[dict[str, Any]]:
    sums, settings = session.sums, session.settings
    found = sums.found()
    bad = next((layer.name for layer, each in zip(sums.layers, found, strict=True) if each.note == "not finite"), None)
    noise = settings.perturber.noise
    remarks = []
    if isinstance(noise, (MatchedNoise, GaussianNoise)) and noise.rectified:
        remarks.append("rectified noise: a linear network has a coherent share too")
    if settings.bn != "eval":
        remarks.append(f"batch norm: {settings.bn}")
    rows = []
    for position, (layer, each) in enumerate(zip(sums.layers, found, strict=True)):
        note = f"not finite, first at {bad}" if each.note == "not finite" else each.note
        rows.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                "position": position,
                "depth": position / (len(found) - 1),
                "features": sums.features[position],
                "images": sums.moments.count,
                "draws": sums.draws,
                **each.columns(),
                "note": "; ".join(part for part in (note, *remarks) if part),
            }
        )
    return rows
