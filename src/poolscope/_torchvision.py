"""Import torchvision, and what builds on it, also where its compiled operators are missing.

torchvision registers shape rules for its operators (`nms` and others) while it is imported. Beside a torch of
another version its compiled library does not load, the operators do not exist, and the whole import fails, although
models, transforms and data sets need none of them. Declaring the two operators by name, without an implementation, is
enough: everything but the operators themselves then works.
"""

import importlib
import sys
from types import ModuleType

import torch

_SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")
_declared: torch.library.Library | None = None  # the declarations last as long as this object


def import_torchvision() -> ModuleType:
    """The torchvision package, with the names of its compiled operators declared if the import needs them.

    Where the operators exist, or torchvision is imported already, nothing is changed.

    Raises:
        ImportError: if torchvision is not installed. Any other failure of its import comes through as it is.
    """
    try:
        return _import("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    _declare_operators()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    return _import("torchvision")


def import_timm() -> ModuleType:
    """The timm package, which imports torchvision on its way.

    Raises:
        ImportError: if timm or torchvision is not installed.
    """
    import_torchvision()
    return _import("timm")


def import_torchmetrics() -> ModuleType:
    """The torchmetrics package, which imports torchvision on its way where that is installed.

    Raises:
        ImportError: if torchmetrics is not installed.
    """
    try:
        import_torchvision()
    except ImportError as error:
        if not isinstance(error.__cause__, ModuleNotFoundError):
            raise
    return _import("torchmetrics")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # installed, but something it needs is not
            raise
        package = "poolscope[timm]" if name == "timm" else name  # the others come with poolscope itself
        raise ImportError(f'{name} is not installed: pip install "{package}"', name=name) from error


def _declare_operators() -> None:
    global _declared
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            _declared.define(_SCHEMA.format(operator))
