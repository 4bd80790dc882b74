"""``poolscope train task1-laptop``: simple CNNs of section 4, trained and set beside the theory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poolscope._options import command_line, made_folder, print_table

if TYPE_CHECKING:
    from poolscope.studies.scale_detection import Simple
    from poolscope.training.simple import Experiment


def train_simple_cnns(
    name: str, seeds: Sequence[int], out: Path | None, fields: dict[str, Any], device: str, threads: int | None
) -> None:
    """Train an experiment's seeds, measure them, print tables and write figures and a page.

    Args:
        name: of the experiment, or a TOML file of one; several with commas are compared.
        seeds: without repetition.
        out: folder (default: ``runs/NAME``).
        fields: other values for the experiment's.
        device: "auto", "cpu", "cuda".
        threads: of the CPU.
    """
    from poolscope.studies.scale_detection import compare, run
    from poolscope.training.simple import load_experiment

    names = [part.strip() for part in name.split(",")]
    experiments = {Path(each).stem: load_experiment(each).changed(**fields) for each in names}
    if len(experiments) < len(names):
        raise ValueError(f"every experiment must be given once; got {name}")
    folder = made_folder(out or Path("runs") / "-".join(experiments))
    assert folder is not None
    found = {}
    for each, experiment in experiments.items():
        place = folder / each if len(names) > 1 else folder
        found[each] = run(experiment, seeds=seeds, out=place, device=device, threads=threads)
        _tell(each, experiment, found[each], place)
    if len(found) > 1:
        compared = compare(found)
        print_table(compared.growth, "how G grows over the layers", list(compared.growth.columns))
        compared.save(folder, {"command": command_line()})
        print(f"open {folder / 'report.html'}")


def _tell(name: str, experiment: Experiment, found: Simple, folder: Path) -> None:
    """Print what came out of one experiment, and write its page."""
    columns = ["seed", "status", "interpolation", "epochs", "loss", "test_error", "balanced_test_error", "seconds"]
    print_table(found.runs.outcomes, f"{name}: simple CNNs on {experiment.task}", columns)
    shown = found.averages[(found.averages["variant"] == "trained") & (found.averages["noise"] == "rectified")]
    theory = found.theory[found.theory["label"].str.startswith("exact, homogeneous")].set_index("k")
    table = shown.assign(D_exact=shown["k"].map(theory["D"]), G_exact=shown["k"].map(theory["G"]))
    columns = ["k", "A", "D", "D_low", "D_high", "D_exact", "G", "G_low", "G_high", "G_exact", "R"]
    print_table(table, "trained networks, rectified noise, over seeds; exact: theory, homogeneous filters", columns)
    print_table(found.slopes, "slopes of log D, G, R against log A", list(found.slopes.columns))
    for _, said in found.summary():
        print("\n".join(said))
    found.save(folder, {"command": command_line(), "experiment": experiment.model_dump(mode="json")})
    print(f"open {folder / 'report.html'}")
