"""Representations of a model as poolscope catches them, and as plain hooks do."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from poolscope.probe import select, survey
from poolscope.sensitivity.sums import LayerSums

Catch = Callable[..., dict[str, Tensor]]


@pytest.fixture
def representations() -> Catch:
    """``(model, images, layers) -> {layer name: [N, features]}``, the input included."""

    def catch(model: nn.Module, images: Tensor, layers: str | Sequence[str] = "all") -> dict[str, Tensor]:
        with torch.no_grad():
            sums = LayerSums(
                model,
                select(survey(model, images[:2]), layers),
                draws=1,
                readout="values",
                autocast=None,
                image_shape=(images.shape[-2], images.shape[-1]),
                reference=images,
                reference_leads=False,
                parts=[],
            )
            with sums.watching():
                rows = sums.representations(images)
        return {layer.name: values for layer, values in zip(sums.layers, rows, strict=True)}

    return catch


@pytest.fixture
def hooked() -> Catch:
    """``(model, images) -> {module name or name#call: [N, features]}``, by hooks that copy what each module returns."""

    def catch(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        calls: Counter[str] = Counter()

        def keep(name: str) -> Callable[[nn.Module, object, object], None]:
            def hook(module: nn.Module, args: object, output: object) -> None:
                calls[name] += 1
                if isinstance(output, Tensor):
                    found[name if calls[name] == 1 else f"{name}#{calls[name]}"] = output.clone()

            return hook

        handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if name]
        with torch.no_grad():
            found["output"] = model(images.clone())
        for handle in handles:
            handle.remove()
        return {name: value.reshape(len(images), -1) if value.ndim else value for name, value in found.items()}

    return catch
