"""What Lightning's Trainer asks of a callback, answered without importing Lightning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import nn

Row = dict[str, Any]

# Strategies by whose leave no process holds the whole model: one that ran its forward alone would wait forever.
_SHARDED = {"FSDPStrategy", "ModelParallelStrategy", "DeepSpeedStrategy"}


class LightningHooks(ABC):
    """The part of a monitor that a ``Trainer`` talks to; trainers and modules are Lightning's, of either package.

    A Trainer looks hooks up by name and never asks for the class. That keeps Lightning optional, serves both packages
    it goes by, and asks for no order of imports.
    """

    prefix: str

    @property
    def state_key(self) -> str:
        """Name of the monitor's state in a trainer's checkpoint."""
        return f"SensitivityMonitor {self.prefix}"

    @property
    def _legacy_state_key(self) -> str:
        return self.state_key

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse what cannot be measured; measure epoch 0, or the epoch a checkpoint was written at the end of.

        Raises:
            ValueError: what ``measure`` refuses, or a model of which every process holds a part only.
        """
        sharded = _SHARDED.intersection(base.__name__ for base in type(trainer.strategy).__mro__)
        if sharded:
            raise ValueError(
                f"every process must hold the whole model, for one measures it alone; got strategy {sharded.pop()}"
            )
        self._check(pl_module)  # on every process: if one alone gave up, the others would wait for it
        progress = trainer.fit_loop.epoch_progress.current
        epoch = trainer.current_epoch
        # Not amid an epoch. A checkpoint written at an epoch's last step is read before that epoch's end was told.
        if progress.ready == progress.completed and epoch not in self._rows and self._wants(epoch):
            values = self._visit(trainer, pl_module, epoch)
            if trainer.is_global_zero:
                for logger in trainer.loggers:  # what `pl_module.log` gets here is only written an epoch later
                    logger.log_metrics(values, step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, if this epoch is wanted; the values can be monitored by other callbacks.

        Raises:
            ValueError: what ``measure`` refuses.
        """
        epoch = trainer.current_epoch + 1  # the trainer counts an epoch once its hooks have run
        if self._wants(epoch):
            values = self._visit(trainer, pl_module, epoch)
            pl_module.log_dict(values, on_step=False, on_epoch=True, sync_dist=trainer.world_size > 1)

    def _visit(self, trainer: Any, pl_module: Any, epoch: int) -> dict[str, float]:
        """Measure on process zero; return the values by the names they are logged under, on all of them."""
        rows = trainer.strategy.broadcast(self._measured(pl_module, epoch) if trainer.is_global_zero else None)
        self._keep(rows)
        if trainer.is_global_zero:
            self._tell(rows)
        return {f"{self.prefix}/{name}": value for name, value in self._values(rows).items()}

    _rows: dict[int, list[Row]]

    @abstractmethod
    def _check(self, model: nn.Module) -> None: ...

    @abstractmethod
    def _wants(self, epoch: int) -> bool: ...

    @abstractmethod
    def _measured(self, model: nn.Module, epoch: int) -> list[Row]: ...

    @abstractmethod
    def _keep(self, rows: list[Row]) -> None: ...

    @abstractmethod
    def _tell(self, rows: list[Row]) -> None: ...

    @abstractmethod
    def _values(self, rows: list[Row]) -> dict[str, float]: ...

    if not TYPE_CHECKING:  # or every misspelt attribute would seem to exist

        def __getattr__(self, name: str) -> Any:
            if name.startswith("on_") or name in ("setup", "teardown"):
                return _nothing
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _nothing(*arguments: Any, **more: Any) -> None:
    """Stand in for every hook that there is nothing to do at."""
