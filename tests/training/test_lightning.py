"""The monitor as a callback of a real Lightning Trainer: logged, resumed, and on process zero alone."""

import copy
import csv
import logging
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps
from poolscope._torchvision import import_torchvision
from poolscope.training.monitor import SensitivityMonitor

import_torchvision()  # Lightning's import of it fails where its compiled operators are missing
pl = pytest.importorskip("lightning.pytorch", reason="Lightning is optional: pip install lightning")

# Lightning's advice on workers and devices is not about us.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:lightning", "ignore::FutureWarning:lightning")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """200 digits of 16x16 pixels and their labels."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    images, labels = ps.load_images("digits", split="train", count=200, with_labels=True)
    return nn.functional.avg_pool2d(images, 2), labels


class Classifier(pl.LightningModule):
    """Anyone's module; it keeps its weights after every epoch for the tests to look at."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = nn.Sequential(
                nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
                nn.Linear(392, 10),
            )  # fmt: skip
        self.kept: dict[int, dict[str, Tensor]] = {0: copy.deepcopy(self.state_dict())}

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any, number: int) -> Tensor:
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        self.log("validation_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def on_train_epoch_end(self) -> None:
        self.kept[self.current_epoch + 1] = copy.deepcopy(self.state_dict())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def loader(digits: tuple[Tensor, Tensor]) -> DataLoader:
    return DataLoader(TensorDataset(*digits), batch_size=50, shuffle=True)


def trainer(folder: Path, *callbacks: Any, epochs: int = 2, **options: Any) -> Any:
    """Return a quiet Trainer on the CPU that writes into ``folder`` only."""
    options = {"logger": False, "enable_checkpointing": False, **options}
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, callbacks=list(callbacks), default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1, **options,
    )  # fmt: skip


def measured(weights: dict[str, Tensor], images: Tensor, **options: Any) -> pd.DataFrame:
    model = Classifier()
    model.load_state_dict(weights)
    return ps.measure(model, images, **options).table


def rows_of(table: pd.DataFrame, epoch: int) -> pd.DataFrame:
    return table[table["epoch"] == epoch].drop(columns="epoch").reset_index(drop=True)


def test_rows_are_those_of_measure_on_the_weights_of_that_epoch(digits, tmp_path) -> None:
    options: dict[str, Any] = {"layers": "activations", "deformation": ps.Diffeomorphism(0.7, 3), "seed": 5}
    told: list[int] = []
    monitor = SensitivityMonitor(digits[0], at=(0, 1, 3), log=lambda values, epoch: told.append(epoch), **options)
    logger = pl.loggers.CSVLogger(tmp_path)
    torch.manual_seed(1)
    model = Classifier()
    trainer(tmp_path, monitor, epochs=3, logger=logger).fit(model, loader(digits), loader(digits))
    assert sorted(set(monitor.table["epoch"])) == told == [0, 1, 3]
    for epoch in (0, 1, 3):
        expected = measured(model.kept[epoch], digits[0], **options)
        pd.testing.assert_frame_equal(rows_of(monitor.table, epoch), expected, check_exact=True)
    assert monitor.table.query("layer == 'output'")["R"].nunique() == 3

    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["sensitivity/R/output"]]
    assert [int(line["step"]) for line in lines] == [0, 3, 11]  # four steps an epoch, counted from 0
    for epoch, line in zip((0, 1, 3), lines, strict=True):
        rows = rows_of(monitor.table, epoch).set_index("layer")
        for key in "DGR":
            for layer in ("net.2", "output"):
                # Lightning keeps what modules log in float32, rounded by 6e-8.
                assert float(line[f"sensitivity/{key}/{layer}"]) == pytest.approx(rows.loc[layer, key], rel=1e-7)
        assert not [name for name in line if "input" in name]


def test_training_ends_with_the_same_bits_with_and_without(digits, tmp_path) -> None:
    def trained(*callbacks: Any) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(2)
        model = Classifier()
        trainer(tmp_path, *callbacks).fit(model, loader(digits), loader(digits))
        return model.state_dict(), torch.get_rng_state()

    weights, state = trained()
    monitor = SensitivityMonitor(digits[0], layers="all")
    seen, seen_state = trained(monitor)
    assert sorted(set(monitor.table["epoch"])) == [0, 1, 2]
    assert torch.equal(state, seen_state)
    for name, tensor in weights.items():
        assert torch.equal(tensor, seen[name]), name


@pytest.mark.parametrize("when", ["epoch end", "mid-epoch", "last step", "with validation"])
def test_a_resumed_training_has_the_whole_table(when, digits, tmp_path) -> None:
    validation = [loader(digits)] if when == "with validation" else []
    kind = {"mid-epoch": {"every_n_train_steps": 6}, "last step": {"every_n_train_steps": 8}}.get(when, {})
    saved = pl.callbacks.ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}", **kind)
    first = SensitivityMonitor(digits[0], seed=3)
    trainer(tmp_path, first, saved, enable_checkpointing=True).fit(Classifier(), loader(digits), *validation)
    step = 6 if when == "mid-epoch" else 8
    path = tmp_path / f"step={step}.ckpt"
    assert "SensitivityMonitor sensitivity" in torch.load(path, weights_only=True)["callbacks"]  # plain types alone

    told: list[int] = []
    second = SensitivityMonitor(digits[0], seed=3, log=lambda values, epoch: told.append(epoch))
    stranger = SensitivityMonitor(digits[0], prefix="was not there before")
    model = Classifier()
    trainer(tmp_path, second, stranger, epochs=3).fit(model, loader(digits), *validation, ckpt_path=path)
    assert told == ([2, 3] if when in ("mid-epoch", "last step") else [3])  # what was known is not measured again
    assert stranger.table["epoch"].tolist() == [2, 2, 3, 3]  # and nothing in the middle of an epoch
    assert second.table["epoch"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]  # none missing, none twice
    known = (0, 1) if when == "mid-epoch" else (0, 1, 2)  # the batches after it come in another order
    for epoch in known:
        pd.testing.assert_frame_equal(rows_of(second.table, epoch), rows_of(first.table, epoch), check_exact=True)
    expected = measured(model.kept[3], digits[0], layers="output", seed=3)
    pd.testing.assert_frame_equal(rows_of(second.table, 3), expected, check_exact=True)


def test_a_resumed_training_keeps_its_perturbations(digits, tmp_path) -> None:
    saved = pl.callbacks.ModelCheckpoint(tmp_path, filename="last")
    trainer(tmp_path, SensitivityMonitor(digits[0]), saved, enable_checkpointing=True, epochs=1).fit(
        Classifier(), loader(digits)
    )
    other = SensitivityMonitor(digits[0], seed=1)
    with pytest.raises(ValueError, match=r"a monitor must go on as it began.*seed was 0; got 1"):
        trainer(tmp_path, other).fit(Classifier(), loader(digits), ckpt_path=tmp_path / "last.ckpt")


def test_other_callbacks_can_act_on_the_values(digits, tmp_path) -> None:
    monitor = SensitivityMonitor(digits[0])
    stop = pl.callbacks.EarlyStopping("sensitivity/R/output", stopping_threshold=1e9, mode="min")  # any number will do
    run = trainer(tmp_path, monitor, stop, epochs=3)
    run.fit(Classifier(), loader(digits))
    assert run.current_epoch == 1
    last = monitor.table.query("layer == 'output' and epoch == 1")["R"].item()
    assert run.callback_metrics["sensitivity/R/output"].item() == pytest.approx(last, rel=1e-7)


def test_two_monitors_of_one_training(digits, tmp_path) -> None:
    one = SensitivityMonitor(digits[0], at=(0, 1), prefix="small", deformation=ps.Diffeomorphism(0.3, 3))
    two = SensitivityMonitor(digits[0], at=(1,), prefix="large", deformation=ps.Diffeomorphism(0.6, 3))
    run = trainer(tmp_path, one, two, epochs=1)
    run.fit(Classifier(), loader(digits))
    assert {name for name in run.callback_metrics if "/" in name} == {
        f"{prefix}/{key}/output" for prefix in ("small", "large") for key in "DGR"
    }
    assert one.state_dict() != two.state_dict()
    assert one.state_key != two.state_key


def test_unknown_layers_end_the_training_before_it_starts(digits, tmp_path) -> None:
    model = Classifier()
    monitor = SensitivityMonitor(digits[0], layers=["net.9"], at=(30,))
    with pytest.raises(ValueError, match=r"'net.9' is unknown, close are .*net\.5"):
        trainer(tmp_path, monitor).fit(model, loader(digits))
    assert set(model.kept) == {0}


def test_a_model_in_parts_is_refused(digits) -> None:
    strategy = object.__new__(type("Ours", (pl.strategies.FSDPStrategy,), {}))
    with pytest.raises(ValueError, match=r"every process must hold the whole model.*got strategy FSDPStrategy"):
        SensitivityMonitor(digits[0]).on_train_start(SimpleNamespace(strategy=strategy), Classifier())


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_every_hook_of_the_class_it_stands_for_is_there(package) -> None:
    callback = pytest.importorskip(package, reason=f"{package} is optional").Callback
    monitor = SensitivityMonitor(torch.zeros(2, 1, 8, 8))
    hooks = [name for name in vars(callback) if not name.startswith("__") and name != "_generate_state_key"]
    assert len(hooks) > 40
    for name in hooks:
        if callable(vars(callback)[name]) and name not in ("state_dict", "load_state_dict"):
            assert callable(getattr(monitor, name)), name
        else:
            assert hasattr(monitor, name), name
    assert monitor.setup(None, None, stage="fit") is None
    assert not hasattr(monitor, "tabel")
    assert not math.isnan(len(copy.deepcopy(monitor).table))


@pytest.mark.slow  # each process imports everything anew
def test_two_processes_measure_once_and_agree(tmp_path) -> None:
    script = Path(__file__).with_name("lightning_two_processes.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tables = [pd.read_pickle(tmp_path / f"{rank}.pkl") for rank in range(2)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    assert tables[0]["epoch"].tolist() == [0, 0, 1, 1]
    assert [(tmp_path / f"calls{rank}").read_text() for rank in range(2)] == ["2", "0"]
