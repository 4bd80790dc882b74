"""The guard around torchvision, in fresh interpreters: what is imported once cannot be imported otherwise."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# A torchvision whose import needs its compiled operators, as the real one's does.
NEEDS_OPERATORS = """
    from . import part
    import torch
    for name in ("nms", "qnms"):
        torch.library.register_fake(f"torchvision::{name}")(lambda dets, scores, iou_threshold: dets)
    complete = True
"""


def run(program: str, *folders: Path) -> str:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, [*folders, SOURCE])), OMP_NUM_THREADS="1")
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def package(folder: Path, body: str, name: str = "torchvision") -> Path:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(textwrap.dedent(body))
    (folder / name / "part.py").write_text("import builtins\nbuiltins.parts = getattr(builtins, 'parts', 0) + 1\n")
    return folder


def test_installed_libraries_work_behind_the_guard() -> None:
    pytest.importorskip("timm", reason="timm is an extra")
    output = run("""
        import torch
        from poolscope._torchvision import import_timm, import_torchmetrics, import_torchvision
        import_torchmetrics().Metric
        timm = import_timm()
        model = import_torchvision().models.squeezenet1_1(weights=None).eval()
        print(tuple(model(torch.zeros(1, 3, 64, 64)).shape), timm.is_model("resnet18"))
    """)
    assert output == "(1, 1000) True"


def test_a_broken_build_is_mended(tmp_path: Path) -> None:
    package(tmp_path, NEEDS_OPERATORS)
    output = run(
        """
        import builtins, torch
        try:
            import torchvision
        except RuntimeError as error:
            print(error)
        from poolscope import _torchvision
        module = _torchvision.import_torchvision()
        # `part` ran twice before and once after mending: nothing half imported was kept
        print(module.complete, builtins.parts, _torchvision.import_torchvision() is module)
        print(torch.ops.torchvision.nms.default._schema)
        """,
        tmp_path,
    )
    assert output.splitlines() == [
        "operator torchvision::nms does not exist",
        "True 2 True",
        f"torchvision::nms{SCHEMA}",
    ]


def test_a_healthy_build_is_left_alone(tmp_path: Path) -> None:
    package(tmp_path, NEEDS_OPERATORS)
    output = run(
        f"""
        import builtins, torch
        library = torch.library.Library("torchvision", "DEF")  # what the compiled operators would have done
        library.define("nms{SCHEMA}")
        library.define("qnms{SCHEMA}")
        from poolscope import _torchvision
        module = _torchvision.import_torchvision()
        print(module.complete, builtins.parts, _torchvision._declared)
        """,
        tmp_path,
    )
    assert output == "True 1 None"


def test_unrelated_failures_come_through(tmp_path: Path) -> None:
    failures = {
        "raise ImportError('libjpeg.so.8: cannot open')": "ImportError libjpeg.so.8: cannot open",
        "raise RuntimeError('other')": "RuntimeError other",
        "import no_such_dependency": "ModuleNotFoundError No module named 'no_such_dependency'",
    }
    for number, statement in enumerate(failures):
        (tmp_path / str(number)).mkdir()
        package(tmp_path / str(number), statement)
    output = run(
        f"""
        import sys
        from poolscope import _torchvision
        for number in range({len(failures)}):
            sys.path.insert(0, {str(tmp_path)!r} + f"/{{number}}")
            for load in (_torchvision.import_torchvision, _torchvision.import_torchmetrics, _torchvision.import_timm):
                try:
                    load()
                except Exception as error:
                    print(type(error).__name__, error)
        assert _torchvision._declared is None
        """
    )
    assert output.splitlines() == [message for message in failures.values() for _ in range(3)]


def test_absent_libraries_are_named_with_the_way_to_install_them(tmp_path: Path) -> None:
    output = run(
        """
        import sys
        from poolscope._torchvision import import_timm, import_torchmetrics, import_torchvision
        sys.modules["timm"] = sys.modules["torchmetrics"] = None  # importing them raises ModuleNotFoundError
        for load in (import_timm, import_torchmetrics):
            try:
                load()
            except ImportError as error:
                print(error)
        sys.modules["torchvision"] = None
        try:
            import_torchvision()
        except ImportError as error:
            print(error)
        del sys.modules["torchmetrics"]
        print(import_torchmetrics().there)  # does without torchvision
        """,
        package(package(tmp_path, ""), "there = True", "torchmetrics"),
    )
    assert output.splitlines() == [
        'timm is not installed: pip install "poolscope[timm]"',
        'torchmetrics is not installed: pip install "torchmetrics"',
        'torchvision is not installed: pip install "torchvision"',
        "True",
    ]


def test_the_packages_import_without_heavy_libraries() -> None:
    output = run("""
        import sys
        import poolscope.datasets, poolscope.networks, poolscope.training
        heavy = {"torchvision", "timm", "pyarrow", "PIL", "sklearn", "pandas", "matplotlib", "safetensors"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert output == "[]"
