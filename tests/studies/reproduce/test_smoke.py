"""The whole paper at smoke scale, by the command itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from poolscope._cli_reproduce import _changes
from poolscope.studies.reproduce.catalogue import names_of_all
from poolscope.studies.reproduce.claims import CLAIMS
from poolscope.studies.reproduce.run import plan
from poolscope.studies.reproduce.study import Sources
from test_cli import run  # noqa: F401


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    places = ["--store", str(folder / "store"), "--out", str(folder / "out")]
    return subprocess.run(
        [sys.executable, "-m", "poolscope", "reproduce", *words, "--scale", "smoke", *places],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_everything_that_needs_no_download_runs_is_judged_and_shown(tmp_path: Path) -> None:
    done = command(tmp_path, "--cores", "2")
    assert done.returncode == 0, done.stderr[-2000:]
    claims = pd.read_csv(tmp_path / "out" / "claims.csv")
    assert set(claims["claim"]) == {claim.identifier for claim in CLAIMS}
    assert set(claims["verdict"]) <= {"reproduced", "not reproduced", "inconclusive", "not run"}
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert set(runs["key"]) == {folder.name for folder in (tmp_path / "store" / "runs").iterdir()}
    assert (runs["seconds"] > 0).all()
    report = tmp_path / "out" / "report"
    index = (report / "index.html").read_text()
    for name in names_of_all():
        assert name in index
        assert (report / name / "index.html").is_file() or name == "figC6"
    assert "image-net.org" in done.stdout  # what is missing, and where it comes from
    assert set(claims.loc[claims["study"] == "figC6", "verdict"]) == {"not run"}
    # Facts of the paper that hold at any scale, and two that its text gets wrong.
    verdicts = claims.groupby("claim")["verdict"].unique().map(list)
    assert verdicts["orbit-pools"] == ["reproduced"] == verdicts["A-grows-as-F-to-k"]
    assert verdicts["two-channels-pool"] == ["not reproduced"] == verdicts["gaussian-profile"]
    again = command(tmp_path, "--dry-run")
    assert again.returncode == 0
    assert "0 runs, about" in again.stdout


def test_a_setting_within_a_setting_changes_what_hangs_on_it_alone() -> None:
    changes = _changes(["fig4.task.width=0.125", "fig4.task.epochs=2"])
    before, after = (plan(["fig4"], "smoke", Sources("digits"), each)[0].jobs for each in (None, changes))
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name].key != after[name].key}
    assert changed == {name for name in before if "-task" in name}
    settings = after["vgg11_bn/0-task"].settings
    assert (settings["options"]["width"], settings["recipe"]["epochs"]) == (0.125, 2)


def test_bad_words_are_refused_before_any_work(run: Any, tmp_path: Path) -> None:  # noqa: F811
    places = ["--scale", "smoke", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    for words, said in (
        (["fig77"], "did you mean fig7?"),
        (["fig7", "--set", "fig7.wide=3"], "(did you mean width?)"),
        (["fig4", "--set", "fig4.task.widht=3"], "settings of fig4.task are networks, width,"),
        (["fig4", "--set", "fig4.task=3"], "must name one of fig4.task's own settings, such as fig4.task.networks"),
        (["fig7", "--set", "fig7.width.x=3"], "--set must end with fig7.width, which has no settings of its own"),
        (["fig7", "--set", "width=3"], "--set must be like fig7.width=256"),
        (["fig7", "--set", "fig3.width=0.5"], "--set must change one of the studies asked for, fig7; got fig3"),
        (["fig7", "--device", "tpu"], "--device must be cpu or cuda; got 'tpu'"),
    ):
        code, _, err = run("reproduce", *words, *places)
        assert code == 2
        assert said in err
    assert not (tmp_path / "out").exists()
