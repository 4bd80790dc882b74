"""One small member of every model family in timm, and a torchvision model on photographs: does measuring work, and how
long.

For each: the layers measured, D, G and R of the output, and "finite", or "nan" with the note, or why it failed. Weights
are random (seed 0), images too unless `--photographs` names a Parquet file or folder of encoded images.

    python benchmarks/families.py [--photographs FILE-or-DIR] [--only NAME ...] [--images 4] [--threads 2] [--csv FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import io
import time
import warnings
from pathlib import Path

import torch

import poolscope as ps
from poolscope._torchvision import import_timm


def families() -> dict[str, list[str]]:
    """Return timm's model names by family, the module that defines them."""
    timm = import_timm()
    found: dict[str, list[str]] = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            found[module] = names
    return found


def smallest(names: list[str]) -> str:
    """Return the member with the fewest parameters, counted on the meta device; at equal counts the smaller input."""
    timm = import_timm()
    best, key = names[0], (float("inf"), float("inf"))
    for name in names:
        with contextlib.suppress(Exception), torch.device("meta"), contextlib.redirect_stdout(io.StringIO()):
            model = timm.create_model(name)
            size = model.default_cfg.get("input_size", (3, 224, 224))[-1]
            parameters = sum(parameter.numel() for parameter in model.parameters())
            if (max(parameters, 1e6), size) < key:
                best, key = name, (max(parameters, 1e6), size)
    return best


def measured(name: str, images: object, count: int) -> dict[str, object]:
    """Build and measure one model; return a row for the table."""
    started = time.perf_counter()
    row: dict[str, object] = {"model": name}
    try:
        model = ps.load_model(name, seed=0)
        if images is None:
            from poolscope.networks import preprocessing

            wanted = preprocessing(model)
            size = wanted.size if wanted else (224, 224)
            channels = (wanted.channels if wanted else None) or 3
            images = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))
            # Smooth: white noise has no structure that a deformation moves by less than a pixel.
            images = torch.nn.functional.avg_pool2d(images, 5, stride=1, padding=2) * 5
            row["size"] = f"{size[0]}x{size[1]}"
        result = ps.measure(model, images, progress=False)
        table, output = result.table, result.table.iloc[-1]
        missing = table[table["R"].isna()]
        row |= {
            "layers": len(table) - 1,
            "kind": table["kind"].iloc[1],
            "D": output["D"],
            "G": output["G"],
            "R": output["R"],
            "state": "finite" if missing.empty else f"nan at {len(missing)} of {len(table)}",
            "note": "; ".join(sorted(set(missing["note"]))),
        }
    except Exception as error:
        row |= {
            "state": "FAILED",
            "note": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}",
        }
    row["seconds"] = time.perf_counter() - started
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", help="Parquet file or folder of photographs for torchvision:resnet18")
    parser.add_argument("--only", nargs="*", help="families to measure (default: all)")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    columns = ("family", "model", "size", "kind", "layers", "D", "G", "R", "seconds", "state", "note")

    def show(row: dict[str, object]) -> None:
        rows.append(row)
        cells = (f"{row.get(c, ''):.3g}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns)
        print(
            "  ".join(
                cell.ljust(width) for cell, width in zip(cells, (22, 40, 8, 10, 4, 9, 9, 9, 6, 10, 0), strict=True)
            )
        )

    if arguments.photographs:
        network = "torchvision:resnet18"
        photographs = ps.open_images(f"parquet:{arguments.photographs}", count=64, for_model=network)
        show({"family": "photographs", "size": "224x224", **measured(network, photographs, 64)})
    for family, names in families().items():
        if arguments.only and family not in arguments.only:
            continue
        show({"family": family, **measured(f"timm:{smallest(names)}", None, arguments.images)})
        gc.collect()
    states = [str(row["state"]).split(" ")[0] for row in rows]
    print(f"{len(rows)} models: " + ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))))
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
