"""What the folder of a run asks for: one configuration, clear words when it cannot be written to, times in words."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from poolscope.training.folder import (
    TrainingStopped,
    claim,
    duration,
    environment,
    note_environment,
    threads_of,
    writing,
)

PLAIN = {"lr": 0.1, "task": {"length": 32, "description": "short"}}


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert claim(path, PLAIN) == PLAIN
    written = path.read_bytes()
    assert json.loads(written) == PLAIN
    other_words = {"lr": 0.1, "task": {"length": 32, "description": "long"}}
    assert claim(path, other_words) == PLAIN, "what is noted there"
    for changed, message in (
        ({**PLAIN, "lr": 0.2}, r"lr is 0\.1 there and 0\.2 here \(give another --out"),
        ({**PLAIN, "task": {"length": 33}}, r"task\.length is 32 there and 33 here"),
        ({"task": PLAIN["task"]}, r"lr is 0\.1 there and missing here"),
        ({**PLAIN, **{f"x{number}": 1 for number in range(6)}}, r"x0 is missing there and 1 here;.*, and 2 more \("),
    ):
        with pytest.raises(ValueError, match=f"a folder holds one run, and .*{tmp_path.name} has another: .*{message}"):
            claim(path, changed)
    assert path.read_bytes() == written
    path.write_text("{")
    with pytest.raises(ValueError, match=r"run\.json must be the configuration of a run"):
        claim(path, PLAIN)


def test_machines_and_versions_are_noted_once_each() -> None:
    noted = [{"torch": "0", "python": "0", "machine": "none"}]
    note_environment(noted)
    note_environment(noted)
    assert noted == [{"torch": "0", "python": "0", "machine": "none"}, environment()]
    assert environment()["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7199.0, "120 min"), (7200.0, "2.0 h")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_threads_are_those_of_before_after_an_error_too() -> None:
    before, inside = torch.get_num_threads(), []

    def stop() -> None:
        inside.append(torch.get_num_threads())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), threads_of(before + 2):
        stop()
    assert inside == [before + 2]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "no space left for runs: what was finished is intact; make room and run the same again"),
        (errno.EDQUOT, "no space left for runs"),
        (errno.EACCES, r"runs must be a folder that can be written to; Permission denied \(runs/x\)"),
        (errno.EPERM, "runs must be a folder that can be written to"),
        (errno.EROFS, "runs must be a folder that can be written to; Read-only file system"),
    ],
)
def test_a_disk_that_takes_no_more_is_said(code: int, message: str) -> None:
    with pytest.raises(TrainingStopped, match=message), writing(Path("runs")):
        raise OSError(code, os.strerror(code), "runs/x")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(IsADirectoryError) as caught, writing(Path("runs")):
        raise IsADirectoryError(errno.EISDIR, "Is a directory", "runs/x")
    assert not isinstance(caught.value, TrainingStopped)
