"""The whole report: what it holds follows from tables and record, in order, and its size stays small."""

import re

import pandas as pd
import pytest
import torch

from poolscope.report import write_report
from poolscope.report.facts import facts

from .conftest import contrast_table, result_table, share_table, spectrum_table

RECORD = {
    "model": "net", "data": "digits", "images": 100, "size": [24, 32], "seed": 7, "precision": "float32",
    "batch_norm": "eval", "command": "poolscope measure net", "versions": {"poolscope": "0.1.0", "torch": "2.6"},
    "deformation": {"kind": "Diffeomorphism", "displacement": 1.0, "cutoff": 3, "temperature": 0.000123456},
    "device": "cpu",
}


def headings(path):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", path.read_text(encoding="utf-8"))


def test_a_report_has_what_its_tables_hold(tmp_path, samples):
    least = write_report(tmp_path / "a.html", title="t", results=result_table([1, 0.5, 0.2]), record={})
    assert headings(least) == ["In plain words", "What was measured", "Layer by layer", "The numbers"]
    sweep = pd.concat([result_table([1, 0.5, 0.2], displacement=size, cutoff=3) for size in (0.3, 1.0)])
    most = write_report(
        tmp_path / "b.html", title="t", results=sweep, record=RECORD, shares=share_table([(0.5, 0.4, 0.6)] * 2),
        contrasts=contrast_table({0.3: (-0.5, -0.7, -0.3)}), spectrum=spectrum_table({"conv": "white"}),
        samples=samples, remarks=["Mind the gap."],
    )
    assert headings(most) == [
        "In plain words", "What was measured", "The images and what is done to them", "Layer by layer",
        "From small to large displacements", "Spatial or channel pooling", "The filters", "The numbers",
    ]
    html = most.read_text(encoding="utf-8")
    tables = re.findall(r'<h3 id="t\d">([^<]*)', html)
    assert tables == ["Sensitivities", "Contrasts", "Spatial shares", "Filter spectra"]
    assert "Mind the gap." in html
    assert "Below 0, the shuffled" in html
    assert "crossed over images and draws, where a control has several" in html


def test_what_was_measured_is_read_from_table_and_record():
    found = dict(facts(result_table([1, 0.5]), RECORD))
    assert found["Model"] == "net"
    assert found["Image size"] == "32 × 24 pixels (width × height)"
    assert found["Displacement, rms"] == "1 px (3.1 % of the width)"  # 1 / 32
    assert found["Deformation"] == "Diffeomorphism, cutoff 3, rms displacement 1 px"
    assert found["Seed"] == "7"
    assert found["Command"] == "poolscope measure net"
    assert found["Versions"] == "poolscope 0.1.0, torch 2.6"
    assert found["Batch norm"] == "eval"
    sweep = pd.concat([result_table([1, 0.5], displacement=size) for size in (0.3, 1.5)])
    assert dict(facts(sweep, {}))["Displacement, rms"] == "0.3 px; 1.5 px"
    assert dict(facts(result_table([1, 0.5]), {"displacement": [0.3, 1]}))["Displacement, rms"] == "0.3 px; 1 px"
    assert "Displacement, rms" not in dict(facts(result_table([1, 0.5]), {}))


def test_deformations_of_several_displacements_are_one_line():
    def told(deformation):
        return dict(facts(result_table([1, 0.5]), {"deformation": deformation}))["Deformation"]

    def one(size, fold=0.0, **rest):
        return {"kind": "Diffeomorphism", "displacement": size, "fold_probability": fold, "delta": size / 2, **rest}

    three = [one(0.3, cutoff=3), one(1.0, cutoff=3), one(1.5, 0.005859, cutoff=3)]
    assert told(three) == (
        "Diffeomorphism, cutoff 3, rms displacements 0.3, 1 and 1.5 px, fold probability 0.00586 at 1.5 px"
    )
    assert told(one(1.5, 0.005859, cutoff=3)) == (
        "Diffeomorphism, cutoff 3, rms displacement 1.5 px, fold probability 0.00586"
    )
    assert told([one(1.0, cutoff=3), one(1.0, cutoff=10)]) == (
        "Diffeomorphism, cutoff 3, rms displacement 1 px; Diffeomorphism, cutoff 10, rms displacement 1 px"
    )
    assert told({"kind": "Rotation", "displacement": 1.0, "interpolation": "bilinear"}) == (
        "Rotation, rms displacement 1 px"
    )
    blur = {"kind": "ResamplingBlur", "displacement": 0.0, "of": one(1.0, cutoff=3)}
    assert told(blur) == "ResamplingBlur of Diffeomorphism, cutoff 3, rms displacement 1 px"
    assert told("my_own(strength=2)") == "my_own(strength=2)"
    assert told({"strength": 2}) == "strength 2"


def test_columns_that_say_nothing_are_not_shown(tmp_path):
    path = write_report(tmp_path / "a.html", title="t", results=result_table([1, 0.5, 0.2]), record={})
    shown = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)", path.read_text(encoding="utf-8"))
    assert shown == ["layer", "D", "D se", "G", "G se", "R", "R low", "R high"]
    noted = result_table([1, 0.5, 0.2], variant="trained", note="near rounding", displacement=1.0)
    both = pd.concat([noted, noted.assign(variant="initial")])
    path = write_report(tmp_path / "a.html", title="t", results=both, record={})
    shown = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)", path.read_text(encoding="utf-8"))
    assert shown == ["layer", "variant", "D", "D se", "G", "G se", "R", "R low", "R high", "note"]


def test_fifty_layers_stay_under_three_megabytes(tmp_path):
    count = 50
    R = [0.98**k for k in range(count + 1)]
    rows = [result_table(R, variant=variant) for variant in ("trained", "initial", "mean_channel")]
    rows += [result_table(R, variant="shuffled", draw=draw) for draw in range(8)]
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(3, 3, 14, 14, generator=generator), size=224, mode="bicubic")
    path = write_report(
        tmp_path / "a.html", title="t", results=pd.concat(rows), record=RECORD,
        shares=share_table([(0.5, 0.4, 0.6)] * count),
        spectrum=spectrum_table({f"conv{k}": "white" for k in range(count)}),
        samples=(images, images.roll(1, -1), images + 0.1 * torch.randn(images.shape, generator=generator)),
    )
    assert path.stat().st_size < 3e6


def test_bad_input_is_refused_before_work_starts(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder of a\.html must exist"):
        write_report(tmp_path / "nowhere" / "a.html", title="t", results=result_table([1, 0.5]), record={})
    with pytest.raises(ValueError, match=r"results must have a row for a layer.*got none"):
        write_report(tmp_path / "a.html", title="t", results=result_table([1, 0.5])[:0], record={})
    assert list(tmp_path.iterdir()) == []
