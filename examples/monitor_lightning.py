"""D, G and R of a network while Lightning trains it: the monitor is a callback (needs ``pip install lightning``).

    python examples/monitor_lightning.py                  # the digits, a few seconds an epoch
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps
from poolscope._torchvision import import_torchvision

import_torchvision()  # only needed where torchvision lacks its compiled operators: Lightning's own import would fail

import lightning.pytorch as pl  # noqa: E402


class Classifier(pl.LightningModule):
    """A classifier as Lightning wants it; its ``forward`` is what the monitor measures."""

    def __init__(self) -> None:
        super().__init__()
        self.network = ps.load_model("poolscope:minivgg", in_channels=1, seed=0).train()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=500, help="training images, 1437 at most")
    parser.add_argument("--measured", type=int, default=100, help="test images to measure on, 360 at most")
    parser.add_argument("--displacement", type=float, default=0.5, help="rms, in pixels")
    parser.add_argument("--out", type=Path, default=Path("monitored-by-lightning"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    pl.seed_everything(0)
    images, labels = ps.load_images("digits", split="train", count=arguments.images, with_labels=True)
    monitor = ps.SensitivityMonitor(
        ps.load_images("digits", split="test", count=arguments.measured),
        at=(0, 1, 3, 10, 30, arguments.epochs),
        deformation=ps.Diffeomorphism(displacement=arguments.displacement, cutoff=3),
    )
    trainer = pl.Trainer(
        max_epochs=arguments.epochs,
        callbacks=[monitor],
        logger=pl.loggers.CSVLogger(arguments.out, name=None),  # has sensitivity/R/output beside the loss
        default_root_dir=arguments.out,
        enable_progress_bar=False,
    )
    trainer.fit(Classifier(), DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True))

    outputs = monitor.table.query("layer == 'output'")
    print(outputs[["epoch", "D", "G", "R", "R_low", "R_high"]].to_string(index=False, float_format="{:.3f}".format))
    monitor.table.to_parquet(arguments.out / "measurement.parquet")
    print(f"wrote measurement.parquet to {arguments.out}, with Lightning's own metrics and checkpoint")


if __name__ == "__main__":
    main()
