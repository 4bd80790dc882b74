"""Several processes share the images of one measurement, and each ends up with the table of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from helpers import seeded
from poolscope import measure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed"),
]

NUMBERS = ["D", "D_se", "G", "G_se", "R", "deformation_power", "noise_power", "spread"]

SCRIPT = """
import sys
import torch
import torch.distributed as dist
from poolscope import measure

folder = sys.argv[1]
images, model, options = torch.load(f"{folder}/input.pt", weights_only=False)
dist.init_process_group("gloo")
rank = dist.get_rank()
for number, each in enumerate(options):
    for name, group in (("world", "world"), ("group", dist.group.WORLD)):
        result = measure(model, images, process_group=group, progress=False, **each)
        result.save(f"{folder}/{number}-{name}-{rank}.parquet")
try:
    measure(model, images[:1], process_group="world", progress=False)
except ValueError as error:
    open(f"{folder}/refused-{rank}", "w").write(str(error))
dist.destroy_process_group()
"""

OPTIONS = [
    {"seed": 3, "draws": 2, "precision": "float64", "batch_size": 7},
    {"seed": 3, "precision": "float64", "batch_size": 30},
    {"seed": 3, "precision": "float64"},  # one batch: some processes have nothing to do
    {"seed": 3, "batch_size": 16},
]


def images(count: int) -> torch.Tensor:
    coarse = torch.randn(count, 3, 5, 5, generator=seeded(7))
    return nn.functional.interpolate(coarse, size=(16, 16), mode="bicubic", align_corners=True)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3), nn.GELU(), nn.Flatten())


@pytest.mark.parametrize(("world", "count"), [(2, 101), (3, 4)])
def test_processes_give_the_table_of_one(world: int, count: int, tmp_path: Path) -> None:
    torch.save((images(count), network(), OPTIONS), tmp_path / "input.pt")
    (tmp_path / "script.py").write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*launcher, str(tmp_path / "script.py"), str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=300,
        env=environment,
    )
    for number, options in enumerate(OPTIONS):
        alone = measure(network(), images(count), progress=False, **options).table
        for name in ("world", "group"):
            tables = [pd.read_parquet(tmp_path / f"{number}-{name}-{rank}.parquet") for rank in range(world)]
            for table in tables:
                pd.testing.assert_frame_equal(table, tables[0], check_exact=True)
                assert table["layer"].tolist() == alone["layer"].tolist()
                assert (table["images"] == count).all()
                for column in NUMBERS:
                    # In float32 the reference c, taken from another batch here, and f - c are good to 1e-7.
                    rounding = 1e-9 if options.get("precision") == "float64" else 1e-6
                    assert table[column].to_numpy() == pytest.approx(alone[column].to_numpy(), rel=rounding), column
    assert all("at least 2 images are needed" in (tmp_path / f"refused-{rank}").read_text() for rank in range(world))
