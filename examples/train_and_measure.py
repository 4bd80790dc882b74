"""Train a small network by name, then measure it before and after; killed at any moment, the same command goes on.

    python examples/train_and_measure.py                                              # digits, half a minute
    python examples/train_and_measure.py --data cifar10 --model poolscope:vgg11_bn --recipe laptop --out vgg  # longer

The data set needs labels and the splits "train" and "test".
"""

import argparse
from pathlib import Path

import poolscope as ps
from poolscope.report import plot_sensitivities, save_figure
from poolscope.training import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="poolscope:minivgg")
    parser.add_argument("--normalize", default="auto")
    parser.add_argument("--recipe", default="digits", help="a name (poolscope info --recipes) or a TOML file")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000, help="test images to measure on, at most")
    parser.add_argument("--displacement", type=float, default=1.0, help="rms, in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("train-and-measure"))
    arguments = parser.parse_args()

    recipe = load_recipe(arguments.recipe).changed(epochs=arguments.epochs, warmup_epochs=arguments.epochs / 10)
    run = ps.train(
        arguments.model,
        arguments.data,
        out=arguments.out / "run",
        recipe=recipe,
        seed=arguments.seed,
        normalize=arguments.normalize,
    )
    print(f"test error {run.outcome['best_test_error']:.1%}, after epoch {run.outcome['best_epoch']}")

    best = run.model("best")  # rebuilt from run/best.safetensors, which knows its network
    test_images = ps.load_images(arguments.data, split="test", for_model=best)
    comparison = ps.compare(
        {"initial": run.model("initial"), "trained": best},
        images=test_images[: arguments.images],
        deformation=ps.Diffeomorphism(displacement=arguments.displacement, cutoff=3),
        seed=arguments.seed,
    )
    print(comparison.table.to_string(index=False, float_format="{:.3f}".format))
    comparison.result.save(arguments.out / "measurement.parquet")
    save_figure(plot_sensitivities(comparison.result.table), arguments.out / "sensitivities")
    print(f"wrote the run, measurement.parquet and sensitivities.png and .pdf to {arguments.out}")


if __name__ == "__main__":
    main()
