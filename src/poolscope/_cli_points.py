"""``poolscope report`` on folders of ``train``: trained networks as points of error against D, G and R."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from poolscope._options import command_line, made_folder, print_table


def trained_networks(folders: Sequence[Path], out: Path) -> bool:
    """Write figures, tables and a page if all folders are those of ``train``; return whether they are.

    Args:
        folders: each of one network's seeds.
        out: folder for the page.
    """
    runs = {folder: sorted(folder.glob("seed-*/outcome.json")) for folder in folders}
    if not all((folder / "outcomes.parquet").is_file() and found for folder, found in runs.items()):
        return False
    from poolscope.studies.architectures import gather
    from poolscope.training import read_run

    networks = {
        folder.resolve().name: [read_run(outcome.parent) for outcome in found] for folder, found in runs.items()
    }
    pictured = gather(networks)
    print_table(pictured.correlations, "log error against log D, G, R", list(pictured.correlations.columns))
    for _, said in pictured.summary():
        print("\n".join(said))
    made = made_folder(out)
    assert made is not None
    pictured.save(made, {"command": command_line(), "networks": list(networks)})
    print(f"open {made / 'report.html'}")
    return True
