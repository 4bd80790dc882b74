"""Why R falls with depth in a network that has learned nothing: noise through max pooling and rectifiers.

    python examples/noise_at_initialisation.py                                            # digits, a minute
    python examples/noise_at_initialisation.py --data parquet:cifar10 --normalize cifar10 --model poolscope:vgg11_bn

One network at initialisation is measured as it is, with other pooling, with other activations, and with other
batch-norm statistics, at several displacements. The maximum of noisy pixels, and the positive part of noise, have a
mean above zero that is the same for all images: it piles up with depth and raises G. Statistics of the noisy batch
itself take it out again.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

import poolscope as ps


class Subsample(nn.Module):
    """Every other pixel: the size of a 2x2 pooling, and no pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2, ::2]


def replaced(model: nn.Module, kind: type[nn.Module], by: Callable[[], nn.Module]) -> nn.Module:
    """Return a copy in which every module of a kind is another one."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kind):
                setattr(parent, name, by())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--split", default="test")
    parser.add_argument("--normalize", default="auto")
    parser.add_argument("--model", default="poolscope:minivgg")
    parser.add_argument("--weights", help="initial weights, *.safetensors (default: fresh ones of --seed)")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--displacements", type=float, nargs="+", default=[0.3, 0.816, 1.5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("noise-at-initialisation"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    data = {"split": arguments.split, "normalize": arguments.normalize, "count": arguments.images}
    images = ps.load_images(arguments.data, **data)
    model = ps.load_model(
        arguments.model, in_channels=images.shape[1], num_classes=10, weights=arguments.weights, seed=arguments.seed
    )
    no_pooling = replaced(model, nn.MaxPool2d, Subsample)
    by_batch = {"bn": "batch", "batch_size": 100}
    cases: dict[str, tuple[nn.Module, dict[str, object]]] = {
        "as it is": (model, {}),
        "max pooling: every other pixel": (no_pooling, {}),
        "max pooling: average": (replaced(model, nn.MaxPool2d, lambda: nn.AvgPool2d(2)), {}),
        "ReLU: tanh": (replaced(model, nn.ReLU, nn.Tanh), {}),
        "every other pixel, linear": (replaced(no_pooling, nn.ReLU, nn.Identity), {"layers": "weights"}),
        "batch norm re-estimated": (model, {"bn": "reestimate"}),
        "batch norm by each batch": (model, by_batch),
    }
    tables = []
    for name, (network, options) in cases.items():
        for size in arguments.displacements:
            result = ps.measure(
                network, images, ps.Diffeomorphism(size, 3), seed=arguments.seed, name=name, progress=False, **options
            )
            tables.append(result.table.assign(displacement=size, cutoff=3))
    table = pd.concat(tables, ignore_index=True)
    ps.Result(table, result.record).save(arguments.out / "measurement.parquet")
    output = table[table["layer"] == "output"]
    print(f"the output of {arguments.model} at initialisation, {len(images)} images of {arguments.data}")
    columns = ["model", "displacement", "D", "G", "R", "R_low", "R_high"]
    print(output[columns].to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
