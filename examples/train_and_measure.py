"""Train a small network on your images, then measure it before and after, from start to finish.

    python examples/train_and_measure.py                                              # digits, half a minute
    python examples/train_and_measure.py --data parquet:cifar10 --epochs 12 --out cifar  # CIFAR-10 as Parquet, minutes

The data set needs labels and the splits "train" and "test".
"""

import argparse
import copy
from pathlib import Path

import poolscope as ps
from poolscope.report import plot_sensitivities, save_figure
from poolscope.training import accuracy, fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="poolscope:minivgg")
    parser.add_argument("--normalize", default="auto")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000, help="test images to measure on, at most")
    parser.add_argument("--displacement", type=float, default=1.0, help="rms, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("train-and-measure"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    options = {"with_labels": True, "normalize": arguments.normalize}
    images, labels = ps.load_images(arguments.data, split="train", **options)
    test_images, test_labels = ps.load_images(arguments.data, split="test", **options)

    initial = ps.load_model(arguments.model, in_channels=images.shape[1], seed=arguments.seed)
    trained = copy.deepcopy(initial)
    fit(trained, images, labels, epochs=arguments.epochs, batch_size=128, seed=arguments.seed, on_epoch=print)
    print(f"test accuracy: {accuracy(trained, test_images, test_labels):.1%}")

    comparison = ps.compare(
        {"initial": initial, "trained": trained},
        images=test_images[: arguments.images],
        deformation=ps.Diffeomorphism(displacement=arguments.displacement, cutoff=3),
        seed=arguments.seed,
    )
    print(comparison.table.to_string(index=False, float_format="{:.3f}".format))
    comparison.result.save(arguments.out / "measurement.parquet")
    save_figure(plot_sensitivities(comparison.result.table), arguments.out / "sensitivities")
    print(f"wrote {arguments.out}/measurement.parquet, sensitivities.png and .pdf")


if __name__ == "__main__":
    main()
