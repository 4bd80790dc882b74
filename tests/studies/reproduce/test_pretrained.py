"""Pretrained networks: what is missing is named, what is there is measured, and a pickle that runs code is refused."""

import hashlib
import io
import math
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow
import pyarrow.parquet
import pytest
import torch

from poolscope.networks import load_model
from poolscope.perturb import Diffeomorphism
from poolscope.sensitivity import measure, read_result
from poolscope.studies.reproduce.catalogue import figure_c6
from poolscope.studies.reproduce.store import Store
from poolscope.studies.reproduce.study import NotRun, Sources
from poolscope.studies.reproduce.work.pretrained import (
    WeightsFile,
    evenly,
    fetch,
    photographs,
    pretrained,
    weights_file,
)
from poolscope.studies.reproduce.worker import perform

_SMALL = "squeezenet1_1"  # 5 MB of weights; AlexNet has 240
_SETTINGS = figure_c6.FigureC6(networks=(_SMALL, "alexnet"), images=3, shuffles=2, displacement=(0.816,))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which torchvision looks for weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Five coloured pictures of different sizes in a Parquet file of a folder."""
    folder = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    encoded = []
    for number in range(5):
        buffer = io.BytesIO()
        small = random.integers(0, 256, (8, 8 + number, 3), dtype=np.uint8)
        PIL.Image.fromarray(small).resize((260 + 10 * number, 240)).save(buffer, format="png")
        encoded.append({"bytes": buffer.getvalue()})
    pyarrow.parquet.write_table(pyarrow.table({"image": encoded, "label": range(5)}), folder / "val-0.parquet")
    return f"parquet:{folder}"


def _save_weights(path: Path, seed: int = 0) -> None:
    torch.save(load_model(f"torchvision:{_SMALL}", seed=seed).state_dict(), path)


def test_what_is_missing_is_named(hub: Path, pictures: str, tmp_path: Path) -> None:
    with pytest.raises(NotRun, match=r"no option names their folder.*image-net\.org.*--imagenet.*alexnet-owt.*LeNet"):
        figure_c6.STUDY.runs(_SETTINGS, Sources("digits"))
    with pytest.raises(NotRun, match=r"there is no .*absent; .*image-net\.org"):
        figure_c6.STUDY.runs(_SETTINGS, Sources("digits", f"imagefolder:{tmp_path / 'absent'}"))
    with pytest.raises(NotRun) as stopped:
        figure_c6.STUDY.runs(_SETTINGS, Sources("digits", pictures))
    for name in _SETTINGS.networks:
        file = weights_file(name, "IMAGENET1K_V1")
        assert file.path.parent == hub
        assert file.path.name in str(stopped.value)
        assert f" in {hub}, from {file.url.rpartition('/')[0]}; --download" in str(stopped.value)
    assert "--download" in str(stopped.value)
    assert "LeNet" in str(stopped.value)
    with pytest.raises(ValueError, match=r"must be one of IMAGENET1K_V1; got 'V7'"):
        weights_file("alexnet", "V7")
    with pytest.raises(ValueError, match=r"one of torchvision's; got 'lenet'"):
        weights_file("lenet", "IMAGENET1K_V1")


def test_networks_whose_weights_are_there_run_and_the_others_are_named(
    hub: Path, pictures: str, tmp_path: Path
) -> None:
    sources = Sources("digits", pictures)
    file = weights_file(_SMALL, "IMAGENET1K_V1")
    _save_weights(file.path)
    runs = figure_c6.STUDY.runs(_SETTINGS, sources)
    assert list(runs) == [f"{_SMALL}-pretrained"]
    (job,) = runs.values()
    store = Store(tmp_path / "store")
    outcome = perform(str(store.folder), job.plain())
    assert outcome.status == "done", outcome.message
    folder = store.path(job.key)

    model = load_model(f"torchvision:{_SMALL}", weights=file.path)
    images = photographs(pictures, 5, model=f"torchvision:{_SMALL}")[[0, 1, 3]]  # floor(5 n / 3)
    direct = measure(model, images, Diffeomorphism(0.816 * 7, 3), progress=False).table
    table = read_result(folder / "measurement.parquet").table
    given = table[table["variant"] == "given"]
    assert list(given["layer"]) == list(direct["layer"])
    for quantity in "DGR":
        # float32 in batches of another size
        assert given[quantity].to_numpy() == pytest.approx(direct[quantity].to_numpy(), rel=1e-3)
    assert set(table["variant"]) == {"given", "shuffled"}

    tables = figure_c6.STUDY.tables(_SETTINGS, {f"{_SMALL}-pretrained": folder})
    assert np.allclose(tables["measurement"]["displacement"], 0.816)
    assert np.allclose(tables["measurement"]["pixels"], 0.816 * 7)
    weights = tables["weights"].iloc[0]
    assert weights["weights_sha256"] == hashlib.sha256(file.path.read_bytes()).hexdigest()
    assert not weights["published"]
    assert weights["images"] == 3
    words = " ".join(figure_c6.STUDY.words(tables))
    assert "alexnet is not here: its weights are missing, alexnet-owt-7be5be79.pth" in words
    assert f"The weights of {_SMALL} are not the published ones" in words
    assert "LeNet" in words
    panels = figure_c6.STUDY.panels(tables)
    assert {f"{_SMALL}-R-0.816px", "frequency", f"{_SMALL}-spectrum"} <= {panel.name for panel in panels}
    assert panels[0].figure()


def test_a_job_is_known_by_its_weights_and_images_wherever_they_are(
    hub: Path, pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(spec: str = pictures, *, download: bool = False) -> str:
        sources = Sources("digits", spec, download=download)
        return pretrained(_SMALL, sources, displacement=[1.0], images=2, draws=2).key

    with pytest.raises(FileNotFoundError, match="or download=True"):
        key()
    to_be_fetched = key(download=True)
    file = weights_file(_SMALL, "IMAGENET1K_V1")
    _save_weights(file.path)
    first = key()
    assert first != to_be_fetched  # these are not the published weights
    copied = tmp_path / "elsewhere" / "hub" / "checkpoints" / file.path.name
    copied.parent.mkdir(parents=True)
    copied.write_bytes(file.path.read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "elsewhere"))
    moved = tmp_path / "images"
    moved.mkdir()
    (moved / "a.parquet").write_bytes(next(Path(pictures.partition(":")[2]).iterdir()).read_bytes())
    assert key(f"parquet:{moved}") == first
    _save_weights(copied, seed=1)
    assert key() != first


class _Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (_explode, (str(self.path),))


def _explode(path: str) -> None:
    Path(path).touch()


def test_weights_that_would_run_code_are_refused(hub: Path, pictures: str, tmp_path: Path) -> None:
    file = weights_file(_SMALL, "IMAGENET1K_V1")
    torch.save({"features.0.weight": _Bomb(tmp_path / "ran")}, file.path)
    job = pretrained(_SMALL, Sources("digits", pictures), displacement=[1.0], images=2, draws=2)
    outcome = perform(str(Store(tmp_path / "store").folder), job.plain())
    assert outcome.status == "failed"
    assert "tensors only" in outcome.message
    assert not (tmp_path / "ran").exists()
    with file.path.open("rb"), pytest.raises(pickle.UnpicklingError):
        torch.load(file.path, weights_only=True)


def test_fetched_weights_have_the_hash_in_their_name_or_are_not_kept(tmp_path: Path) -> None:
    content = b"weights"
    source = tmp_path / "source"
    source.write_bytes(content)
    digits = hashlib.sha256(content).hexdigest()[:8]
    good = WeightsFile(source.as_uri(), tmp_path / "hub" / f"net-{digits}.pth")
    fetch(good, str)
    assert good.path.read_bytes() == content
    other = WeightsFile(source.as_uri(), tmp_path / "hub" / "net-00000000.pth")
    with pytest.raises(ValueError, match="the hash in their name"):
        fetch(other, str)
    assert not other.there
    absent = WeightsFile((tmp_path / "absent").as_uri(), tmp_path / "hub" / "net.pth")
    assert absent.promised == ""
    with pytest.raises(FileNotFoundError, match=r"could not be fetched from file://.*absent"):
        fetch(absent, str)


def test_images_are_spread_over_folders_sorted_by_class() -> None:
    assert evenly(10, 4) == [0, 2, 5, 7]
    assert evenly(3, 500) == [0, 1, 2]


def test_claims_are_judged_by_published_weights_alone() -> None:
    depth = np.arange(4) / 3
    rows = [
        {"network": name, "variant": variant, "displacement": 0.816, "pixels": 5.712, "position": number,
         "depth": depth[number], "R": math.exp(slope * depth[number]), "R_low": 0.99 * math.exp(slope * depth[number]),
         "R_high": 1.01 * math.exp(slope * depth[number])}
        for name in ("vgg11", "vgg16_bn", "alexnet")
        for variant, slope in (("given", -2.0), ("shuffled", -1.0))
        for number in range(4)
    ]  # fmt: skip
    frequency = [
        {"network": name, "position": number, "frequency": value, "frequency_se": 0.01}
        for name in ("vgg11", "vgg16_bn", "alexnet")
        for number, value in ((1, 1.5), (2, 0.8), (3, 1.1))
    ]
    weights = [{"network": name, "published": name != "vgg16_bn"} for name in ("vgg11", "vgg16_bn", "alexnet")]
    tables = {
        "measurement": pd.DataFrame(rows),
        "frequency": pd.DataFrame(frequency),
        "weights": pd.DataFrame(weights),
        "missing": pd.DataFrame(columns=["network", "why"]),
    }
    found = figure_c6.STUDY.estimates(tables)
    first, second = found["imagenet-R-falls"]
    assert (first.part, first.displacement, first.value) == ("vgg11", 0.816, pytest.approx(-2))
    assert first.low < -2 < first.high < 0
    assert (second.part, math.isnan(second.value)) == ("vgg16_bn", True)
    parts = {each.part: each.value for each in found["imagenet-low-pass"] if not math.isnan(each.value)}
    assert parts == {"vgg11, layer 2": 0.8, "vgg11, layer 3": 1.1}
    words = figure_c6.STUDY.words(tables)
    assert words[0].startswith("The weights of vgg16_bn are not the published ones")
    assert "alexnet, of which figure C4 says" in words[1]
    assert "-2.00" in words[1]
