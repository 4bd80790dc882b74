"""Your own model and your own images, from start to finish: train, measure, shuffle, and write a page.

    python examples/own_model.py                          # the digits as image files, about a minute
    python examples/own_model.py --images photos          # a folder with one subfolder a class
"""

import argparse
import copy
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

import poolscope as ps
from poolscope.report import panels, save_panels, write_report
from poolscope.training import accuracy, fit, load_recipe


class Residual(nn.Module):
    """Two convolutions beside a skip connection, as many networks have them."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


class MyNet(nn.Module):
    """A small network of one's own: nothing in it knows of poolscope."""

    def __init__(self, colours: int, classes: int, channels: int = 24):
        super().__init__()
        self.stem = nn.Conv2d(colours, channels, 5, stride=2, padding=2)
        self.one, self.two = Residual(channels), Residual(channels)
        self.classify = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(torch.relu(self.stem(x)))
        x = self.two(nn.functional.max_pool2d(x, 2))
        return self.classify(x.mean(dim=(2, 3)))


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as image files, one subfolder a class, as anyone's images might lie."""
    images, labels = ps.load_images("digits", normalize="none", with_labels=True)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * image[0]).byte().numpy()).save(folder / str(label) / f"{number:04d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder with one subfolder a class")
    parser.add_argument("--size", type=int, default=32, help="pixels per side")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--shuffles", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("own-model"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    folder = arguments.images or arguments.out / "digits"
    if arguments.images is None and not folder.exists():
        write_digits(folder)

    images, labels = ps.load_images(f"imagefolder:{folder}", size=arguments.size, with_labels=True)
    images = (images - images.mean()) / images.std()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(arguments.seed))
    test, train = order[: len(images) // 5], order[len(images) // 5 :]

    torch.manual_seed(arguments.seed)
    initial = MyNet(colours=images.shape[1], classes=int(labels.max()) + 1)
    trained = copy.deepcopy(initial)
    recipe = load_recipe("digits").changed(epochs=arguments.epochs, warmup_epochs=arguments.epochs / 10)
    fit(trained, images[train], labels[train], recipe=recipe, seed=arguments.seed, on_epoch=print)
    reached = accuracy(trained, images[test], labels[test])

    found = ps.pooling_analysis(
        trained,
        images[test],
        displacement=[0.5, 1.0],
        initial=initial,
        draws=arguments.shuffles,
        recalibrate=True,
        seed=arguments.seed,
        name="MyNet",
    )
    spectrum = ps.filter_spectrum(trained, initial=initial, name="MyNet")
    print(found.shares[["layer", "displacement", "R", "R_shuffled", "spatial_share", "note"]].to_string(index=False))

    found.result.save(arguments.out / "measurement.parquet")
    save_panels(panels(found.result.table, shares=found.shares, spectrum=spectrum), arguments.out)
    page = write_report(
        arguments.out / "report.html",
        title="Where MyNet loses spatial information",
        results=found.result.table,
        record=found.record,
        shares=found.shares,
        contrasts=found.contrasts,
        spectrum=spectrum,
        remarks=[f"Accuracy on {len(test)} test images: {reached:.1%}."],
    )
    print(f"test accuracy {reached:.1%}; open {page}")


if __name__ == "__main__":
    main()
