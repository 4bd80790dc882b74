"""D, G and R of chosen layers against training time, measured inside a training loop that is not ours."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from poolscope.sensitivity import COLUMNS, measure
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import open_source
from poolscope.training._lightning import LightningHooks

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

# What must not change from one epoch to another, or the curve compares different things.
_PAIRED = (
    "data", "size", "images", "deformation", "noise", "draws", "seed", "noise_on", "precision", "readout", "batch_norm",
    "identical_pairs",
)  # fmt: skip


class SensitivityMonitor(LightningHooks):
    """Measures D, G and R of a model while it is trained, at epochs of choice.

    In a loop of your own, call ``monitor(model, epoch)`` before training, as epoch 0, and after every epoch; epochs
    that are not wanted cost nothing. Every epoch sees the same images, deformations and noise, so that the curve over
    epochs is paired. Weights, gradients, mode, hooks and random states stay as they were: training ends with the same
    bits as without a monitor. In Lightning (``lightning`` or ``pytorch_lightning``), hand it over as a callback,
    ``Trainer(callbacks=[monitor])``: epoch 0 is measured before training starts, epoch k when k training epochs have
    ended; process zero measures, with the module's ``forward``, and all get the table.

    One monitor follows one training: an epoch that is measured again replaces what was there.

    Args:
        images: as for ``measure``; without random augmentation, which would differ from epoch to epoch.
        layers: as for ``measure``; the model's output, unless told otherwise.
        at: epochs to measure at.
        every: measure at multiples of this, 0 included. With neither ``at`` nor ``every``, at every epoch.
        log: called as ``log({"D/output": …, "G/output": …, "R/output": …}, epoch)`` after each measurement, the layers
            of the table without the input (``wandb.log`` fits as it is).
        prefix: in Lightning's loggers and checkpoints, the values are ``"sensitivity/R/output"`` and so on; two
            monitors of one training need two prefixes.
        device: where to measure; None: where the model is.
        options: as for ``measure``: ``deformation``, ``noise``, ``draws``, ``seed``, ``batch_size``, ``precision``,
            ``readout``, ``bn``, ``memory_format``, ``noise_on``, ``protocol``, ``name``.

    Raises:
        TypeError: options that ``measure`` does not have.
        ValueError: ``at`` and ``every`` at once, epochs that are not whole numbers from 0, or what ``measure`` refuses;
            what depends on the model, such as unknown layers, is refused at the first call, whether that epoch is
            wanted or not.
    """

    def __init__(
        self,
        images: object,
        *,
        layers: str | Sequence[str] = "output",
        at: Iterable[int] | None = None,
        every: int | None = None,
        log: Callable[[dict[str, float], int], object] | None = None,
        prefix: str = "sensitivity",
        device: str | torch.device | None = None,
        **options: Any,
    ) -> None:
        self._at, self._every = _epochs(at, every)
        unknown = set(options) - set(inspect.signature(make_settings).parameters) - {"name"}
        if unknown:
            raise TypeError(f"options must be those of measure for one process; got {', '.join(sorted(unknown))}")
        self._images = images
        self._log = log  # under its own name: a Trainer gives every callback a `log` and a `log_dict` of its module
        self.prefix = prefix
        self._device = device
        self._name: str | None = options.pop("name", None)
        self._options: dict[str, Any] = {"layers": layers, **options}
        make_settings(**self._options)  # refuses now what it would refuse after the first epoch
        self._rows: dict[int, list[Row]] = {}
        self._record: dict[str, Any] = {}
        self._checked = False

    def __call__(self, model: nn.Module, epoch: int) -> pd.DataFrame | None:
        """Measure ``model`` if ``epoch`` is wanted.

        Args:
            model: as for ``measure``, in any mode.
            epoch: number of epochs that have ended; 0 before training.

        Returns:
            This epoch's rows of ``table``, or None if it is not wanted.

        Raises:
            ValueError: an epoch that is not a whole number from 0, or what ``measure`` refuses.
        """
        if not _is_epoch(epoch):
            raise ValueError(f"epoch must be the whole number of epochs that have ended, from 0; got {epoch!r}")
        if not self._checked:
            self._check(model)
        if not self._wants(int(epoch)):
            return None
        rows = self._measured(model, int(epoch))
        self._keep(rows)
        self._tell(rows)
        return _table(rows)

    @property
    def table(self) -> pd.DataFrame:
        """All rows so far, by epoch: ``epoch``, then the columns of a ``Result``."""
        return _table([row for epoch in sorted(self._rows) for row in self._rows[epoch]])

    def state_dict(self) -> dict[str, Any]:
        """Return the table so far and how it was measured, as plain types, for a checkpoint."""
        return {"rows": self.table.to_dict("records"), "record": self._record}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned; the next call refuses to go on with other images or perturbations.

        Raises:
            ValueError: something else.
        """
        if set(state_dict) != {"rows", "record"}:
            raise ValueError(f"a monitor's state must hold rows and record; got {', '.join(map(str, state_dict))}")
        self._rows = {}
        for row in state_dict["rows"]:
            self._rows.setdefault(row["epoch"], []).append(dict(row))
        self._record = dict(state_dict["record"])
        self._checked = False

    def _check(self, model: nn.Module) -> None:
        """Refuse, before an epoch is spent, what cannot be measured, or not as the epochs before were."""
        settings = make_settings(**self._options, device=self._device_for(model))
        with _generators_kept(self._images), Session(model, open_source(self._images, model), settings) as session:
            record = session.record("", "", 0) | {"images": session.total()}
        # Plain types; and the address of a function of the user's own is another one after a restart.
        text = re.sub(r" at 0x[0-9a-f]+", "", json.dumps({key: record[key] for key in _PAIRED}, default=str))
        record = json.loads(text)
        for key, before in self._record.items():
            if record[key] != before:
                raise ValueError(
                    "a monitor must go on as it began, or its epochs cannot be compared: "
                    f"{key} was {before!r}; got {record[key]!r}"
                )
        self._record = record
        self._checked = True

    def _wants(self, epoch: int) -> bool:
        return epoch in self._at if self._every is None else epoch % self._every == 0

    def _measured(self, model: nn.Module, epoch: int) -> list[Row]:
        options = {**self._options, "device": self._device_for(model), "name": self._name}
        with _generators_kept(self._images):
            table = measure(model, self._images, **options, progress=False).table
        return [{"epoch": epoch, **{str(key): value for key, value in row.items()}} for row in table.to_dict("records")]

    def _keep(self, rows: list[Row]) -> None:
        self._rows[rows[0]["epoch"]] = rows

    def _tell(self, rows: list[Row]) -> None:
        if self._log is not None:
            self._log(self._values(rows), rows[0]["epoch"])

    def _values(self, rows: list[Row]) -> dict[str, float]:
        return {f"{key}/{row['layer']}": row[key] for row in rows if row["kind"] != "input" for key in ("D", "G", "R")}

    def _device_for(self, model: nn.Module) -> str | torch.device:
        if self._device is not None:
            return self._device
        return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _epochs(at: Iterable[int] | None, every: int | None) -> tuple[frozenset[int], int | None]:
    if at is None:
        if every is None:
            every = 1
        if not _is_epoch(every) or every < 1:
            raise ValueError(f"every must be a whole number of epochs, 1 or more; got {every!r}")
        return frozenset(), int(every)
    if every is not None:
        raise ValueError(f"epochs are chosen by at or by every, not both; got at={at!r} and every={every!r}")
    epochs = list(at)
    wrong = [epoch for epoch in epochs if not _is_epoch(epoch)]
    if wrong or not epochs:
        raise ValueError(
            f"at must hold epochs, whole numbers from 0 (before training); got {wrong[0]!r}"
            if wrong
            else "at must hold at least one epoch, or nothing is ever measured; got none"
        )
    return frozenset(map(int, epochs)), None


def _is_epoch(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 0


def _table(rows: list[Row]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=["epoch", *COLUMNS])


@contextlib.contextmanager
def _generators_kept(images: object) -> Iterator[None]:
    """Put back the states of a loader's own generators, which may be those that shuffle the training images."""
    batch_sampler = getattr(images, "batch_sampler", None)
    owners = [images, getattr(images, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    generators = [getattr(owner, "generator", None) for owner in owners] if isinstance(images, DataLoader) else []
    states = [(each, each.get_state()) for each in generators if isinstance(each, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)
