"""Real runs: figure 7 at the smallest scale, its runner killed five times, or two runners at once."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poolscope.studies.reproduce.store import Store
from studies.reproduce.made_up_work import attempts
from studies.reproduce.runner import fig7
from studies.reproduce.runners import Runners, runners, same_tables

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runners]:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    with runners(tmp_path_factory.mktemp("runners") / "errors") as each:
        yield each


@pytest.fixture(scope="module")
def undisturbed(runner: Runners, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A store of the finished runs, and the seconds they took."""
    folder, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    runner.start("fig7", folder)
    assert runner.ended() == 0
    return folder, time.monotonic() - began


def test_killed_five_times_the_tables_are_the_same(
    runner: Runners, undisturbed: tuple[Path, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, seconds = undisturbed
    chance, began = random.Random(0), time.monotonic()
    for _ in range(5):
        child = runner.start("fig7", tmp_path)
        time.sleep(chance.uniform(0.08, 0.16) * seconds)  # together less than it takes, on a machine that hurries too
        os.kill(child, signal.SIGKILL)
        assert runner.ended() == -signal.SIGKILL, "it ended before"
    assert not all(Store(tmp_path).is_done(job.key) for job in fig7()), "killed in the middle"
    runner.start("fig7", tmp_path)
    assert runner.ended() == 0
    assert set(attempts(tmp_path, "ended").values()) == {1}, "none twice"
    assert any(number > 1 for number in attempts(tmp_path).values()), "some had been interrupted"
    same_tables(tmp_path, whole)
    with capsys.disabled():
        print(f"\nundisturbed {seconds:.0f} s, killed five times {time.monotonic() - began:.0f} s; attempts: "
              f"{sorted(attempts(tmp_path).values())}")  # fmt: skip


def test_two_runners_share_the_runs(
    runner: Runners, undisturbed: tuple[Path, float], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with runners(tmp_path_factory.mktemp("more") / "errors") as another:
        both = (runner, another)
        for each in both:
            each.start("fig7", tmp_path)
        assert [each.ended() for each in both] == [0, 0]
    assert set(attempts(tmp_path).values()) == {1}
    assert set(attempts(tmp_path, "ended").values()) == {1}
    assert "another runner is at it" in (tmp_path / "said").read_text()
    same_tables(tmp_path, undisturbed[0])
