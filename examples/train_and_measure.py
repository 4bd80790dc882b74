"""Train a small network on your images, then measure it before and after, from start to finish.

    python examples/train_and_measure.py                                              # digits, half a minute
    python examples/train_and_measure.py --data parquet:cifar10 --epochs 12 --out cifar  # CIFAR-10 as Parquet, minutes

The data set needs labels and the splits "train" and "test".
"""

import argparse
import copy
from pathlib import Path

import torch

import poolscope as ps
from poolscope.networks import write_weights
from poolscope.report import plot_sensitivities, save_figure
from poolscope.training import accuracy, fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="poolscope:minivgg")
    parser.add_argument("--normalize", default="auto")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.05, help="highest learning rate")
    parser.add_argument("--crop", type=int, default=2, help="largest random move of a training image, in pixels")
    parser.add_argument("--flip", action="store_true", help="mirror training images at random")
    parser.add_argument("--channels-last", action="store_true", help="faster for convolutions on most machines")
    parser.add_argument("--images", type=int, default=1000, help="test images to measure on, at most")
    parser.add_argument("--displacement", type=float, default=1.0, help="rms, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("train-and-measure"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    options = {"with_labels": True, "normalize": arguments.normalize}
    images, labels = ps.load_images(arguments.data, split="train", **options)
    test_images, test_labels = ps.load_images(arguments.data, split="test", **options)

    classes = int(labels.max()) + 1
    initial = ps.load_model(arguments.model, in_channels=images.shape[1], num_classes=classes, seed=arguments.seed)
    trained = copy.deepcopy(initial)
    if arguments.channels_last:
        trained = trained.to(memory_format=torch.channels_last)
    fit(
        trained,
        images,
        labels,
        epochs=arguments.epochs,
        batch_size=128,
        lr=arguments.lr,
        crop_padding=arguments.crop,
        flip=arguments.flip,
        seed=arguments.seed,
        on_epoch=print,
    )
    print(f"test accuracy: {accuracy(trained, test_images, test_labels):.1%}")
    write_weights(initial, arguments.out / "initial.safetensors")
    write_weights(trained, arguments.out / "trained.safetensors")

    comparison = ps.compare(
        {"initial": initial, "trained": trained},
        images=test_images[: arguments.images],
        deformation=ps.Diffeomorphism(displacement=arguments.displacement, cutoff=3),
        seed=arguments.seed,
    )
    print(comparison.table.to_string(index=False, float_format="{:.3f}".format))
    comparison.result.save(arguments.out / "measurement.parquet")
    save_figure(plot_sensitivities(comparison.result.table), arguments.out / "sensitivities")
    print(f"wrote weights, measurement.parquet and sensitivities.png and .pdf to {arguments.out}")


if __name__ == "__main__":
    main()
