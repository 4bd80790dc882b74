"""Watching a forward pass: every module output and every elementwise nonlinearity, at the moment it is produced."""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from poolscope.probe.functions import NONLINEARITIES, is_product

#: Called with the name of a module or a nonlinearity, the tensor or structure it produced, and the function called.
Listener = Callable[[str, Any, Any], None]


def first_tensor(output: Any) -> Tensor | None:
    """Return ``output`` itself, or the first floating-point tensor inside a tuple, list, dict or data class."""
    for _, tensor in tensors_in(output):
        return tensor
    return None


def tensors_in(output: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield each floating-point tensor in a nest of tuples, lists, dicts and data classes, with its path."""
    if isinstance(output, Tensor):
        if output.dtype.is_floating_point:
            yield path, output
    elif isinstance(output, dict):
        for key, value in output.items():
            yield from tensors_in(value, f"{path}[{key!r}]")
    elif isinstance(output, (tuple, list)):
        for number, value in enumerate(output):
            yield from tensors_in(value, f"{path}[{number}]")
    elif hasattr(output, "__dataclass_fields__"):
        for key in output.__dataclass_fields__:
            yield from tensors_in(getattr(output, key), f"{path}.{key}")


class Watcher(TorchFunctionMode):
    """Tells a listener of the named modules' outputs and, where asked, of every nonlinearity called anywhere.

    A thing that is produced again within one forward gets "#2", "#3" … behind its name. A nonlinearity called as a
    function is named after it within the module that called it, with "()" where a module has that very name.

    Args:
        model: what will be called; hooks are attached on entry and removed on every way out.
        listener: called as things are produced; must not keep the tensors it is given (they may be overwritten). Calls
            of the model that do not come through ``forward`` go unreported: two watchers may share modules.
        modules: names of modules to report, or None for all.
        functions: whether to report nonlinearities that are called as functions.
        on_call: called for every torch function after it ran, with (function, args, kwargs, result).
    """

    def __init__(
        self,
        model: nn.Module,
        listener: Listener,
        *,
        modules: frozenset[str] | None = None,
        functions: bool = True,
        on_call: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None] | None = None,
    ):
        super().__init__()
        self.model = model
        self.listener = listener
        self.modules = modules
        self.functions = functions
        self.on_call = on_call
        self._handles: list[RemovableHandle] = []
        self._stack: list[str] = []
        self._calls: Counter[str] = Counter()
        self._sigmoids: dict[int, tuple[weakref.ref[Tensor], weakref.ref[Tensor]]] = {}
        self._module_names = frozenset(name for name, _ in model.named_modules())
        self._running = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[Watcher]:
        """Attach hooks for the time of the block."""
        try:
            for name, module in self.model.named_modules():
                if not name:
                    continue
                wanted = self.modules is None or name in self.modules
                if self.functions:
                    # First in, so that the stack names this module whatever the user's own hooks call.
                    self._handles.append(module.register_forward_pre_hook(partial(self._enter, name), prepend=True))
                if self.functions or wanted:
                    self._handles.append(module.register_forward_hook(partial(self._leave, name, wanted)))
            yield self
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self._stack.clear()

    def forward(self, images: Tensor) -> Any:
        """Run the model once."""
        self._stack.clear()  # a forward that raised leaves it as it was
        self._calls.clear()
        self._sigmoids.clear()
        self._running = True
        try:
            if not self.functions:
                return self.model(images)
            with self:
                return self.model(images)
        finally:
            self._running = False

    @property
    def inside(self) -> str:
        """Name of the innermost module now running; empty in the model's own forward."""
        return self._stack[-1] if self._stack else ""

    def report(self, name: str, value: Any, source: Any) -> None:
        """Tell the listener, counting repeats."""
        self._calls[name] += 1
        repeat = self._calls[name]
        with torch._C.DisableTorchFunction():  # what the listener computes is none of the model's business
            self.listener(name if repeat == 1 else f"{name}#{repeat}", value, source)

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        self._stack.append(name)

    def _leave(self, name: str, wanted: bool, module: nn.Module, args: Any, output: Any) -> None:
        if self.functions:
            while self._stack and self._stack.pop() != name:
                pass
        if wanted and self._running:
            self.report(name, output, module)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = NONLINEARITIES.get(func)
        if name is None and is_product(func) and self._is_swish(args):
            name = "silu"
        if name is not None and isinstance(result, Tensor):
            if name == "sigmoid" and args and isinstance(args[0], Tensor):
                self._sigmoids[id(result)] = (weakref.ref(result), weakref.ref(args[0]))
            full = f"{self.inside}.{name}" if self.inside else name
            self.report(f"{full}()" if full in self._module_names else full, result, func)
        if self.on_call is not None:
            self.on_call(func, args, kwargs, result)
        return result

    def _is_swish(self, args: tuple[Any, ...]) -> bool:
        """Return whether these are the two factors of x * sigmoid(x), the swish spelt out."""
        if len(args) != 2:
            return False
        for factor, other in (args, args[::-1]):
            sigmoid, argument = self._sigmoids.get(id(factor), (None, None))
            if sigmoid is not None and argument is not None and sigmoid() is factor and argument() is other:
                return True
        return False
