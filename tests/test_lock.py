"""The lock of a folder, between real processes; waiting for one is tested with the cache of images."""

import subprocess
import sys
from pathlib import Path

import pytest

from poolscope._lock import locked

HOLDER = """
import sys, time
from pathlib import Path
from poolscope._lock import locked
with locked(Path(sys.argv[1]) / '.lock'):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_kept_out_until_the_holder_dies(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no flock on this system")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="one process at a time may work in a folder; another one is at"):  # noqa: SIM117
            with locked(tmp_path / ".lock", wait=False):
                pytest.fail("two hold it")
    finally:
        holder.kill()
        holder.wait()
    with locked(tmp_path / ".lock", wait=False):
        pass


def test_it_is_let_go_of_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no flock on this system")
    with locked(tmp_path / ".lock", wait=False), pytest.raises(BlockingIOError), locked(tmp_path / ".lock", wait=False):
        pass
    with pytest.raises(KeyError), locked(tmp_path / ".lock", wait=False):
        raise KeyError
    with locked(tmp_path / ".lock", wait=False):
        pass
