"""A progress bar with the time left, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType


class Progress:
    """Counts images; shows rich's bar where standard error is a terminal, nothing elsewhere.

    Args:
        total: images to come, None where it is not known.
        text: what is being done.
        enabled: whether to show anything at all.
    """

    def __init__(self, total: int | None, text: str, *, enabled: bool = True):
        self._bar = None
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(text, total=total)

    def advance(self, count: int) -> None:
        """Count ``count`` more."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def tell(self, text: str, total: int | None = None) -> None:
        """Say otherwise what is being done, and how much of it there is, once that is known."""
        if self._bar is not None:
            self._bar.update(self._task, description=text, total=total)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
