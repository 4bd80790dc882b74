"""One process at a time: a lock that ends with the process that holds it, however that ends."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != "win32":
    import fcntl


@contextlib.contextmanager
def locked(path: Path, *, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock of the file ``path``, which is made if absent and stays; wait while another process holds it.

    Where the system has no ``flock`` nothing is locked.

    Args:
        path: the lock's own file.
        on_wait: called if another process holds the lock, before waiting.

    Raises:
        OSError: the file cannot be made.
    """
    with path.open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go
