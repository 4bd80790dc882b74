"""One network measured from all sides: sensitivities, shuffled channels and other controls, filter spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from poolscope.networks import model_name
from poolscope.perturb import Diffeomorphism, MatchedNoise
from poolscope.pooling import filter_spectrum, pooling_analysis
from poolscope.sensitivity.perturbing import DeformationLike, NoiseLike, Perturber
from poolscope.sensitivity.source import open_source
from poolscope.studies.findings import Findings

_SAMPLES = 3


def run(
    model: nn.Module,
    images: object,
    deformation: DeformationLike | None = None,
    noise: NoiseLike | None = None,
    *,
    displacement: Sequence[float] | None = None,
    cutoff: int = 3,
    initial: nn.Module | None = None,
    draws: int = 0,
    perturbations: int = 1,
    seed: int = 0,
    name: str | None = None,
    **options: Any,
) -> Findings:
    """Measure a network with its controls, and look at its filters.

    Args:
        model: any module; it comes back as it was.
        images: as for ``measure``.
        deformation: as for ``measure``; or give ``displacement``.
        noise: as for ``measure``.
        displacement: true rms displacements in pixels.
        cutoff: highest mode, with ``displacement``.
        initial: the same network before training.
        draws: number of shuffles, 0 for none.
        perturbations: deformations and noises an image.
        seed: of perturbations and shuffles.
        name: of the model in tables and page.
        options: further ones of ``pooling_analysis``.
    """
    name = name or model_name(model)
    analysis = pooling_analysis(
        model,
        images,
        deformation,
        noise=noise,
        displacement=displacement,
        cutoff=cutoff,
        initial=initial,
        draws=draws,
        perturbations=perturbations,
        seed=seed,
        name=name,
        **options,
    )
    if displacement is not None:  # samples show the middle one
        deformation = Diffeomorphism(sorted(displacement)[len(displacement) // 2], cutoff)
    return Findings(
        analysis.result.table,
        analysis.record,
        analysis.shares if draws else None,
        analysis.contrasts if len(analysis.contrasts) else None,
        spectrum_of(model, initial, name),
        samples_of(model, images, deformation, noise, seed),
    )


def spectrum_of(model: nn.Module, initial: nn.Module | None, name: str) -> Any:
    """Return the filter spectra, or None for a network without convolutions."""
    table = filter_spectrum(model, initial=initial, name=name)
    return table if len(table) else None


def samples_of(
    model: nn.Module, images: object, deformation: DeformationLike | None, noise: NoiseLike | None, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first images and what the measurement makes of them: x, τx and x + η of the first draw."""
    import torch

    first = open_source(images, model).first(_SAMPLES).float()
    perturber = Perturber(deformation or Diffeomorphism(), noise or MatchedNoise(), seed, draws=1)
    stacked = perturber(first, torch.arange(len(first)))
    if stacked.ndim == 3:  # rows of pixels are drawn as strips
        stacked = stacked[:, :, None].expand(-1, -1, max(1, stacked.shape[-1] // 8), -1)
    x, moved, noisy = stacked.chunk(3)
    return x, moved, noisy
