"""Break the code in many small ways, one at a time, and see whether the tests notice.

Each mutation replaces one piece of text in a copy of the checkout and runs the tests of the part it is in; a test must
turn red. Prints a row a mutation and exits with 1 if one survived.

    python benchmarks/mutations.py [--only WORD ...] [--jobs 2]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutation:
    """What is broken: ``old`` becomes ``new`` in ``file``; ``tests`` must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


def _of(folder: str, tests: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    return [Mutation(name, f"{folder}/{file}", old, new, tests) for name, file, old, new in rows]


MUTATIONS = [
    *_of(
        "sensitivity",
        "tests/sensitivity",
        ("D is 0", "estimate.py", "Estimate(a / spread, D_se", "Estimate(0.0, D_se"),
        (
            "D and G swapped",
            "estimate.py",
            "a / spread, D_se, b / spread, G_se,",
            "b / spread, G_se, a / spread, D_se,",
        ),
        ("pairs i = j counted", "estimate.py", "2.0 * count / (count - 1)", "2.0"),
        ("factor 2 of the spread dropped", "estimate.py", "2.0 * count / (count - 1)", "count / (count - 1)"),
        ("mean of f - c ignored", "estimate.py", "max(q / 2 - offset_square, 0.0)", "q / 2"),
        ("rounding limit dropped", "estimate.py", "if not spread > floor:", "if not spread >= 0:"),
        ("covariance of powers ignored", "estimate.py", "first + second - 2 * both", "first + second"),
        ("interval one-sided", "estimate.py", "(1 + CONFIDENCE) / 2", "CONFIDENCE"),
        ("merging forgets the means", "moments.py", "* (self.count * count / total)", "* 0"),
        ("draws summed, not averaged", "moments.py", "powers[:2] /= len(moved)", "pass"),
        ("half a block lost", "moments.py", "if whole < rows.shape[1]:", "if False:"),
        (
            "batch counted twice",
            "sums.py",
            "self.moments.update(powers)",
            "self.moments.update(powers.repeat(1, 1, 2))",
        ),
        ("seed ignored", "perturbing.py", "self.seed = seed", "self.seed = 0"),
        ("every draw the same", "perturbing.py", "indices, draw, Purpose.NOISE", "indices, 0, Purpose.NOISE"),
        ("noise left out", "perturbing.py", "return images + self.noise.draw(", "return images + 0 * self.noise.draw("),
        ("evaluation mode forgotten", "prepare.py", "            model.eval()\n", ""),
        (
            "training flags not put back",
            "prepare.py",
            "                module.training = mode\n",
            "                pass\n",
        ),
        (
            "weights not put back",
            "prepare.py",
            "                parameter.data = data\n            for",
            "                pass\n            for",
        ),
        ("shuffled images taken in order", "source.py", "            if self.shuffles:\n", "            if False:\n"),
        ("checksum ignored", "result.py", "if metadata.get(_DIGEST_KEY) != digest:", "if False:"),
        (
            "comparison unpaired",
            "comparing.py",
            "gradient @ covariance @ gradient",
            "gradient**2 @ covariance.diagonal()",
        ),
    ),
    *_of(
        "probe",
        "tests/probe",
        ("hooks stay", "watch.py", "handle.remove()", "pass"),
        ("gates counted", "survey.py", "event.is_gate = True", "event.is_gate = False"),
        ("second call overwrites the first", "watch.py", 'name if repeat == 1 else f"{name}#{repeat}"', "name"),
        ("scripted models accepted", "unwrap.py", "if isinstance(module, torch.jit.ScriptModule):", "if False:"),
    ),
    *_of(
        "perturb",
        "tests/perturb",
        ("x and y swapped", "warping.py", "torch.stack([columns, rows])", "torch.stack([rows, columns])"),
        (
            "square of modes, not a disc",
            "modes.py",
            "side**2 <= (cutoff + 0.5) ** 2",
            "side**2 <= 2 * cutoff**2",
        ),
        ("amplitudes 1 / (i² + j²)", "modes.py", ".double().rsqrt()", ".double().reciprocal()"),
        ("one component in the rms", "modes.py", "math.sqrt(2 * modes.pixel_mean", "math.sqrt(1 * modes.pixel_mean"),
        ("image index ignored", "randomness.py", "[0, attempt, draw, index]", "[0, attempt, draw, 0]"),
        (
            "noise of the batch's norm",
            "noise.py",
            "size = _norms(moved - images) / _norms(direction)",
            "size = _norms(moved - images).mean() / _norms(direction)",
        ),
        ("rectified ignored", "noise.py", "noise.relu() if self.rectified else noise", "noise"),
        ("Jacobian of the other sign", "folding.py", "(1 - x[..., 0, :, :])", "(1 + x[..., 0, :, :])"),
    ),
    *_of(
        "pooling",
        "tests/pooling/test_shuffling.py",
        ("pooling: one order for all outputs", "shuffling.py", "if mode == \"independent\":", "if False:"),
        ("pooling: colours always shuffled", "shuffling.py", "number == 0 and not image_channels", "False"),
        (
            "pooling: inputs not crossed",
            "shuffling.py",
            "if mode in (\"independent\", \"shared\") and one.groups > 1:",
            "if False:",
        ),
        (
            "pooling: transposed as they lie",
            "convolutions.py",
            "if self.transposed else weight",
            "if False else weight",
        ),
    ),
    *_of(
        "pooling",
        "tests/pooling/test_share.py",
        ("pooling: images' error alone", "share.py", "over_draws = float(values.var()) / draws", "over_draws = 0.0"),
        ("pooling: shuffles' error alone", "share.py", "float(average @ covariance @ average) / count", "0.0"),
        ("pooling: interaction twice", "share.py", "over_images + over_draws - both", "over_images + over_draws"),
        (
            "pooling: share clipped",
            "share.py",
            "(logs[2:] - logs[0]) / fall",
            "((logs[2:] - logs[0]) / fall).clamp(0, 1)",
        ),
        (
            "pooling: share of nothing",
            "share.py",
            "if not abs(fall) > quantile_t(count - 1) * fall_se",
            "if not abs(fall) > 0",
        ),
    ),
    *_of(
        "pooling",
        "tests/pooling/test_laplacian.py",
        (
            "pooling: eigenvalues",
            "laplacian.py",
            "4 * torch.sin(math.pi / (2 * taps)",
            "4 * torch.sin(math.pi / (taps)",
        ),
    ),
    *_of(
        "pooling",
        "tests/pooling/test_skips.py",
        (
            "pooling: every sum a skip",
            "skips.py",
            "if a.plain & b.mixed & ~a.mixed or b.plain & a.mixed & ~b.mixed:",
            "if True:",
        ),
    ),
]


def survives(mutation: Mutation) -> tuple[bool, str, float]:
    """Apply one mutation to a copy and run its tests; return whether all passed, the last line, and the seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        for part in ("src", "tests", "examples"):
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        target = copy / "src" / "poolscope" / mutation.file
        text = target.read_text(encoding="utf-8")
        if text.count(mutation.old) < 1:
            return True, f"the text {mutation.old!r} is not in {mutation.file}", 0.0
        target.write_text(text.replace(mutation.old, mutation.new, 1), encoding="utf-8")
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy / "src"),
            "OMP_NUM_THREADS": "1",
            "POOLSCOPE_SHARED": "/nowhere",
        }
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", mutation.tests],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, failed[0] if failed else done.stdout.strip()[-80:], time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="mutations whose name holds one of these words")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [m for m in MUTATIONS if not arguments.only or any(word in m.name for word in arguments.only)]
    alive = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for mutation, (survived, line, seconds) in zip(chosen, pool.map(survives, chosen), strict=True):
            alive += survived
            state = "SURVIVED" if survived else "red"
            print(f"{state:9s} {mutation.name:34s} {mutation.file:28s} {seconds:5.0f} s  {line[:110]}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutations turned a test red")
    sys.exit(1 if alive else 0)


if __name__ == "__main__":
    main()
