"""Several simple CNNs trained at once: every layer one batched matrix product, gradients by hand, updates in place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from poolscope.networks.simple import SimpleCNN, SimpleConv
from poolscope.networks.windows import window_table
from poolscope.training.simple.slopes import Slope, slope_of


@dataclass
class _Layer:
    """One layer of all networks.

    Attributes:
        weight: ``[networks, channels, taps * inputs]``.
        bias: ``[networks, 1, channels]``, or ``None``.
        scale: of the product: 1 / sqrt(fan-in), times the gain of the layer below.
        seen: input pixel of each tap of each output ``[outputs * taps]``, or ``None`` where that is their own order.
        back: taps that see each input pixel, ``[inputs * m]``, m for each, or ``None`` likewise.
        inputs, outputs, taps: numbers of pixels, with the zero pixel outside where there is one.
    """

    weight: Tensor
    bias: Tensor | None
    scale: float
    seen: Tensor | None
    back: Tensor | None
    inputs: int
    outputs: int
    taps: int
    has_outside: bool


class Stack:
    """Networks of one shape and different weights, as they are trained: loss, gradients and SGD's step in one.

    Activations are kept as ``[networks, images, pixels, channels]``, without the gain sqrt(F^dim), which the next
    layer's scale takes in. A layer is one gathering of windows and one batched product; backwards one product for the
    inputs and one that goes straight into the weights: no gradient is kept.

    Args:
        networks: made alike; copied, on the device they are on.
        size: sides of the images.

    Raises:
        ValueError: no network, networks that differ in more than their weights, more than one output, or sides that
            strides do not divide.
    """

    def __init__(self, networks: Sequence[SimpleCNN], size: tuple[int, ...]):
        if not networks:
            raise ValueError("there must be at least one network to train; got none")
        for network in networks:
            if str(network) != str(networks[0]):
                one, other = (" ".join(str(each.layers).split()) for each in (networks[0], network))
                raise ValueError(
                    f"networks trained together must be made alike but for their weights; got {one} and {other}"
                )
            if network.readout.shape[1] != 1:
                raise ValueError(f"the hinge loss needs networks of one output; got {network.readout.shape[1]}")
        stages = [[cast(SimpleConv, part) for part in network.layers] for network in networks]
        self.slope: Slope = slope_of(stages[0][0].activation)
        self.layers: list[_Layer] = []
        gain = 1.0
        for parts in zip(*stages, strict=True):
            layer = parts[0]
            table = window_table(size, layer.weight.shape[2], layer.stride, layer.outside, layer.alignment)
            inputs, (outputs, taps) = math.prod(size), table.shape
            has_outside = bool((table < 0).any())
            flat = torch.where(table < 0, inputs, table).flatten()
            device = layer.weight.device
            self.layers.append(
                _Layer(
                    torch.stack([_flat(part.weight.detach()) for part in parts]),
                    None
                    if layer.bias is None
                    else torch.stack([part.bias.detach()[None] for part in parts if part.bias is not None]),
                    gain / math.sqrt(layer.weight[0].numel()),
                    None if _is_in_order(flat) else flat.to(device),
                    None if _is_in_order(flat) else _taps_of(flat, inputs, outputs * taps).to(device),
                    inputs,
                    outputs,
                    taps,
                    has_outside,
                )
            )
            gain = layer.gain
            size = tuple(side // layer.stride for side in size)
        self.gain = gain
        self._rooms: dict[tuple[str, int], Tensor] = {}
        self.readout = torch.stack([network.readout.detach() for network in networks])
        self.readout_bias = torch.stack([network.readout_bias.detach() for network in networks])

    def __len__(self) -> int:
        return len(self.readout)

    @property
    def tensors(self) -> list[Tensor]:
        """All weights and biases, one network a row."""
        found = [each for layer in self.layers for each in (layer.weight, layer.bias) if each is not None]
        return [*found, self.readout, self.readout_bias]

    def only(self, networks: Sequence[int]) -> None:
        """Keep some of the networks and let go of the others."""
        chosen = torch.tensor(list(networks), dtype=torch.int64, device=self.readout.device)
        for layer in self.layers:
            layer.weight = layer.weight[chosen]
            layer.bias = None if layer.bias is None else layer.bias[chosen]
        self.readout, self.readout_bias = self.readout[chosen], self.readout_bias[chosen]

    def write_to(self, model: SimpleCNN, network: int) -> None:
        """Copy the weights of one network into a model."""
        with torch.no_grad():
            for layer, each in zip(self.layers, model.layers, strict=True):
                part = cast(SimpleConv, each)
                inputs = part.weight.shape[1]
                own = layer.weight[network].view(len(part.weight), layer.taps, inputs)
                part.weight.copy_(own.transpose(1, 2).reshape(part.weight.shape))
                if layer.bias is not None and part.bias is not None:
                    part.bias.copy_(layer.bias[network, 0])
            model.readout.copy_(self.readout[network])
            model.readout_bias.copy_(self.readout_bias[network])

    def outputs(self, images: Float[Tensor, "networks images pixels channels"]) -> Float[Tensor, "networks images"]:
        """Return f(x) of every network for its own images."""
        return self._forward(images)[0]

    def step(
        self,
        images: Float[Tensor, "networks images pixels channels"],
        signs: Float[Tensor, "networks images"],
        *,
        lr: float,
        ridge: float,
        bias_lr: float | None = None,
    ) -> Float64[Tensor, "networks"]:
        """Take one step of SGD on mean max(0, 1 - y f) + ridge / (channels depth) Σ w², and return the hinge losses.

        Args:
            images: of each network.
            signs: y, +1 or -1.
            lr: of all parameters, the published one times ``channels``.
            bias_lr: of the read-out's bias (default: ``lr``).
            ridge: on filters only, not on biases and the read-out, as published.

        Returns:
            Mean hinge loss of each network before the step, without the ridge.
        """
        outputs, kept = self._forward(images)
        margin = torch.clamp_min(1 - signs * outputs, 0)
        loss = margin.double().mean(1)
        slope = torch.where(margin > 0, -signs / signs.shape[1], 0.0)  # [networks, images]
        channels = self.readout.shape[1]
        pooled, inner = kept[-1]
        pixels = self.layers[-1].outputs
        back = slope[:, :, None] * self.readout[:, :, 0][:, None] * (self.gain / (channels * pixels))
        gradient = back[:, :, None].expand(-1, -1, pixels, -1)
        self.readout.sub_(torch.bmm(pooled.transpose(1, 2), slope[:, :, None]), alpha=lr / channels)
        self.readout_bias.sub_(slope.sum(1, keepdim=True), alpha=lr if bias_lr is None else bias_lr)
        shrink = 1 - 2 * lr * ridge / (channels * len(self.layers))
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            windows, inner = kept[number]
            rows = self.slope.backward(gradient, inner).view(len(self), -1, channels)
            if number:
                gradient = self._to_inputs(layer, number, rows)
            if layer.bias is not None:
                layer.bias.sub_(rows.sum(1, keepdim=True), alpha=lr)
            layer.weight.baddbmm_(rows.transpose(1, 2), windows, beta=shrink, alpha=-lr * layer.scale)
        return loss

    def _forward(self, images: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return outputs, and of every layer its windows and what the slope of its activation needs."""
        kept: list[tuple[Tensor, Tensor]] = []
        count = images.shape[1]
        for number, layer in enumerate(self.layers):
            if layer.has_outside:
                images = torch.nn.functional.pad(images, (0, 0, 0, 1))
            if layer.seen is not None:
                room = self._room("windows", number, len(self), count, len(layer.seen), images.shape[3])
                images = torch.index_select(images, 2, layer.seen, out=room)
            windows = images.reshape(len(self), count * layer.outputs, -1)
            room = self._room("values", number, len(self), windows.shape[1], layer.weight.shape[1])
            bias, beta = (room, 0) if layer.bias is None else (layer.bias, 1)
            values = torch.baddbmm(bias, windows, layer.weight.transpose(1, 2), beta=beta, alpha=layer.scale, out=room)
            values, inner = self.slope.forward(values)
            images = values.view(len(self), count, layer.outputs, -1)
            kept.append((windows, inner))
        pooled = images.mean(2).mul_(self.gain)
        outputs = torch.baddbmm(self.readout_bias[:, None], pooled, self.readout, alpha=1 / self.readout.shape[1])
        kept.append((pooled, pooled))
        return outputs[:, :, 0], kept

    def _to_inputs(self, layer: _Layer, number: int, rows: Tensor) -> Tensor:
        """Return the gradient ``[networks, images, pixels, channels]`` of a layer's inputs from that of its values."""
        count = rows.shape[1] // layer.outputs
        room = self._room("taps", number, len(self), rows.shape[1], layer.weight.shape[2])
        taps = torch.baddbmm(room, rows, layer.weight, beta=0, alpha=layer.scale, out=room)
        taps = taps.view(len(self), count, layer.outputs * layer.taps, -1)
        if layer.back is None:
            return taps
        if layer.has_outside:
            taps = torch.nn.functional.pad(taps, (0, 0, 0, 1))
        room = self._room("gathered", number, len(self), count, len(layer.back), taps.shape[3])
        gathered = torch.index_select(taps, 2, layer.back, out=room)
        return gathered.view(len(self), count, layer.inputs, -1, taps.shape[3]).sum(3)

    def _room(self, use: str, number: int, *shape: int) -> Tensor:
        """Return memory for a result, the same at every step: fresh blocks cost page faults."""
        room = self._rooms.get((use, number))
        if room is None or room.shape != shape:
            room = self._rooms[use, number] = torch.empty(shape, dtype=self.readout.dtype, device=self.readout.device)
        return room


def _flat(weight: Tensor) -> Tensor:
    """Return filters ``[channels, inputs, *taps]`` as ``[channels, taps * inputs]``."""
    return weight.flatten(2).transpose(1, 2).reshape(len(weight), -1).contiguous()


def _is_in_order(flat: Tensor) -> bool:
    return torch.equal(flat, torch.arange(len(flat)))


def _taps_of(flat: Tensor, inputs: int, none: int) -> Tensor:
    """Return the taps that see each input pixel, as many for each, filled up with ``none``."""
    seen = [(flat == pixel).nonzero()[:, 0] for pixel in range(inputs)]
    most = max(len(taps) for taps in seen)
    table = torch.full((inputs, most), none)
    for pixel, taps in enumerate(seen):
        table[pixel, : len(taps)] = taps
    return table.flatten()
