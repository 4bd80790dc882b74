"""Measuring D, G and R of a model, layer by layer, in one streaming pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from poolscope._progress import Progress
from poolscope.sensitivity.perturbing import DeformationLike, NoiseLike
from poolscope.sensitivity.prepare import BatchNorm, MemoryFormat, Precision
from poolscope.sensitivity.result import Result
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source
from poolscope.sensitivity.sums import Readout

if TYPE_CHECKING:
    import torch.distributed


def measure(
    model: nn.Module,
    images: object,
    deformation: DeformationLike | None = None,
    noise: NoiseLike | None = None,
    *,
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
    progress: bool = True,
    name: str | None = None,
    variant: str = "given",
    process_group: torch.distributed.ProcessGroup | Literal["world"] | None = None,
) -> Result:
    """Measure how much each layer of ``model`` reacts to deformations (D), to noise (G), and their ratio R = D / G.

    D = E|f(τx) - f(x)|² / E|f(x1) - f(x2)|², G = E|f(x+η) - f(x)|² / E|f(x1) - f(x2)|² (equation 1), f each layer's
    representation; averages over images and draws, the denominator over pairs of different images. One pass over the
    images, one forward of [x; τx; x + η] a batch, memory independent of their number. The model, the random state and
    the images come back as they were.

    Args:
        model: any ``nn.Module`` that takes images; compiled ones are measured through the original.
        images: tensor ``[N, C, H, W]``, or rows ``[N, C, L]``, floating point and normalised as the model wants; a
            map-style data set of images or (image, …); a ``DataLoader`` (a shuffling one must yield indices);
            or a data set's name or a folder, opened at the model's own size and normalisation.
        deformation: τ (default: ``Diffeomorphism()``), or any callable ``(images, *, generator) -> images``.
        noise: η (default: ``MatchedNoise()``), or any callable ``(images, moved, *, generator) -> images + noise``.
        layers: which representations: ``"activations"``, ``"weights"``, ``"blocks"``, ``"all"``, a regular expression
            or names; ``"auto"``: blocks for attention models, activations otherwise. See ``poolscope.probe.select``.
        draws: perturbations an image.
        seed: of the counter-based generator; perturbations depend on (seed, image index, draw) alone.
        batch_size: images a forward, or ``"auto"``. Out of memory on a GPU, it is halved.
        device: where to run; ``"auto"``: the model's device, or a GPU if there is one.
        precision: ``"float32"``, ``"float64"``, or ``"bf16-mixed"`` (autocast; differences below its rounding are lost:
            at 0.01 pixels D is off by 20 %).
        readout: ``"values"``; or ``"channel_mean"``, the mean over channels of the activations (the authors' mean
            channel in section 4).
        bn: batch normalisation by its running statistics (``"eval"``), by statistics estimated anew on these images
            (``"reestimate"``), or by each batch's own (``"batch"``, as the authors treat fresh networks; the result
            then depends on the batch size).
        memory_format: ``"channels_last"`` is faster for most convolutional networks.
        noise_on: draw noise on the ``"cpu"``, or on the ``"device"``: faster for large images on a GPU, but the numbers
            are then the device's own.
        protocol: ``"text"``; or ``"published"``: as the authors' code does, the first 500 images in float64, δ = 1 and
            c = 3 unless a deformation is given, pairs i = j counted in the denominator (D and G larger by N / (N - 1)).
        pairs: of the denominator: "distinct", i ≠ j, for images that stand for more of their kind; or "all", with
            i = j, for all images of a finite task (the errors are still those of a sample, too large then).
        progress: show progress with the time left, if standard error is a terminal.
        name: the table's ``model`` column (default: the model's own name).
        variant: the table's ``variant`` column.
        process_group: share the images among these processes (``"world"``: all); each gets the whole table.

    Returns:
        ``Result`` with one row for the input and one a layer.

    Raises:
        TypeError: a scripted model, images that are not floating point, or arguments of a wrong type.
        ValueError: anything that cannot be measured, with the rule and the value: fewer than two images, constant
            images, shapes the model cannot take, unknown layers, ….

    Source: equation 1; conventions where text and published code differ are in the arguments above.
    """
    settings = make_settings(
        deformation,
        noise,
        layers,
        draws,
        seed,
        batch_size,
        device,
        precision,
        readout,
        bn,
        memory_format,
        noise_on,
        protocol,
        pairs,
    )
    source = open_source(images, model)
    with Session(model, source, settings) as session:
        total = session.total()
        rank, world = _rank_and_world(process_group)
        group = None if process_group == "world" else process_group
        if world > 1:
            if batch_size == "auto" and total is not None:  # a share of the images for every process
                session.batch_size = max(1, min(session.batch_size, -(-total // world)))
            session.sums.share_centres(session.batch_size, group)
        with Progress(total, f"measuring {name or _name_of(model)}", enabled=progress and rank == 0) as bar:
            for part, indices in session.pieces(rank, world):
                session.process(part, indices)
                bar.advance(len(part) * world)
        if world > 1:
            session.sums.gather(group)
        return session.result(name or _name_of(model), variant)


def _rank_and_world(group: Any) -> tuple[int, int]:
    if group is None:
        return 0, 1
    import torch.distributed as dist

    if not dist.is_initialized():
        raise ValueError("process_group needs torch.distributed.init_process_group first (torchrun does it)")
    group = None if group == "world" else group
    return dist.get_rank(group), dist.get_world_size(group)


def _name_of(model: nn.Module) -> str:
    from poolscope.networks import model_name

    return model_name(model)
