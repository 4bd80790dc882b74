"""Panels: which there are follows from the tables; drawn once, in a page in light and dark, and in files."""

import base64
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from poolscope.report import Panel, panels, save_panels, style
from poolscope.report.panel import _leaner, draw_panels, file_name

from .conftest import result_table, share_table, spectrum_table


def names(*tables, **further):
    return [panel.name for panel in panels(pd.concat(tables), **further)]


def test_tables_decide_which_panels_there_are(samples):
    one = result_table([1, 0.5, 0.2])
    assert names(one) == ["D", "G", "R"]
    assert names(one, result_table([1, 0.9, 0.8], model="other")) == ["D", "G", "R"]  # two lines in each
    assert names(one, shares=share_table([(0.5, 0.4, 0.6)]), samples=samples) == ["samples", "D", "G", "R", "shares"]
    spectrum = spectrum_table({"conv": "white"})
    assert names(one, spectrum=spectrum)[3:] == ["spectrum", "levels", "frequency"]
    assert names(one, spectrum=spectrum_table({"conv": "1x1"}))[3:] == ["spectrum"]
    sweep = [one.assign(displacement=size, cutoff=3) for size in (0.3, 1.0)]
    assert names(*sweep) == [*(f"{q}-{d}_px" for d in ("0.3", "1") for q in "DGR"), "R-amplitude"]


def test_several_models_with_variants_have_panels_of_their_own():
    rows = [
        result_table([1, 0.5, 0.2], model=model, variant=variant)
        for model in ("a/b", "c") for variant in ("trained", "initial")
    ]
    assert names(*rows) == [f"{q}-{m}" for m in ("all_models", "a_b", "c") for q in "DGR"]
    together = panels(pd.concat(rows))[2]
    drawn = together.figure().axes[0].get_legend_handles_labels()[1]
    assert drawn == ["a/b", "c"]  # the networks themselves, without their controls


def test_spectra_of_several_models_say_whose_they_are():
    both = pd.concat([spectrum_table({"conv": "white"}, model=name) for name in ("a", "b")])
    found = panels(result_table([1, 0.5]), spectrum=both)[3:]
    assert [panel.name for panel in found] == ["frequency", "spectrum-a", "levels-a", "spectrum-b", "levels-b"]
    titles = [panel.figure().axes[0].get_title(loc="left") for panel in found[1:]]
    assert titles == ["Filters of a", "conv of a", "Filters of b", "conv of b"]


def test_alternatives_to_the_pictures_state_what_is_drawn():
    rows = pd.concat([result_table([1, 0.5, 0.25]), result_table([1, 0.5, float("nan")], variant="mean_filters")])
    alt = panels(rows)[2].alt
    assert alt == "Line chart of R against depth. At the last layer, net: 0.25; mean filters: not defined."


def test_an_image_is_svg_in_the_colours_of_its_ground(samples):
    *_, R = panels(result_table([1, 0.5, 0.2]))
    texts = []
    for dark in (False, True):
        kind, content = R.data_uri(dark=dark).split(";base64,")
        assert kind == "data:image/svg+xml"
        texts.append(base64.b64decode(content).decode())
        assert ET.fromstring(texts[-1]).tag.endswith("svg")
    assert "#1f2328" in texts[0]
    assert "#e4e7eb" not in texts[0]
    assert "#e4e7eb" in texts[1]
    assert "#1f2328" not in texts[1]
    assert not any(ground in text for text in texts for ground in ("fill: #ffffff", "fill: #15181c"))
    assert R.data_uri() == R.data_uri()  # the same bytes every time
    photographs = panels(result_table([1, 0.5, 0.2]), samples=samples)[0]
    assert photographs.data_uri().startswith("data:image/webp;base64,")


def test_a_leaner_svg_keeps_scales_and_rounds_positions():
    svg = '<!-- a --><g transform="translate(43.187654 -2.119) scale(0.015625)">\n  <path d="M 1.234 0.123456"/>\n</g>'
    assert _leaner(svg) == '<g transform="translate(43.18 -2.11) scale(0.015625)"><path d="M 1.23 0.123456"/></g>'


def test_panels_are_saved_as_png_and_pdf(tmp_path):
    paths = save_panels(panels(result_table([1, 0.5, 0.2])), tmp_path)
    assert [path.name for path in paths] == ["D.png", "D.pdf", "G.png", "G.pdf", "R.png", "R.pdf"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")


def test_pdf_files_hold_truetype_letters(tmp_path, monkeypatch):
    panel = Panel("a", "caption", (2.0, 2.0), lambda ax: ax.set_title("title"))
    for kind, font in ((42, b"/CIDFontType2"), (3, b"/Type3")):
        monkeypatch.setattr(style, "PDF_FONTS", kind)
        save_panels([panel], tmp_path)
        assert font in (tmp_path / "a.pdf").read_bytes()
    source = Path(style.__file__).read_text()
    assert "PDF_FONTS = 42\n" in source  # the tests use type 3, which is quicker


def test_files_are_not_overwritten_and_folders_not_made(tmp_path):
    panel = Panel("a", "caption", (2.0, 2.0), lambda ax: ax)
    with pytest.raises(ValueError, match=r"panels must have names of their own.*got a twice"):
        save_panels([panel, panel], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"the folder of the pictures must exist; .*nowhere is not a folder"):
        save_panels([panel], tmp_path / "nowhere")


def test_names_of_files_are_safe():
    assert file_name("R", "../timm:résnet <x>", "0.3 px") == "R-timm_r_snet_x-0.3_px"
    assert file_name("R", "", "..") == "R-_"


def test_one_figure_serves_the_light_page_and_both_files(tmp_path):
    drawn = []

    def draw(ax):
        drawn.append(ax)
        ax.plot([0, 1], [2, 3], label="line")
        ax.set_xlabel("below")

    panel = Panel("a", "caption", (3.0, 2.0), draw)
    (found,) = draw_panels([panel], tmp_path)
    assert len(drawn) == 2  # light and dark
    assert found.light == panel.data_uri()
    assert found.dark == panel.data_uri(dark=True) != found.light
    assert [path.name for path in found.files] == ["a.png", "a.pdf"]
    assert sorted(tmp_path.iterdir()) == sorted(found.files, key=lambda path: path.name)
    with pytest.raises(ValueError, match=r"panels must have names of their own.*got a twice"):
        draw_panels([panel, panel], tmp_path)


def test_pictures_are_laid_out_alike_in_page_and_files(tmp_path):
    """Without its layout the title and the labels of the axes would be cut off at the edges of the PNG."""
    panel = Panel("a", "caption", (2.0, 1.5), lambda ax: ax.set(xlabel="below", ylabel="beside", title="Above"))
    draw_panels([panel], tmp_path)
    (tmp_path / "saved").mkdir()
    save_panels([panel], tmp_path / "saved")
    once, usual = (np.asarray(Image.open(folder / "a.png").convert("L")) for folder in (tmp_path, tmp_path / "saved"))
    assert once.shape == usual.shape
    for axis in (0, 1):  # where there is ink: within two of 320 or 240 pixels, the rounding of text at two resolutions
        first, second = (np.flatnonzero((picture < 128).any(axis=axis)) for picture in (once, usual))
        assert abs(first[0] - second[0]) <= 2
        assert abs(first[-1] - second[-1]) <= 2
