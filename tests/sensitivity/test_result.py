"""A saved result is read back as it was, or refused."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope import Result, measure, read_result
from poolscope._files import written_whole
from poolscope.sensitivity import COLUMNS


@pytest.fixture(scope="module")
def result() -> Result:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Threshold(1e9, 3.0))  # the last layer is constant: nan
    return measure(model, torch.rand(9, 3, 16, 16, generator=seeded(0)), layers="all", progress=False)


@pytest.fixture
def saved(result: Result, tmp_path: Path) -> Path:
    return result.save(tmp_path / "result.parquet")


def test_table_and_record_survive(result: Result, saved: Path) -> None:
    again = read_result(saved)
    pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
    assert again.record == result.record
    assert again.table["D"].isna().any()
    assert list(again.table) == list(COLUMNS)
    assert again.save(saved) == saved
    assert read_result(str(saved)).table.equals(result.table)


def test_the_record_says_how_it_was_made(result: Result) -> None:
    record = result.record
    assert record["images"] == 9
    assert record["size"] == [16, 16]
    assert record["seed"] == 0
    assert record["deformation"]["displacement"] == pytest.approx(0.5)
    assert record["versions"]["torch"] == torch.__version__
    assert (record["precision"], record["batch_norm"], record["readout"]) == ("float32", "eval", "values")


def test_columns_and_positions(result: Result) -> None:
    table = result.table
    assert list(table) == list(COLUMNS)
    assert table["layer"].tolist() == ["input", "0", "1", "2", "output"]
    assert table["kind"].tolist() == ["input", "weight", "activation", "activation", "output"]
    assert table["position"].tolist() == [0, 1, 2, 3, 4]
    assert table["depth"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table["features"].tolist() == [768, 784, 784, 784, 784]
    assert (table["images"] == 9).all()
    assert set(table["model"]) == {"Sequential"}
    assert set(table["variant"]) == {"given"}


def test_it_prints_its_numbers(result: Result) -> None:
    assert "output" in str(result)
    assert f"{result.table['D'][1]:.4g}" in str(result)
    assert "<table" in result._repr_html_()


def test_pandas_alone_reads_the_table_too(result: Result, saved: Path) -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(saved), result.table, check_exact=True)


def test_no_cut_is_accepted(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    cut = tmp_path / "cut.parquet"
    for length in {
        0,
        1,
        4,
        8,
        len(whole) // 2,
        *range(13, len(whole), len(whole) // 150),
        *range(len(whole) - 9, len(whole)),
    }:
        cut.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.parquet must be a whole Parquet file; "):
            read_result(cut)
    cut.write_bytes(whole + b"more")
    with pytest.raises(ValueError, match=r"cut\.parquet must be"):
        read_result(cut)


def test_no_altered_byte_changes_what_is_read(result: Result, saved: Path, tmp_path: Path) -> None:
    """Refused, or (in padding and statistics, which nobody reads) the same to the last digit; never a crash."""
    whole = saved.read_bytes()
    altered = tmp_path / "altered.parquet"
    generator = random.Random(0)
    refused = 0
    positions = range(0, len(whole), 37)
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << generator.randrange(8)
        altered.write_bytes(damaged)
        try:
            again = read_result(altered)
        except ValueError as error:
            assert str(error).startswith(f"{altered} must ")  # noqa: PT017 - both ways out are right
            refused += 1
        else:
            pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
            assert again.record == result.record
    assert refused > len(positions) / 2


def rewritten(saved: Path, path: Path, change: object) -> Path:
    """A file with the same metadata, checksum included, and another table or record."""
    table = pq.read_table(saved)
    pq.write_table(change(table), path)  # type: ignore[operator]
    return path


def test_an_altered_number_or_record_is_refused(saved: Path, tmp_path: Path) -> None:
    def other_number(table: pa.Table) -> pa.Table:
        values = table.column("D").to_pylist()
        values[1] = math.nextafter(values[1], 1)
        return table.set_column(table.column_names.index("D"), "D", pa.array(values))

    def other_seed(table: pa.Table) -> pa.Table:
        metadata = dict(table.schema.metadata)
        metadata[b"poolscope"] = metadata[b"poolscope"].replace(b'"seed": 0', b'"seed": 1')
        return table.replace_schema_metadata(metadata)

    def other_type(table: pa.Table) -> pa.Table:
        index = table.column_names.index("images")
        return table.set_column(index, "images", table.column("images").cast(pa.int32()))

    def fewer_rows(table: pa.Table) -> pa.Table:
        return table.slice(1)

    def no_checksum(table: pa.Table) -> pa.Table:
        return table.replace_schema_metadata({b"poolscope": table.schema.metadata[b"poolscope"]})

    for change in (other_number, other_seed, other_type, fewer_rows, no_checksum):
        path = rewritten(saved, tmp_path / "other.parquet", change)
        with pytest.raises(ValueError, match=r"must be as it was written; its content does not match its checksum"):
            read_result(path)
    assert read_result(rewritten(saved, tmp_path / "same.parquet", lambda table: table)).record["seed"] == 0


def test_foreign_files_are_refused(tmp_path: Path, result: Result) -> None:
    foreign = tmp_path / "foreign.parquet"
    pd.DataFrame({"layer": ["a"], "D": [1.0]}).to_parquet(foreign)
    with pytest.raises(ValueError, match=r"foreign\.parquet must hold a poolscope result"):
        read_result(foreign)
    text = tmp_path / "text.parquet"
    text.write_text("layer,D\n")
    with pytest.raises(ValueError, match=r"text\.parquet must be a whole Parquet file"):
        read_result(text)
    with pytest.raises(FileNotFoundError, match=r"a saved result must be a file; .*missing is not there"):
        read_result(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="a saved result must be a file"):
        read_result(tmp_path)


def test_folders_that_cannot_be_written_to(tmp_path: Path, result: Result) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder of r\.parquet must exist; .*none is not a folder"):
        result.save(tmp_path / "none" / "r.parquet")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"the folder of r\.parquet must exist; .*file is not a folder"):
        result.save(tmp_path / "file" / "r.parquet")
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(PermissionError):
            result.save(tmp_path / "closed" / "r.parquet")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    result: Result, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = saved.read_bytes()

    def breaks(table: pa.Table, path: Path) -> None:
        Path(path).write_bytes(b"PAR1 half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", breaks)
    with pytest.raises(OSError, match="no space left"):
        result.save(saved)
    assert saved.read_bytes() == whole
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_written_whole_or_not_at_all(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"

    def half() -> None:
        with written_whole(path) as temporary:
            temporary.write_bytes(b"half")
            assert not path.exists()
            raise error

    with pytest.raises(error):
        half()
    assert list(tmp_path.iterdir()) == []
    with written_whole(path) as temporary:
        assert temporary.parent == path.parent  # a rename within one file system
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode  # as readable as any other new file


KILLED_AT = """
import os, signal, sys
import torch
import poolscope
from poolscope import Result, measure, read_result
result = measure(torch.nn.ReLU(), torch.rand(4, 3, 16, 16), progress=False)
step, path = sys.argv[1:]
def killed(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
if step == "write":
    import pyarrow as pa
    import pyarrow.parquet as pq
    write = pq.write_table
    def half(table, target, **kwargs):
        write(table, target)
        with open(target, "rb+") as file:
            file.truncate(os.path.getsize(target) // 2)
        killed()
    pq.write_table = half
elif step == "fsync":
    os.fsync = killed
else:
    os.replace = killed
result.save(path)
"""


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "over an old one"])
def test_killed_within_a_save(step: str, existing: bool, result: Result, tmp_path: Path) -> None:
    path = tmp_path / "result.parquet"
    if existing:
        result.save(path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, step, str(path)], capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    if existing:
        pd.testing.assert_frame_equal(read_result(path).table, result.table, check_exact=True)
    else:
        with pytest.raises(FileNotFoundError):
            read_result(path)
    for left in tmp_path.glob("*.parquet"):  # what a user's pattern would find
        assert left == path


SAVING = """
import sys
import torch
from poolscope import measure
results = [measure(torch.nn.ReLU(), torch.rand(4, 3, 16, 16), seed=seed, progress=False) for seed in (1, 2)]
print("ready", flush=True)
while True:
    for result in results:
        result.save(sys.argv[1])
"""


@pytest.mark.slow
def test_killed_at_any_moment_of_repeated_saves(tmp_path: Path) -> None:
    path = tmp_path / "result.parquet"
    generator = random.Random(1)
    seeds = []
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", SAVING, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05 + generator.random() / 5)
            process.kill()
        found = read_result(path)  # whole: one or the other
        seeds.append(found.record["seed"])
        assert len(found.table) == 3
    assert set(seeds) <= {1, 2}
