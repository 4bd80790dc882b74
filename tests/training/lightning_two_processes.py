"""Run by test_lightning in processes of its own: a distributed training whose processes write down what they saw."""

import logging
import os
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope.training.monitor as module
from poolscope._torchvision import import_torchvision

import_torchvision()  # Lightning's import of it fails where its compiled operators are missing

import lightning.pytorch as pl  # noqa: E402


class Small(pl.LightningModule):
    """One convolution, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: list[Tensor], number: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    folder = Path(sys.argv[1])
    images = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(images, torch.arange(16) % 2), batch_size=4)
    calls, measure = [], module.measure

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        return measure(*arguments, **options)

    module.measure = counted
    monitor = module.SensitivityMonitor(images)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", callbacks=[monitor], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(Small(), loader)
    assert "sensitivity/R/output" in trainer.callback_metrics
    rank = os.environ.get("LOCAL_RANK", "0")
    monitor.table.to_pickle(folder / f"{rank}.pkl")
    (folder / f"calls{rank}").write_text(str(len(calls)))


if __name__ == "__main__":
    main()
