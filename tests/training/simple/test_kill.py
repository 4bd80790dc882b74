"""Simple CNNs whose training is killed with -9, wherever it is, end with the same weights and checks, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolscope.training.simple.finished import SimpleRuns, read_simple_runs
from training.simple.small_experiments import same

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork", allow_module_level=True)

Server = subprocess.Popen[str]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """The process that trains."""
    script = Path(__file__).with_name("killed_simple.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parents[1])}
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def start(server: Server, folder: Path) -> int:
    """Begin, or go on, in a folder; return the id of the process that does it."""
    assert server.stdin is not None
    assert server.stdout is not None
    folder.with_suffix(".writing").unlink(missing_ok=True)
    server.stdin.write(f"{folder}\n")
    server.stdin.flush()
    return int(server.stdout.readline())


def ended(server: Server) -> int:
    assert server.stdout is not None
    return int(server.stdout.readline())


def kill(server: Server, process: int, folder: Path) -> bool:
    """Kill it; return whether it was inside the write of a checkpoint.

    Raises:
        ProcessLookupError: it had ended before.
    """
    try:
        os.kill(process, signal.SIGKILL)
    finally:
        end = ended(server)
    if end == 0:
        raise ProcessLookupError
    assert end == -signal.SIGKILL
    return folder.with_suffix(".writing").exists()


def newest(folder: Path) -> int:
    """Return the number of the newest whole checkpoint."""
    return max((int(path.stem) for path in folder.glob("checkpoints-*/*.safetensors")), default=-1)


@pytest.fixture(scope="module")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[SimpleRuns, float]:
    """Runs that nothing disturbs, and the seconds they take."""
    folder = tmp_path_factory.mktemp("whole") / "runs"
    began = time.monotonic()
    start(server, folder)
    assert ended(server) == 0
    seconds = time.monotonic() - began
    runs = read_simple_runs(folder)
    assert runs.outcomes["status"].tolist() == ["finished", "finished", "finished", "not interpolated"]
    return runs, seconds


def test_runs_killed_again_and_again_end_as_if_they_had_not_been(
    server: Server, uninterrupted: tuple[SimpleRuns, float], tmp_path: Path
) -> None:
    expected, seconds = uninterrupted
    folder, chance = tmp_path / "runs", random.Random(1)
    marker, log = folder.with_suffix(".writing"), folder.with_suffix(".log")
    inside = 0
    for number in range(3):
        process, before = start(server, folder), newest(folder)
        while newest(folder) <= before + number or not marker.exists():  # until some later checkpoint is being written
            time.sleep(0.001)
            assert len(list(folder.glob("seed-*/outcome.json"))) < 4, "it ended without a checkpoint"
        if number % 2:
            time.sleep(chance.uniform(0, 0.05 * seconds))
        inside += kill(server, process, folder)
    assert inside >= 2
    start(server, folder)
    assert ended(server) == 0
    text = log.read_text()
    assert text.count("goes on") == 3
    assert "damaged" not in text
    same(read_simple_runs(folder), expected)


@pytest.mark.slow
def test_twenty_kills_spread_over_the_runs(
    server: Server, uninterrupted: tuple[SimpleRuns, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, seconds = uninterrupted
    chance = random.Random(0)
    inside, resumed, kills, tries = 0, 0, 0, 0
    while kills < 20:
        tries += 1
        assert tries < 60
        folder = tmp_path / f"try-{tries}" / "runs"
        folder.parent.mkdir()
        began = time.monotonic()
        process = start(server, folder)
        time.sleep(seconds * (kills + chance.random()) / 20)  # one in every twentieth of the time
        try:
            inside += kill(server, process, folder)
        except ProcessLookupError:  # it was faster than the first, and ended: again, within the time it took at most
            seconds = min(seconds, time.monotonic() - began)
            continue
        kills += 1
        start(server, folder)
        assert ended(server) == 0
        text = folder.with_suffix(".log").read_text() if folder.with_suffix(".log").exists() else ""
        assert "damaged" not in text
        resumed += "goes on" in text
        same(read_simple_runs(folder), expected)
    with capsys.disabled():
        print(f"\n20 kills over {seconds:.1f} s: {inside} inside a checkpoint write, {resumed} went on")
    assert resumed >= 8
    assert inside >= 3
