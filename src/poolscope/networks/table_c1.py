"""Table C1 of the paper beside the parameters of the networks here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from poolscope.networks.catalogue import NETWORKS

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "parameters_printed",
    "activation",
    "pooling",
    "dropout",
    "batch_norm",
    "skip_connections",
)
# as printed; of lists of depths, the row's own
_PRINTED: dict[str, tuple[str, ...]] = {
    "fullconn": ("200k", "ReLU", "—", "—", "—", "—"),
    "lenet": ("62k", "ReLU", "Max", "—", "—", "—"),
    "alexnet": ("23 M", "ReLU", "Max", "Yes", "—", "—"),
    "vgg": ("9–20 M", "ReLU", "Max", "—", "Conditional", "—"),
    "resnet": ("11–24 M", "ReLU", "Avg. (last)", "—", "Yes", "Yes"),
    "efficientnet": ("5", "Swish", "Avg. (last)", "Yes + Dropconnect", "Yes", "Yes (inv. residuals)"),
}
_ROWS: tuple[tuple[str, str, int], ...] = (
    *((f"fullconn{depth}", "fullconn", depth) for depth in (2, 4, 6)),
    ("lenet", "lenet", 5),
    ("alexnet", "alexnet", 8),
    *((f"vgg{depth}{norm}", "vgg", depth) for depth in (11, 16, 19) for norm in ("", "_bn")),
    *((f"resnet{depth}", "resnet", depth) for depth in (18, 34, 50)),
    ("efficientnet_b0", "efficientnet", 18),
)
_NOTES = {
    "fullconn": "10 of them are a bias of the output which the published networks have and do not use",
    "efficientnet": "Table C1 prints 5 (million), as EfficientNetB0 for ImageNet has; the authors' network at CIFAR "
    "size has 3.6 million, 1,088 of which it never uses",
}


def table_c1() -> pd.DataFrame:
    """Return the paper's table of networks, one row each, beside the parameters counted here.

    Columns: ``name`` (for `load_model`), those of Table C1 as printed (``depth``, ``fully_connected_layers``,
    ``parameters_printed``, ``activation``, ``pooling``, ``dropout``, ``batch_norm``, ``skip_connections``),
    ``parameters`` (of the network here, at 10 classes, 3 channels and 32x32 pixels), and ``note``.

    Raises:
        ImportError: torchvision is not installed.
    """
    import pandas as pd

    rows = []
    for name, family, depth in _ROWS:
        linear = {"fullconn": depth, "lenet": 3, "alexnet": 3}.get(family, 1)
        with torch.device("meta"):  # shapes without numbers
            network = NETWORKS[name]()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        rows.append(
            {
                "name": f"poolscope:{name}",
                "depth": depth,
                "fully_connected_layers": linear,
                **dict(zip(_COLUMNS, _PRINTED[family], strict=True)),
                "parameters": parameters,
                "note": _NOTES.get(family, ""),
            }
        )
    return pd.DataFrame(rows)
