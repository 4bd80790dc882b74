"""Three small forwards that tell which tensors a model makes, which of them can be measured, and what each one is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from poolscope.probe.functions import GATES, NONLINEARITIES, is_attention, is_product
from poolscope.probe.watch import Watcher, first_tensor, tensors_in

Kind = Literal["input", "activation", "weight", "block", "module", "output"]


@dataclass
class Layer:
    """One tensor a model produces in its forward, and how to find the images in it.

    ``axis`` is the batch axis, None where none could be found; along axis 0 an image may have several rows
    (attention windows). ``shape`` is what one image gets. ``is_gate``: a sigmoid whose output multiplies something.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    axis: int | None = None
    is_function: bool = False
    is_gate: bool = False

    @property
    def features(self) -> int:
        """Numbers an image has at this layer."""
        total = 1
        for length in self.shape:
            total *= length
        return total

    @property
    def is_spatial(self) -> bool:
        """Whether more than one position is left: two axes of more than one entry (channels and space)."""
        return sum(length > 1 for length in self.shape) >= 2


@dataclass
class Survey:
    """All tensors of a forward in the order they were made, the outputs last."""

    layers: list[Layer]
    uses_attention: bool
    is_random: bool = False
    mixes_images: bool = False  # outputs grow with the batch, but none has rows that follow the images


@dataclass
class _Event:
    name: str
    source: Any
    shape: tuple[int, ...] = ()
    sums: dict[int, Tensor] = field(default_factory=dict)  # batch-axis candidates: sum and square sum of each row
    is_gate: bool = False

    @property
    def module(self) -> str:
        """Name without the "#2" of a repeated call."""
        return self.name.partition("#")[0]

    @property
    def is_function(self) -> bool:
        return not isinstance(self.source, (nn.Module, str))


class _Recorder:
    """Keeps what a forward produced as shapes and checksums, and follows gates to the product they end in."""

    def __init__(self, model: nn.Module):
        self.events: list[_Event] = []
        self.uses_attention = False
        self._gates: dict[int, tuple[Tensor, list[_Event]]] = {}
        self._images = 0
        self._watcher = Watcher(model, self._listen, on_call=self._on_call)

    def run(self, images: Tensor) -> list[tuple[str, Tensor]]:
        """Run one forward; return its outputs."""
        self._images = len(images)
        with self._watcher.watching():
            outputs = list(tensors_in(self._watcher.forward(images.clone())))  # the model may work in place on it
        self._gates.clear()
        for path, tensor in outputs:
            self._record(f"output{path}" if len(outputs) > 1 else "output", tensor, "output")
        return outputs

    def _listen(self, name: str, value: Any, source: Any) -> None:
        tensor = first_tensor(value)
        if tensor is None:
            return
        event = self._record(name, tensor, source)
        if not isinstance(source, nn.Module) and NONLINEARITIES.get(source) in GATES:
            self._gates[id(tensor)] = (tensor, [event])
        elif id(tensor) in self._gates:  # nn.Sigmoid hands on what the function made
            self._gates[id(tensor)][1].append(event)

    def _record(self, name: str, tensor: Tensor, source: Any) -> _Event:
        values = tensor.detach()
        sums: dict[int, Tensor] = {}
        for axis in range(min(2, values.ndim)):
            if values.numel() and (
                values.shape[0] % self._images == 0 if axis == 0 else values.shape[1] == self._images
            ):
                others = [other for other in range(values.ndim) if other != axis]
                total = values.sum(dim=others, dtype=torch.float32) if others else values.float()
                magnitude = torch.linalg.vector_norm(values.float(), ord=1, dim=others) if others else total.abs()
                sums[axis] = torch.stack([total, magnitude], dim=1).cpu()
        event = _Event(name, source, tuple(values.shape), sums)
        self.events.append(event)
        return event

    def _on_call(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if is_attention(function, args, kwargs):
            self.uses_attention = True
        if not self._gates:
            return
        gates = [argument for argument in args if isinstance(argument, Tensor) and id(argument) in self._gates]
        if not gates:
            return
        if is_product(function):
            factors = [argument for argument in args if isinstance(argument, Tensor)]
            if len(factors) == 2 and not any(isinstance(factor, nn.Parameter) for factor in factors):
                for gate in gates:
                    for event in self._gates[id(gate)][1]:
                        event.is_gate = True
        elif isinstance(result, Tensor) and _share_memory(result, gates[0]):
            self._gates[id(result)] = (result, self._gates[id(gates[0])][1])


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def survey(model: nn.Module, images: Tensor) -> Survey:
    """Run ``model`` on two images, on the second, the first, the second, and on the two again; compare what it made.

    The batch axis of a tensor is the one that grows with the batch and whose rows follow the images.

    Args:
        model: in the mode it is to be measured in.
        images: two images as the model takes them, ``[2, ...]``.

    Returns:
        Every tensor produced, in order, with kind and batch axis; the model's outputs last.
    """
    first, second = _Recorder(model), _Recorder(model)
    first.run(images)
    second.run(images[[1, 0, 1]])
    later = {event.name: event for event in second.events if event.source != "output"}
    later_outputs = {event.name: event for event in second.events if event.source == "output"}
    outputs_grow = False
    blocks = block_names(model)
    activations = _activation_modules(first.events)
    layers: list[Layer] = []
    for event in first.events:
        if event.is_function and event.name.rpartition(".")[0] in activations:
            continue  # the module's output stands for it
        taken = any(layer.name == event.name for layer in layers)  # a module may be called "output"
        layer = Layer(
            f"{event.name}#2" if taken else event.name,
            _kind(event, blocks, activations),
            is_function=event.is_function,
            is_gate=event.is_gate,
        )
        other = (later_outputs if event.source == "output" else later).get(event.name)
        if other is not None:
            _find_batch_axis(layer, event, other)
            if event.source == "output" and event.shape[:1] and event.shape[0] * 3 == other.shape[0] * 2:
                outputs_grow = True
        layers.append(layer)
    again = _Recorder(model)
    again.run(images)
    outputs = [layer for layer in layers if layer.kind == "output"]
    return Survey(
        layers,
        first.uses_attention,
        is_random=_differ(first.events, again.events),
        mixes_images=outputs_grow and all(layer.axis is None for layer in outputs),
    )


def _differ(events: list[_Event], again: list[_Event]) -> bool:
    """Return whether two runs on the same images made different things, rounding apart."""
    if [(event.name, event.shape) for event in events] != [(event.name, event.shape) for event in again]:
        return True
    for one, other in zip(events, again, strict=True):
        for axis, rows in one.sums.items():
            # The same shapes take the same kernels; 1e-6 of the magnitudes leaves room for atomic additions on a GPU.
            difference = (rows - other.sums[axis]).abs()
            if bool((difference > 1e-6 * rows[:, 1:].abs() + 1e-30).any()):
                return True
    return False


def _kind(event: _Event, blocks: set[str], activations: set[str]) -> Kind:
    if event.source == "output":
        return "output"
    if event.is_gate:
        return "module"
    if event.is_function or event.module in activations:
        return "activation"
    if event.module in blocks:
        return "block"
    return "weight" if has_matrix(event.source) and not list(event.source.children()) else "module"


def has_matrix(module: nn.Module) -> bool:
    """Return whether the module itself owns a parameter of two or more axes."""
    return any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))


def _activation_modules(events: list[_Event]) -> set[str]:
    """Return the leaf modules without matrices that call a nonlinearity and return its shape: nn.ReLU and its like."""
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for event in events:
        if not isinstance(event.source, (nn.Module, str)):
            shapes.setdefault(event.name.rpartition(".")[0], set()).add(event.shape)
    return {
        event.module
        for event in events
        if isinstance(event.source, nn.Module)
        and not list(event.source.children())
        and not has_matrix(event.source)
        and event.shape in shapes.get(event.module, ())
    }


def _find_batch_axis(layer: Layer, two: _Event, three: _Event) -> None:
    """Fill in ``layer.axis`` and ``layer.shape`` if some axis holds images a, b in one run and b, a, b in the other."""
    for axis, rows in two.sums.items():
        other = three.sums.get(axis)
        if other is None or len(rows) % 2 or len(other) * 2 != len(rows) * 3 or (axis and len(rows) != 2):
            continue
        if three.shape[:axis] + three.shape[axis + 1 :] != two.shape[:axis] + two.shape[axis + 1 :]:
            continue
        a, b = rows.chunk(2)
        expected = torch.cat([b, a, b])
        # Rounding differs with the batch size; the scale is the sum of magnitudes: cancelling sums do not count.
        scale = torch.nan_to_num(expected[:, 1:].abs())
        if not bool((torch.nan_to_num(expected - other).abs() <= 1e-3 * scale + 1e-30).all()):
            continue
        layer.axis = axis
        groups = len(rows) // 2
        rest = two.shape[:axis] + two.shape[axis + 1 :]
        layer.shape = (groups, *rest) if groups > 1 else rest
        return


def block_names(model: nn.Module) -> set[str]:
    """Return the innermost members of Sequential, ModuleList and ModuleDict that hold two or more weighted layers.

    These are what papers call blocks: residual blocks, transformer layers, dense layers, inverted residuals.
    """
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    candidates: set[str] = set()
    for name, module in model.named_modules():
        if not isinstance(module, containers):
            continue
        for child_name, child in module.named_children():
            weighted = sum(has_matrix(part) for part in child.modules())
            if weighted >= 2 and not isinstance(child, containers):
                candidates.add(f"{name}.{child_name}" if name else child_name)
    return {
        name for name in candidates if not any(other != name and other.startswith(f"{name}.") for other in candidates)
    }
