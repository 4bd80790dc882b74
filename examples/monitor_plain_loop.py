"""D, G and R of a network while it learns, in a training loop of one's own.

    python examples/monitor_plain_loop.py                 # the digits, a few seconds an epoch
    python examples/monitor_plain_loop.py --epochs 10 --images 1437
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=500, help="training images, 1437 at most")
    parser.add_argument("--measured", type=int, default=100, help="test images to measure on, 360 at most")
    parser.add_argument("--displacement", type=float, default=0.5, help="rms, in pixels")
    parser.add_argument("--out", type=Path, default=Path("monitored"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(0)
    images, labels = ps.load_images("digits", split="train", count=arguments.images, with_labels=True)
    batches = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    model = ps.load_model("poolscope:minivgg", in_channels=1, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

    monitor = ps.SensitivityMonitor(
        ps.load_images("digits", split="test", count=arguments.measured),
        at=(0, 1, 3, 10, 30, arguments.epochs),
        deformation=ps.Diffeomorphism(displacement=arguments.displacement, cutoff=3),
        log=lambda values, epoch: print(f"epoch {epoch}: R of the output {values['R/output']:.3f}"),
    )
    monitor(model, 0)  # before training
    for epoch in range(1, arguments.epochs + 1):
        model.train()
        for batch, target in batches:
            loss = nn.functional.cross_entropy(model(batch), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        monitor(model, epoch)  # measures at the epochs asked for, and leaves the training as it was

    outputs = monitor.table.query("layer == 'output'")
    print(outputs[["epoch", "D", "G", "R", "R_low", "R_high"]].to_string(index=False, float_format="{:.3f}".format))
    monitor.table.to_parquet(arguments.out / "measurement.parquet")
    print(f"wrote measurement.parquet to {arguments.out}")


if __name__ == "__main__":
    main()
