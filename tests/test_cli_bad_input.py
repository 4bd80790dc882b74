"""Bad input: exit code 2 and one line with the rule and the value; no traceback, nothing left behind."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from test_cli import MODEL, run, write_images  # noqa: F401

Case = tuple[Callable[[Path], list[str]], str]


class Evil:
    def __reduce__(self):
        return (print, ("this code must never run",))


def other_shapes(folder: Path) -> Path:
    import poolscope as ps

    state = ps.load_model("poolscope:minivgg", in_channels=3, seed=0).state_dict()
    save_file(state, folder / "rgb.safetensors")
    return folder / "rgb.safetensors"


def code_pickle(folder: Path) -> Path:
    torch.save(Evil(), folder / "evil.pt")
    return folder / "evil.pt"


def text(folder: Path, name: str) -> Path:
    (folder / name).write_text("not what the name says")
    return folder / name


def made(path: Path) -> Path:
    path.mkdir()
    return path


def different_sizes(folder: Path) -> Path:
    write_images(folder, 1)
    Image.fromarray(np.zeros((40, 56, 3), dtype=np.uint8)).save(folder / "9.png")
    return folder


PLAIN = ["measure", "poolscope:minivgg", "--in-channels", "3"]
TIMM = "timm:test_vit"

CASES: dict[str, Case] = {
    "unknown library": (lambda p: ["measure", "keras:resnet"], "trust"),
    "unknown torchvision model": (lambda p: ["measure", "torchvision:resnet19"], "resnet18"),
    "unknown poolscope model": (lambda p: ["measure", "poolscope:vgg12"], "vgg1"),
    "unknown timm model": (lambda p: ["measure", "timm:vit_huge_tiny"], "vit"),
    "factory without trust": (lambda p: ["measure", "os:getcwd"], "--trust-code"),
    "factory that makes no model": (lambda p: ["measure", "os:getcwd", "--trust-code"], "Module.*got a str"),
    "unknown layer": (lambda p: [*MODEL, "--layers", "features.2,features.99"], "features.99"),
    "pattern without a match": (lambda p: [*MODEL, "--layers", "nothing.*"], "nothing"),
    "broken pattern": (lambda p: [*MODEL, "--layers", "features.["], "regular expression"),
    "blocks of a network without": (lambda p: [*MODEL, "--layers", "blocks"], "blocks"),
    "weights of other shapes": (lambda p: [*MODEL, "--weights", str(other_shapes(p))], "shape"),
    "weights that would run code": (lambda p: [*MODEL, "--weights", str(code_pickle(p))], "code"),
    "weights that are not there": (lambda p: [*MODEL, "--weights", str(p / "gone.safetensors")], "gone"),
    "weights that are text": (lambda p: [*MODEL, "--weights", str(text(p, "a.safetensors"))], "a.safetensors"),
    "unknown pretrained weights": (lambda p: ["measure", "torchvision:resnet18", "--weights", "BEST"], "BEST"),
    "unknown data set": (lambda p: [*MODEL, "--data", "mnist"], "mnist"),
    "absent folder": (lambda p: [*PLAIN, "--data", f"imagefolder:{p / 'gone'}"], "gone"),
    "empty folder": (lambda p: [*PLAIN, "--data", f"imagefolder:{made(p / 'empty')}"], "empty"),
    "folder of broken images": (
        lambda p: [*PLAIN, "--data", f"imagefolder:{text(made(p / 'bad'), 'a.png').parent}"],
        "a.png",
    ),
    "absent Parquet file": (lambda p: [*PLAIN, "--data", f"parquet:{p / 'gone.parquet'}"], "gone"),
    "broken Parquet file": (lambda p: [*PLAIN, "--data", f"parquet:{text(p, 'a.parquet')}"], "a.parquet"),
    "unknown split": (lambda p: [*MODEL, "--split", "holdout"], "holdout"),
    "more images than there are": (lambda p: [*MODEL, "--count", "100000"], "100000"),
    "one image": (lambda p: [*PLAIN, "--data", f"imagefolder:{write_images(p / 'one', 5)}"], "at least 2"),
    "identical images": (lambda p: [*PLAIN, "--data", f"imagefolder:{write_images(p / 'same', 5, 5)}"], "identical"),
    "constant images": (lambda p: [*PLAIN, "--data", f"imagefolder:{write_images(p / 'flat', 5, 90)}"], "constant"),
    "images of different sizes": (  # a model that names no size of its own
        lambda p: [
            *("measure", "torch.nn:Flatten", "--trust-code"),
            *("--data", f"imagefolder:{different_sizes(p / 'sizes')}"),
        ],
        "same size|sizes",
    ),
    "too small for the network": (lambda p: [*MODEL, "--size", "8"], "8"),
    "cutoff too high": (lambda p: [*MODEL, "--cutoff", "31"], "= 30.*got 31"),
    "cutoff zero": (lambda p: [*MODEL, "--cutoff", "0"], "got 0"),
    "published cutoff 1": (lambda p: [*MODEL, "--protocol", "published", "--cutoff", "1"], "at least 2.*got 1"),
    "negative displacement": (lambda p: [*MODEL, "--displacement", "-1"], "not negative.*got -1"),
    "infinite displacement": (lambda p: [*MODEL, "--displacement", "inf"], "finite.*got inf"),
    "displacement in words": (lambda p: [*MODEL, "--displacement", "tiny"], "tiny"),
    "negative seed": (lambda p: [*MODEL, "--seed", "-1"], "got -1"),
    "no draws": (lambda p: [*MODEL, "--draws", "0"], "got 0"),
    "batch size zero": (lambda p: [*MODEL, "--batch-size", "0"], "got 0"),
    "batch size in words": (lambda p: [*MODEL, "--batch-size", "big"], "big"),
    "unknown precision": (lambda p: [*MODEL, "--precision", "float8"], "float8"),
    "unknown noise": (lambda p: [*MODEL, "--noise", "pink"], "pink"),
    "unknown device": (lambda p: [*MODEL, "--device", "abacus"], "abacus"),
    "device that is not here": (lambda p: [*MODEL, "--device", "cuda:77"], "cuda:77"),
    "unknown option": (lambda p: [*MODEL, "--fast"], "--fast"),
    "no model": (lambda p: ["measure"], "(?i)missing.*model"),
    "unwritable out": (lambda p: [*MODEL, "--out", str(text(p, "file") / "below")], "written to"),
    "comparison with itself": (lambda p: ["compare", "poolscope:minivgg", "poolscope:minivgg"], "two different"),
    "no photograph": (lambda p: ["deform", str(p / "gone.jpg"), "--out", str(p / "o")], "gone.jpg"),
    "photograph that is text": (lambda p: ["deform", str(text(p, "a.jpg")), "--out", str(p / "o")], "a.jpg"),
    "deform with cutoff 1": (lambda p: ["deform", "--cutoffs", "1,3", "--out", str(p / "o")], "at least 2.*got 1"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_2(run, tmp_path, name):  # noqa: F811
    words, rule = CASES[name]
    code, out, err = run(*words(tmp_path))
    assert code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("poolscope: ")
    assert "Traceback" not in out + err
    assert "this code must never run" not in out
    assert re.search(rule, lines[0]), lines[0]
