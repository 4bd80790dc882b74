"""All layers' sums of one model: a batch is caught as it flies by, and counted once its forward has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from poolscope.probe import Layer, Watcher, first_tensor, tensors_in
from poolscope.sensitivity.estimate import Estimate, epsilon, estimate
from poolscope.sensitivity.moments import Contribution, Covariance, Offset, Scratch, contribution

Readout = Literal["values", "channel_mean"]

#: Images, at most, whose mean is the reference c of the standard errors: no result depends on the batch size.
REFERENCE_IMAGES = 16


class LayerSums:
    """Running sums for the input and every measured layer of a model.

    Args:
        model: borrowed, in evaluation mode.
        layers: what to measure, the input excluded, in order.
        draws: perturbations an image.
        readout: ``"values"``, or ``"channel_mean"`` for the mean over channels at each position.
        autocast: type to run the forward in, or None.
        image_shape: (H, W) of the input, to tell [B, H, W, C] maps from [B, C, H, W].
        reference: the images of lowest index, whose mean representation is c.
        reference_leads: whether the first batch begins with these images, so that they need no forward of their own.
        parts: list to keep the sizes of the running batch's parts in, empty between batches (``batch_statistics``).
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        *,
        draws: int,
        readout: Readout,
        autocast: torch.dtype | None,
        image_shape: tuple[int, int],
        reference: Tensor,
        reference_leads: bool,
        parts: list[int],
    ):
        self.layers = [Layer("input", "input", axis=0), *layers]
        self.draws = draws
        self.readout = readout
        self.autocast = autocast
        self.image_shape = image_shape
        self.reference = reference
        self.reference_leads = reference_leads
        self.moments = Covariance(len(self.layers), 3)
        self.offsets: list[Offset | None] = [None] * len(self.layers)
        self.features = [0] * len(self.layers)
        self.parts = parts
        self._numbers = {layer.name: number for number, layer in enumerate(self.layers) if layer.kind != "output"}
        self._outputs = {layer.name: number for number, layer in enumerate(self.layers) if layer.kind == "output"}
        self._orders: dict[int, tuple[int, ...]] = {}
        self._pending: list[Contribution | None] = []
        self._means: list[Tensor | None] | None = None
        self._kept: list[Tensor] | None = None
        self._scratch = Scratch()
        self._dtypes = [torch.float32] * len(self.layers)
        self._eps = [0.0] * len(self.layers)
        functions = any(layer.is_function for layer in layers)
        modules = frozenset(layer.name.partition("#")[0] for layer in layers if not layer.is_function)
        self._watcher = Watcher(model, self._catch, modules=modules, functions=functions)

    @property
    def versions(self) -> int:
        """Number of versions of an image in a stacked batch."""
        return 1 + 2 * self.draws

    def watching(self) -> Any:
        """Return the context in which the model is watched."""
        return self._watcher.watching()

    def process(self, stack: Tensor) -> Tensor:
        """Run one stacked batch and count it.

        Args:
            stack: ``[(1 + 2 draws) B, C, H, W]``, as ``Perturber`` makes it.

        Returns:
            Per-image |f(τx) - f(x)|², |f(x+η) - f(x)|² and 2 |f - c|², float64 ``[layers, 3, B]`` on the CPU.
        """
        batch = len(stack) // self.versions
        if self.offsets[0] is None and not (self.reference_leads and batch >= len(self.reference)):
            self.set_centres(batch)
        self.parts[:] = [batch] * self.versions
        self._run(stack)
        pending = [part for part in self._pending if part is not None]
        if len(pending) != len(self.layers):
            missing = next(layer.name for layer, part in zip(self.layers, self._pending, strict=True) if part is None)
            raise RuntimeError(f"layer {missing!r} was not produced in this forward though it was in the first one")
        powers = torch.stack([torch.stack([part.deformation, part.noise, part.distance]) for part in pending])
        powers = powers.cpu().double()
        # Nothing above has changed a sum: an interrupt or an error leaves no half-counted batch.
        for offset, part in zip(self.offsets, pending, strict=True):
            assert offset is not None
            offset.add(part.offset)
        self.moments.update(powers)
        self._pending = []
        return powers

    def forget(self) -> None:
        """Drop what an unfinished forward left behind."""
        self._pending = []
        if self.moments.count == 0:
            self.offsets = [None] * len(self.layers)

    def representations(self, images: Tensor) -> list[Tensor]:
        """Return every layer's representation of a few images, ``[N, features]`` on the CPU; no sum changes."""
        self.parts[:] = [len(images)]
        self._kept = [torch.empty(0)] * len(self.layers)
        try:
            self._run(images.clone())  # the model may work in place on it
            return self._kept
        finally:
            self._kept = None

    def set_centres(self, batch: int) -> None:
        """Take the references c from forwards of their own, ``batch`` images each."""
        self._means = [None] * len(self.layers)
        try:
            for part in self.reference.split(batch):
                self.parts[:] = [len(part)]
                self._run(part.clone())
            means, self._means = self._means, None
        finally:
            self._means = None
        for number, total in enumerate(means):
            assert total is not None
            self._new_offset(number, total / len(self.reference), self._dtypes[number])

    def _new_offset(self, number: int, mean: Tensor, dtype: torch.dtype) -> None:
        self.offsets[number] = Offset(mean.to(dtype))
        self.features[number] = mean.numel()

    def _run(self, stack: Tensor) -> None:
        self._pending = [None] * len(self.layers)
        self._take(0, stack)
        try:
            with torch.autocast(stack.device.type, dtype=self.autocast, enabled=self.autocast is not None):
                outputs = list(tensors_in(self._watcher.forward(stack)))
            for path, tensor in outputs:
                name = f"output{path}" if len(outputs) > 1 else "output"
                number = self._outputs.get(name, self._outputs.get(f"{name}#2"))
                if number is not None:
                    self._take(number, tensor)
        finally:
            self.parts.clear()  # a model that shares batch norms with this one must not use them

    def _catch(self, name: str, value: Any, source: Any) -> None:
        number = self._numbers.get(name)
        if number is None:
            return
        tensor = first_tensor(value)
        if tensor is not None:
            self._take(number, tensor)

    def _take(self, number: int, tensor: Tensor) -> None:
        rows = self._rows(number, tensor.detach())
        if self._kept is not None:
            self._kept[number] = rows.clone().cpu()
            return
        working = torch.float64 if rows.dtype == torch.float64 else torch.float32
        if self._means is not None:
            total = rows.sum(dim=0, dtype=working).double()
            self._dtypes[number] = working
            earlier = self._means[number]
            self._means[number] = total if earlier is None else earlier.add_(total)
            return
        offset = self.offsets[number]
        if offset is None:
            clean = rows[: self.parts[0]]
            self._new_offset(number, clean[: len(self.reference)].double().mean(dim=0), working)
            offset = self.offsets[number]
            assert offset is not None
        self._eps[number] = max(self._eps[number], epsilon(rows.dtype), epsilon(self.autocast) if self.autocast else 0)
        self._pending[number] = self._reduced(rows, offset)

    def _reduced(self, rows: Tensor, offset: Offset) -> Contribution:
        """Return what a layer's rows, all versions of a batch's images, add to its sums."""
        clean, moved, noisy = rows.split([self.parts[0], *[self.parts[0] * self.draws] * 2])
        several = (self.draws, self.parts[0], -1)
        return contribution(
            clean, moved.view(several), noisy.view(several), offset.centre, self._scratch, offset.batch_sum
        )

    def _rows(self, number: int, tensor: Tensor) -> Tensor:
        """Return ``[images, features]``, features in memory order: a view wherever that is possible."""
        layer = self.layers[number]
        stacked = sum(self.parts)
        if layer.axis:
            tensor = tensor.movedim(layer.axis, 0)
        if self.readout == "channel_mean" and number:
            tensor = tensor.mean(dim=self._channel_axis(tensor))
        order = self._orders.get(number)
        if self._kept is not None:
            order = tuple(range(tensor.ndim))  # compared between precisions, whose kernels may order memory differently
        elif order is None:
            strides = tensor.stride()
            order = (0, *sorted(range(1, tensor.ndim), key=lambda axis: -strides[axis]))
            self._orders[number] = order
        return tensor.permute(order).reshape(stacked, -1)

    def _channel_axis(self, tensor: Tensor) -> int:
        """Return the axis of channels: the last of token sequences and [B, H, W, C] maps, the second of others."""
        if self.reference.ndim == 3:  # rows of pixels
            return 1
        if tensor.ndim == 4:
            height, width = self.image_shape
            first_is_map = tensor.shape[1] * width == tensor.shape[2] * height
            return 3 if first_is_map and tensor.shape[2] * width != tensor.shape[3] * height else 1
        return tensor.ndim - 1

    def estimates(self, *, identical_pairs: bool) -> list[Estimate]:
        """Return D, G, R of the input and every layer."""
        count = self.moments.count
        results = []
        for number, offset in enumerate(self.offsets):
            assert offset is not None
            results.append(
                estimate(
                    count,
                    self.moments.mean[number],
                    self.moments.covariance[number],
                    offset.mean_square(count),
                    offset.mean_power(count),
                    eps=self._eps[number],
                    identical_pairs=identical_pairs,
                )
            )
        return results

    def share_centres(self, batch: int, group: Any) -> None:
        """Give every process of ``group`` the first one's references, to the last bit; ``batch`` images a forward."""
        import torch.distributed as dist

        self.set_centres(batch)
        for offset in self.offsets:
            assert offset is not None
            dist.broadcast(offset.centre, dist.get_global_rank(group, 0) if group is not None else 0, group=group)

    def gather(self, group: Any) -> None:
        """Merge the sums of all processes of ``group``, whose references are common; each then holds the whole."""
        import torch.distributed as dist

        for offset in self.offsets:
            assert offset is not None
            dist.all_reduce(offset.sum, group=group)
        state = [
            torch.tensor([float(self.moments.count)], dtype=torch.float64),
            self.moments.mean.flatten(),
            self.moments.scatter.flatten(),
            torch.tensor(self._eps, dtype=torch.float64),
        ]
        assert self.offsets[0] is not None
        mine = torch.cat(state).to(self.offsets[0].sum.device)
        everyone = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
        dist.all_gather(everyone, mine, group=group)
        merged = Covariance(len(self.layers), 3)
        for packed in everyone:
            count, mean, scatter, eps = packed.cpu().split([part.numel() for part in state])
            merged.merge_sums(int(count), mean.view(self.moments.mean.shape), scatter.view(self.moments.scatter.shape))
            self._eps = [max(ours, theirs) for ours, theirs in zip(self._eps, eps.tolist(), strict=True)]
        self.moments = merged
