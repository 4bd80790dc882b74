"""What holds for the package as a whole: light to import, typed, one version, citable, no traces of a machine."""

import json
import re
import subprocess
import sys
import warnings
from importlib import resources
from pathlib import Path

import jaxtyping
import pytest
import torch
import yaml

import poolscope

HEAVY = {
    "lightning",
    "matplotlib",
    "pandas",
    "pyarrow",
    "pydantic",
    "pytorch_lightning",
    "ray",
    "rich",
    "scipy",
    "sklearn",
    "timm",
    "torchmetrics",
    "torchvision",
    "typer",
}

IMPORT = """
import json, sys, time
import jaxtyping, numpy, torch
before = set(sys.modules)
start = time.perf_counter()
import poolscope
seconds = time.perf_counter() - start
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"seconds": seconds, "loaded": sorted(loaded)}))
"""

ROOTS = "home|Users|root|work|farm|mnt|opt|srv|scratch|private"
MACHINE_PATH = re.compile(rf"(?<![\w.~$}}:-])/(?:{ROOTS})/\w|\b[A-Za-z]:\\Users\\")


def import_once() -> dict:
    """Import poolscope in a fresh interpreter: the seconds it took, and the top-level packages it brought along."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_loads_nothing_heavy():
    loaded = set(import_once()["loaded"])
    assert "poolscope" in loaded
    assert not loaded & HEAVY, f"import poolscope loads {sorted(loaded & HEAVY)}"


def test_import_is_quick():
    best = min(import_once()["seconds"] for _ in range(5))    # the best: other processes only ever add to it
    assert best < 0.1, f"import poolscope takes {best * 1000:.0f} ms beyond torch, numpy and jaxtyping; 100 are allowed"


def test_every_public_name_resolves():
    assert len(poolscope.__all__) == len(set(poolscope.__all__)) > 0
    missing = [name for name in poolscope.__all__ if not hasattr(poolscope, name)]
    assert not missing, f"__all__ names what is not there: {missing}"


def test_public_names_are_listed_by_dir():
    assert set(poolscope.__all__) <= set(dir(poolscope))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = poolscope.no_such_name


def test_types_are_shipped():
    assert resources.files("poolscope").joinpath("py.typed").is_file()


def test_one_version(repository: Path):
    declared = re.search(r'^version = "(.+)"$', (repository / "pyproject.toml").read_text(), flags=re.MULTILINE)
    cited = yaml.safe_load((repository / "CITATION.cff").read_text())["version"]
    assert declared is not None
    assert poolscope.__version__ == declared[1] == str(cited)


def test_citation_names_the_paper(repository: Path):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["title"] == "poolscope"
    assert citation["preferred-citation"]["doi"] == "10.1088/2632-2153/ad092c"


def test_no_machine_paths_in_the_tracked_tree(repository: Path):
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as reason:
        pytest.skip(f"needs git and a checkout: {reason}")
    files = [repository / name for name in listed.stdout.split("\0") if name]
    if not files:
        pytest.skip("git tracks no file here yet")
    found = []
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        if b"\0" not in content:    # pictures are left out
            for row, line in enumerate(content.decode(errors="replace").splitlines(), 1):
                if MACHINE_PATH.search(line):
                    found.append(f"{file.relative_to(repository)}:{row}: {line.strip()}")
    assert not found, "\n".join(["absolute paths of some machine:", *found])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("see " + "/home" + "/ada/data", True),
        ('Path("' + "/work" + '/main")', True),
        ("C:" + "\\Users\\" + "ada", True),
        ("https://example.org" + "/home" + "/page", False),
        ("docs" + "/work" + "/notes.md", False),
        ("../shared/data", False),
        ("#!/usr/bin/env bash", False),
    ],
)
def test_what_counts_as_a_machine_path(line: str, expected: bool):
    assert bool(MACHINE_PATH.search(line)) == expected


def test_a_warning_from_poolscope_is_an_error():
    for module in ("poolscope", "poolscope.perturb.warp"):
        with pytest.raises(UserWarning, match="probe"):
            warnings.warn_explicit("probe", UserWarning, filename="x.py", lineno=1, module=module)


def test_annotations_are_checked_while_testing():
    with pytest.raises(jaxtyping.TypeCheckError):
        poolscope.warp(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8))    # a field has two components
