"""The cache of decoded images: kills, damage, races, folders that cannot be written to. Always the right data."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from poolscope._torchvision import import_timm
from poolscope.datasets import Arrays, cache, load_images, open_arrays

NUMBER = 300  # more than one block


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of small pictures in two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(NUMBER):
        below = folder / f"class{number // 150}"
        below.mkdir(exist_ok=True)
        PIL.Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(below / f"{number:03}.png")
    return f"imagefolder:{folder}"


@pytest.fixture(scope="module")
def expected(spec: str) -> tuple[torch.Tensor, torch.Tensor]:
    return load_images(spec, with_labels=True)


def is_right(arrays: Arrays, expected: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return torch.equal(arrays.normalised(), expected[0]) and torch.equal(arrays.labels, expected[1])


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by the index of every image decoded from here on."""
    decoded: list[int] = []
    pixels = cache.ImageDataset.pixels

    def counted(dataset: cache.ImageDataset, index: int) -> object:
        decoded.append(index)
        return pixels(dataset, index)

    monkeypatch.setattr(cache.ImageDataset, "pixels", counted)
    return decoded


def test_images_are_decoded_once(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoding(monkeypatch)
    assert is_right(open_arrays(spec, cache=tmp_path), expected)
    assert decoded == list(range(NUMBER))
    assert is_right(open_arrays(spec, cache=tmp_path), expected)
    assert is_right(open_arrays(spec, cache=tmp_path, normalize=((0.0,) * 3, (1.0,) * 3)), expected)
    assert len(decoded) == NUMBER
    assert sorted(path.name for path in entries(tmp_path)[0].iterdir()) == [
        "entry.json",
        "images.bin",
        "labels.bin",
        "lock",
    ]


def damaged_in_every_way(entry: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    images, labels, facts = entry / "images.bin", entry / "labels.bin", entry / "entry.json"

    def cut(file: Path, size: int) -> Callable[[], object]:
        return lambda: file.write_bytes(file.read_bytes()[:size])

    def flip(file: Path, place: int) -> Callable[[], object]:
        def act() -> None:
            content = bytearray(file.read_bytes())
            content[place] ^= 4
            file.write_bytes(content)

        return act

    def alter(**changed: object) -> Callable[[], object]:
        return lambda: facts.write_text(json.dumps({**json.loads(facts.read_bytes()), **changed}))

    yield "images cut", cut(images, 1000)
    yield "images empty", cut(images, 0)
    yield "images longer", lambda: images.write_bytes(images.read_bytes() + b"\0")
    yield "images flipped", flip(images, 12345)
    yield "images gone", images.unlink
    yield "labels cut", cut(labels, 8)
    yield "labels flipped", flip(labels, 80)
    yield "labels gone", labels.unlink
    yield "facts cut", cut(facts, 40)
    yield "facts empty", cut(facts, 0)
    yield "facts not text", lambda: facts.write_bytes(b"\xff\xfe{}")
    yield "facts a list", lambda: facts.write_text("[]")
    yield "facts without digest", lambda: facts.write_text(json.dumps({"identity": None}))
    yield "facts of another", alter(identity={"format": 0})
    yield "digest", alter(digest="0" * 64)
    yield "type", alter(dtype="float32")
    yield "unknown type", alter(dtype="uint9")
    yield "a folder of types", alter(dtype=[])
    yield "no type", alter(dtype=None)


def test_damage_is_told_and_mended(tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    open_arrays(spec, cache=tmp_path)
    (entry,) = entries(tmp_path)
    before = {file.name: file.read_bytes() for file in entry.iterdir()}
    for name, damage in damaged_in_every_way(entry):
        damage()
        with pytest.warns(UserWarning, match=r"^cached images must be as they were written; .* decoded again$") as told:
            arrays = open_arrays(spec, cache=tmp_path)
        assert len(told) == 1, name
        assert "\n" not in str(told[0].message), name
        assert is_right(arrays, expected), name
        assert {file.name: file.read_bytes() for file in entry.iterdir()} == before, name
        assert is_right(open_arrays(spec, cache=tmp_path), expected), name  # and no warning


def test_damage_of_any_byte_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    PIL.Image.new("L", (4, 4), 7).save(tmp_path / "source" / "a.png")
    first = open_arrays(f"imagefolder:{tmp_path / 'source'}", cache=tmp_path / "cache")
    (entry,) = entries(tmp_path / "cache")
    facts = json.loads((entry / "entry.json").read_bytes())
    for name in ("images.bin", "labels.bin", "entry.json"):
        whole = (entry / name).read_bytes()
        for place in range(len(whole)):
            altered = bytearray(whole)
            altered[place] ^= 1 << place % 8
            (entry / name).write_bytes(altered)
            try:
                held = cache._read(entry, facts["identity"])
            except cache._Damaged:
                continue
            assert name == "entry.json"
            assert json.loads(altered) == facts  # white space
            assert held is not None
            assert held[2] == first.digest
        (entry / name).write_bytes(whole)


def test_an_old_reader_keeps_its_images_while_the_entry_is_replaced(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    old = open_arrays(spec, cache=tmp_path)
    (entry,) = entries(tmp_path)
    (entry / "labels.bin").unlink()
    with pytest.warns(UserWarning, match="decoded again"):
        open_arrays(spec, cache=tmp_path)
    assert is_right(old, expected)


def test_a_changed_source_is_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()

    def store(level: int) -> None:
        PIL.Image.new("L", (4, 4), level).save(source / "a.png")
        PIL.Image.new("L", (4, 4), 7).save(source / "b.png")

    def first_pixel() -> int:
        return int(open_arrays(f"imagefolder:{source}", cache=tmp_path / "cache").images[0, 0, 0, 0])

    store(10)
    os.utime(source / "a.png", ns=(10**18, 10**18))
    size = (source / "a.png").stat().st_size
    assert first_pixel() == 10
    store(11)
    os.utime(source / "a.png", ns=(10**18, 10**18 + 1))  # a nanosecond later, as many bytes
    assert (source / "a.png").stat().st_size == size
    assert first_pixel() == 11
    (source / "a.png").rename(source / "c.png")
    assert first_pixel() == 7
    assert len(entries(tmp_path / "cache")) == 3
    decoded = count_decoding(monkeypatch)
    assert first_pixel() == 7
    assert not decoded


def test_what_is_done_to_the_images_makes_another_entry(tmp_path: Path, spec: str) -> None:
    for arguments in (
        {},
        {"count": 9},
        {"size": 4},
        {"size": 6},
        {"for_model": "poolscope:minivgg"},
        {"split": "class1"},
    ):
        open_arrays(spec, cache=tmp_path, **arguments)
    assert len(entries(tmp_path)) == 6
    for crop_mode, crop_pct, mean in (("center", 1.0, 0.5), ("center", 0.5, 0.5), ("squash", 1.0, 0.5)):
        check_for_model(spec, tmp_path, crop_mode, crop_pct, mean)
    assert len(entries(tmp_path)) == 9
    check_for_model(spec, tmp_path, "center", 1.0, 0.2)  # only normalised differently
    assert len(entries(tmp_path)) == 9
    for mean in (0.1, 0.9):  # fills the border
        check_for_model(spec, tmp_path, "border", 1.0, mean)
    assert len(entries(tmp_path)) == 11
    open_arrays(spec, cache=tmp_path, normalize="cifar10")
    open_arrays(spec, cache=tmp_path, count=NUMBER)
    assert len(entries(tmp_path)) == 11


def check_for_model(spec: str, folder: Path, crop_mode: str, crop_pct: float, mean: float) -> None:
    """That a model which wants its 8x8 images so gets them."""
    model = import_timm().create_model("test_resnet", pretrained=False)
    model.pretrained_cfg |= {"input_size": (3, 8, 8), "crop_mode": crop_mode, "crop_pct": crop_pct, "mean": (mean,) * 3}
    arrays = open_arrays(spec, cache=folder, for_model=model, count=20)
    assert torch.equal(arrays.normalised(), load_images(spec, for_model=model, count=20))


PROCESS = """
import pathlib, sys, time
from poolscope.datasets import cache, open_arrays

spec, folder, log, gate, last = sys.argv[1:]
pixels, say_waiting, decoded = cache.ImageDataset.pixels, cache._say_waiting, 0

def noted(dataset, index):
    global decoded
    end = time.monotonic() + 30
    while (decoded == int(last) or gate and not pathlib.Path(gate).exists()) and time.monotonic() < end:
        time.sleep(0.01)
    decoded += 1
    pathlib.Path(log).write_text(str(decoded))
    return pixels(dataset, index)

def told(*arguments):
    say_waiting(*arguments)
    pathlib.Path(gate).touch()

cache.ImageDataset.pixels, cache._say_waiting = noted, told
print("ready", flush=True)
sys.stdin.readline()
print(open_arrays(spec, cache=folder, progress=True).digest, flush=True)
"""


def start(spec: str, folder: Path, log: Path, *, gate: Path | str = "", last: int = -1) -> subprocess.Popen[str]:
    """A process that opens arrays once it is sent a line, and notes in a log how many images it has decoded.

    It decodes nothing before the file ``gate`` exists, which it makes when it has to wait for another process, and
    stays at the image ``last``.
    """
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, spec, str(folder), str(log), str(gate), str(last)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def decoded_by(log: Path) -> int:
    return int((log.read_text() or "0") if log.exists() else "0")


def test_of_two_processes_on_an_empty_cache_one_decodes(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    logs = [tmp_path / "log0", tmp_path / "log1"]
    # neither decodes before the other waits: they meet, or the test fails
    processes = [start(spec, tmp_path / "cache", log, gate=tmp_path / "gate") for log in logs]
    for process in processes:
        release(process)
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert (tmp_path / "gate").exists()
    arrays = open_arrays(spec, cache=tmp_path / "cache")
    assert is_right(arrays, expected)
    assert [out.strip() for out, _ in outputs] == [arrays.digest] * 2
    assert sorted(map(decoded_by, logs)) == [0, NUMBER]
    assert ["another process is decoding" in error for _, error in outputs].count(True) == 1


def test_a_kill_while_decoding_leaves_nothing_wrong(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"
    process = start(spec, folder, log, last=280)
    release(process)
    end = time.monotonic() + 60
    while decoded_by(log) < 280 and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert decoded_by(log) == 280
    (entry,) = entries(folder)
    assert [path.suffix for path in entry.iterdir() if path.name.startswith(".")] == [".part"]
    assert not (entry / "entry.json").exists()
    assert is_right(open_arrays(spec, cache=folder), expected)
    assert not [path for path in entry.iterdir() if path.name.startswith(".")]


KILLED_AT_EACH_STEP = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from poolscope import _files
from poolscope.datasets import cache, open_arrays
replace = os.replace
def die():
    os.kill(os.getpid(), signal.SIGKILL)
for step in range(6):
    child = os.fork()
    if not child:
        calls = []
        def counted(source, target):
            calls.append(target)
            if step == 2 * len(calls) - 2:
                die()
            replace(source, target)
            if step == 2 * len(calls) - 1:
                die()
        os.replace = counted
        open_arrays(sys.argv[1], cache=os.path.join(sys.argv[2], str(step)))
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_before_or_after_any_renaming_leaves_nothing_wrong(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, spec, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.split() == ["9"] * 6
    decoded = count_decoding(monkeypatch)
    for step in range(6):
        decoded.clear()
        assert is_right(open_arrays(spec, cache=tmp_path / str(step)), expected)
        # only after the last renaming, that of entry.json, is the entry whole
        assert len(decoded) == (0 if step == 5 else NUMBER)
        assert not list((tmp_path / str(step)).glob("*/.*"))


def check_falls_back(spec: str, folder: Path, expected: tuple[torch.Tensor, torch.Tensor], reason: str) -> None:
    with pytest.warns(UserWarning, match=rf"with room on the disk; .*{reason}; .* decoded into memory$") as told:
        arrays = open_arrays(spec, cache=folder)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    assert is_right(arrays, expected)


def test_a_folder_that_cannot_be_made(tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]) -> None:
    (tmp_path / "file").touch()
    check_falls_back(spec, tmp_path / "file" / "cache", expected, "Not a directory")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    tmp_path.chmod(0o500)
    check_falls_back(spec, tmp_path / "cache", expected, "Permission denied")
    tmp_path.chmod(0o700)


def test_a_folder_that_may_not_be_written_to_is_still_read(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_arrays(spec, cache=tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(cache, "locked", refuse)
    decoded = count_decoding(monkeypatch)
    assert is_right(open_arrays(spec, cache=tmp_path), expected)
    assert not decoded
    check_falls_back(spec, tmp_path / "other", expected, "Permission denied")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["images.bin", "labels.bin", "entry.json"])
def test_a_full_disk(
    tmp_path: Path, spec: str, expected: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    written_whole = cache.written_whole

    @contextmanager
    def full(path: Path) -> Iterator[Path]:
        with written_whole(path) as temporary:
            yield Path("/dev/full") if path.name == name else temporary

    with monkeypatch.context() as patched:
        patched.setattr(cache, "written_whole", full)
        check_falls_back(spec, tmp_path, expected, "No space left on device")
    (entry,) = entries(tmp_path)
    assert not list(entry.glob(".*.part"))
    assert is_right(open_arrays(spec, cache=tmp_path), expected)  # once there is room


def test_an_image_that_cannot_be_decoded_is_no_fault_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    PIL.Image.new("L", (4, 4)).save(tmp_path / "source" / "a.png")
    (tmp_path / "source" / "b.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"can be decoded; .*b\.png"):
        open_arrays(f"imagefolder:{tmp_path / 'source'}", cache=tmp_path / "cache")
    (entry,) = entries(tmp_path / "cache")
    assert [path.name for path in entry.iterdir()] == ["lock"]
