"""Networks from files of the user's, beside the modern ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from poolscope.datasets import load_images
from poolscope.networks import load_model, write_weights
from poolscope.perturb import Diffeomorphism
from poolscope.sensitivity import measure
from poolscope.studies.reproduce.catalogue import modern
from poolscope.studies.reproduce.claim import AMPLITUDES
from poolscope.studies.reproduce.job import Job
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.study import Sources
from poolscope.studies.reproduce.worker import perform


def planned(*files: Path) -> dict[str, Job]:
    return modern.STUDY.runs(settings(*files), Sources("digits"))


def settings(*files: Path) -> modern.Modern:
    return modern.Modern(
        networks=(), weights=tuple(map(str, files)), seeds=(3,), train_images=None, epochs=1, measured=20, validation=10
    )


def test_a_network_from_a_file_is_measured_before_and_after_training(tmp_path: Path) -> None:
    network = load_model("poolscope:lenet", in_channels=1, seed=5)
    file = tmp_path / "mine.safetensors"
    write_weights(network, file)
    job = planned(file)["mine-given"]
    store = Store(tmp_path / "store")
    assert perform(str(store.folder), job.plain()).status == "done"
    rows = modern.STUDY.tables(settings(file), {"mine-given": store.path(job.key)})["sensitivity"]
    images = load_images("digits", split="test", count=20, for_model=network)
    for epoch, model in ((0, load_model("poolscope:lenet", in_channels=1, seed=0)), (1, network)):
        for size in AMPLITUDES:
            there = rows[(rows["epoch"] == epoch) & np.isclose(rows["displacement"], size)]
            expected = measure(model, images, Diffeomorphism(size, 3, fold="ignore"), progress=False).table
            assert there["layer"].tolist() == expected["layer"].tolist()
            np.testing.assert_allclose(there["R"], expected["R"], rtol=1e-6)
    said = " ".join(modern.STUDY.words({"sensitivity": rows}))
    assert "mine, as its file of weights has it: R of the output" in said


def test_weights_are_known_by_what_they_hold(tmp_path: Path) -> None:
    file, moved = tmp_path / "mine.safetensors", tmp_path / "elsewhere" / "mine.safetensors"
    write_weights(load_model("poolscope:lenet", in_channels=1, seed=5), file)
    moved.parent.mkdir()
    shutil.copy(file, moved)
    job = planned(file)["mine-given"]
    assert job.key == planned(moved)["mine-given"].key
    with pytest.raises(ValueError, match="must have names of their own, they name the networks; got mine-given twice"):
        planned(file, moved)
    write_weights(load_model("poolscope:lenet", in_channels=1, seed=6), file)
    assert job.key != planned(file)["mine-given"].key
    ended = perform(str(tmp_path / "store"), job.plain())
    assert ended.status == "failed"
    assert "must be those that were planned with" in ended.message


def test_files_that_do_not_say_of_which_network_they_are_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    write_weights(load_model("poolscope:lenet", in_channels=1, seed=5).state_dict(), file)
    with pytest.raises(ValueError, match=r"that says how to build its network; got .*mine\.safetensors"):
        planned(file)
    with pytest.raises(FileNotFoundError, match="weights must be an existing file"):
        planned(tmp_path / "none.safetensors")
