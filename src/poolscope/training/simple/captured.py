"""A training step as a captured graph: on a GPU, where small networks wait for the launch of each operation."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from poolscope.training.simple.stack import Stack

Step = Callable[[Tensor, Tensor], Tensor]

_WARM_UPS = 3


def stepper(stack: Stack, *, lr: float, ridge: float, bias_lr: float | None) -> Step:
    """Return the step of a stack, a function of images and signs: plain on the CPU, on a GPU captured when first used.

    The captured step belongs to the stack's present networks: after ``Stack.only`` make another.

    Args:
        stack: what is trained.
        lr, ridge, bias_lr: as for ``Stack.step``.
    """

    def plain(images: Tensor, signs: Tensor) -> Tensor:
        return stack.step(images, signs, lr=lr, ridge=ridge, bias_lr=bias_lr)

    return _Captured(stack, plain) if stack.readout.is_cuda else plain


class _Captured:
    def __init__(self, stack: Stack, plain: Step):
        self.stack = stack
        self.plain = plain
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self,
        images: Float[Tensor, "networks images pixels channels"],
        signs: Float[Tensor, "networks images"],
    ) -> Float64[Tensor, "networks"]:
        if self.graph is None:
            self._capture(images, signs)
        assert self.graph is not None
        self.images.copy_(images)
        self.signs.copy_(signs)
        self.graph.replay()
        return self.loss.clone()

    def _capture(self, images: Tensor, signs: Tensor) -> None:
        """Warm up on a stream of its own, as capturing asks for, put the weights back, and capture."""
        self.images, self.signs = images.clone(), signs.clone()
        weights = [each.clone() for each in self.stack.tensors]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self.plain(self.images, self.signs)
        torch.cuda.current_stream().wait_stream(side)
        for each, before in zip(self.stack.tensors, weights, strict=True):
            each.copy_(before)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.plain(self.images, self.signs)
