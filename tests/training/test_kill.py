"""Runs that are killed with -9, wherever they are, end with the same weights, curve and tables, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from poolscope._sealed import read_sealed
from poolscope.training import Run, read_run

if not hasattr(os, "fork"):
    pytest.skip("needs os.fork", allow_module_level=True)

Server = subprocess.Popen[str]


@pytest.fixture(scope="module")
def server(arrays_cache: Path, digits: object) -> Iterator[Server]:
    """The process that trains; ``digits`` has filled the cache it reads."""
    script = Path(__file__).with_name("killed_training.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(script), str(arrays_cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment,
    ) as process:  # fmt: skip
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
    return max((int(path.stem) for path in folder.glob("checkpoints/*.safetensors")), default=-1)


def same(found: Run, expected: Run) -> None:
    """Compare all that a run leaves behind, but for the time it took."""
    for which in ("initial", "best", "last"):
        weights, facts = read_sealed(found.folder / f"{which}.safetensors")
        wanted, wanted_facts = read_sealed(expected.folder / f"{which}.safetensors")
        assert facts == wanted_facts
        assert weights.keys() == wanted.keys()
        for name, value in weights.items():
            assert torch.equal(value.reshape(-1).view(torch.uint8), wanted[name].reshape(-1).view(torch.uint8)), name
    assert found.curve.equals(expected.curve)
    assert found.sensitivity is not None
    assert found.sensitivity.equals(expected.sensitivity)
    assert {**found.outcome, "seconds": 0} == {**expected.outcome, "seconds": 0}
    assert sorted(path.name for path in found.folder.rglob("*")) == sorted(
        path.name for path in expected.folder.rglob("*")
    ), "something is left over, or missing"


@pytest.fixture(scope="module")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, float]:
    """A run that nothing disturbs, and the seconds it takes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    start(server, folder)
    assert ended(server) == 0
    return read_run(folder), time.monotonic() - began


def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(
    server: Server, uninterrupted: tuple[Run, float], tmp_path: Path
) -> None:
    expected, seconds = uninterrupted
    folder, chance = tmp_path / "run", random.Random(1)
    marker, log = folder.with_suffix(".writing"), folder.with_suffix(".log")
    inside = 0
    for number in range(4):
        process, before = start(server, folder), newest(folder)
        while newest(folder) <= before + number or not marker.exists():  # until some later checkpoint is being written
            time.sleep(0.001)
            assert not (folder / "outcome.json").exists(), "it ended without a checkpoint"
        if number % 2:
            time.sleep(chance.uniform(0, 0.05 * seconds))
        inside += kill(server, process, folder)
    assert inside >= 2
    start(server, folder)
    assert ended(server) == 0
    text = log.read_text()
    assert text.count("goes on") == 4
    assert "damaged" not in text
    same(read_run(folder), expected)


@pytest.mark.slow
def test_twenty_kills_spread_over_the_run(
    server: Server, uninterrupted: tuple[Run, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected, seconds = uninterrupted
    chance = random.Random(0)
    inside, resumed, anew, kills, tries = 0, 0, 0, 0, 0
    while kills < 20:
        tries += 1
        assert tries < 40
        folder = tmp_path / f"run-{tries}"
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
        anew += "begun anew" in text
        same(read_run(folder), expected)
    with capsys.disabled():
        print(f"\n20 kills over {seconds:.1f} s: {inside} inside a checkpoint write, {resumed} went on, {anew} anew")
    assert inside >= 5
    assert anew == 0
