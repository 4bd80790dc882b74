"""One process at a time: a lock that ends with the process that holds it, however that ends."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock of the file ``path``, which is made if absent and stays.

    Where the system has no ``flock`` nothing is locked.

    Args:
        path: the lock's own file.
        wait: while another process holds the lock; else refuse.
        on_wait: called if another process holds the lock, before waiting.

    Raises:
        BlockingIOError: another process holds it, and ``wait`` is false.
        OSError: the file cannot be made.
    """
    with path.open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise BlockingIOError(
                        f"one process at a time may work in a folder; another one is at work in {path.parent}"
                    ) from None
                if on_wait is not None:
                    on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go
