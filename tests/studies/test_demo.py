"""The demonstration from start to finish, with two epochs; its numbers are those of the library."""

import pytest

import poolscope as ps
from poolscope.studies import demo
from poolscope.studies.findings import read_findings


@pytest.mark.filterwarnings("ignore:about .* of the deformations fold")
def test_demo_writes_everything(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "SHUFFLES", 2)
    said = []
    found = demo.run(tmp_path, epochs=2, say=said.append)
    assert found.accuracy > 0.5  # ten classes
    assert all(path.is_file() for path in found.files)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {path.name for path in found.files}
    tables = {f"{name}.parquet" for name in ("measurement", "shares", "contrasts", "spectrum")}
    weights = {"initial.safetensors", "trained.safetensors", "samples.safetensors"}
    assert {"report.html", "training.png", *tables, *weights} <= names

    again = read_findings(tmp_path)
    table = again.results
    assert table["variant"].unique().tolist() == ["trained", "initial", "shuffled", "mean_channel"]
    assert table[table["layer"] == "input"]["R"].tolist() == pytest.approx([1.0] * 15, abs=1e-5)  # 5 networks, 3 sizes
    assert again.samples is not None
    assert again.samples[0].shape == (3, 1, 32, 32)
    trained = ps.load_model("poolscope:minivgg", in_channels=1, weights=tmp_path / "trained.safetensors")
    images = ps.load_images("digits", split="test")
    expected = ps.measure(trained, images, ps.Diffeomorphism(1.0, 3), progress=False).table
    own = table[(table["variant"] == "trained") & (table["displacement"] == 1.0)]
    assert own["R"].tolist() == pytest.approx(expected["R"].tolist(), rel=1e-4)
    page = (tmp_path / "report.html").read_text()
    assert f"{found.accuracy:.1%} accuracy" in page
