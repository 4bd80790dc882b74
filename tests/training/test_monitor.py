"""The monitor in a plain loop: what ``measure`` gives on the weights of that epoch, and a training none the wiser."""

import copy
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import poolscope as ps
from helpers import seeded
from poolscope.training.monitor import SensitivityMonitor

EPOCHS = 3


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """200 digits of 16x16 pixels and their labels."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn, an extra")
    images, labels = ps.load_images("digits", split="train", count=200, with_labels=True)
    return nn.functional.avg_pool2d(images, 2), labels


def network() -> nn.Sequential:
    """A small network with everything a measurement could disturb: batch norm, dropout, in-place nonlinearities."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Dropout(0.2), nn.Flatten(), nn.Linear(200, 10),
        )  # fmt: skip


def train(model: nn.Module, loader: DataLoader, monitor=lambda model, epoch: None) -> list[object]:
    """Train for three epochs; return what the monitor returned before the first and after each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    told = [monitor(model, 0)]
    model.train()
    for epoch in range(1, EPOCHS + 1):
        for images, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        told.append(monitor(model, epoch))
    return told


def shuffled(digits: tuple[Tensor, Tensor], generator: torch.Generator | None = None) -> DataLoader:
    return DataLoader(TensorDataset(*digits), batch_size=50, shuffle=True, generator=generator)


def test_rows_are_those_of_measure_on_the_weights_of_that_epoch(digits) -> None:
    options = {
        "deformation": ps.Diffeomorphism(0.7, 3), "noise": ps.MatchedNoise(rectified=True), "draws": 2, "seed": 5,
    }  # fmt: skip
    monitor = SensitivityMonitor(digits[0], layers=["2", "5", "8"], at=(0, 1, 3), **options)
    kept: dict[int, nn.Module] = {}

    def watched(model: nn.Module, epoch: int) -> object:
        kept[epoch] = copy.deepcopy(model)
        return monitor(model, epoch)

    torch.manual_seed(1)
    told = train(network(), shuffled(digits), watched)
    assert told[2] is None
    assert monitor.table.columns.tolist() == ["epoch", *ps.measure(kept[0], digits[0]).table.columns]
    assert monitor.table["epoch"].tolist() == [0] * 4 + [1] * 4 + [3] * 4
    for epoch in (0, 1, 3):
        expected = ps.measure(kept[epoch], digits[0], layers=["2", "5", "8"], **options).table
        rows = monitor.table[monitor.table["epoch"] == epoch].reset_index(drop=True)
        # The same arithmetic on the same weights: not a bit may differ.
        pd.testing.assert_frame_equal(rows.drop(columns="epoch"), expected, check_exact=True)
        pd.testing.assert_frame_equal(told[epoch], rows, check_exact=True)
    outputs = monitor.table.query("layer == '8'")
    assert outputs["D"].nunique() == 3  # the network changed, and was not measured once and for all
    inputs = monitor.table.query("kind == 'input'")
    assert inputs["D"].nunique() == inputs["G"].nunique() == 1  # the perturbations did not


def test_training_ends_with_the_same_bits_with_and_without(digits) -> None:
    def trained(monitor) -> tuple[nn.Module, Tensor, tuple, float]:
        torch.manual_seed(2)
        np.random.seed(2)  # noqa: NPY002 - the state under test
        model = network()
        train(model, shuffled(digits), monitor)
        return model, torch.get_rng_state(), np.random.get_state(), torch.rand(()).item()  # noqa: NPY002

    modes: list[bool] = []

    def watched(model: nn.Module, epoch: int) -> None:
        if epoch == 2:
            model[1].eval()  # a part that is frozen
        before = [module.training for module in model.modules()]
        gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        pointers = [p.data_ptr() for p in model.parameters()]
        assert monitor(model, epoch) is not None
        assert [module.training for module in model.modules()] == before
        modes.extend(before)
        assert [p.data_ptr() for p in model.parameters()] == pointers
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            assert (parameter.grad is None) == (gradient is None)
            assert gradient is None or torch.equal(parameter.grad, gradient)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

    monitor = SensitivityMonitor(digits[0], layers="all", precision="float64", bn="reestimate")
    plain, plain_state, plain_numpy, plain_next = trained(
        lambda model, epoch: model[1].eval() if epoch == 2 else None
    )
    seen, state, numpy_state, following = trained(watched)
    assert True in modes
    assert False in modes
    for (name, one), other in zip(plain.state_dict().items(), seen.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(plain_state, state)
    assert plain_next == following
    assert all(np.array_equal(one, other) for one, other in zip(plain_numpy, numpy_state, strict=True))


@pytest.mark.parametrize("options", [{"every": 1}, {"at": (9,), "bn": "reestimate"}], ids=["measured", "only checked"])
def test_a_generator_shared_with_the_training_images_is_left_alone(options, digits) -> None:
    def trained(monitored: bool) -> dict[str, Tensor]:
        torch.manual_seed(3)
        generator = seeded(4)
        held_out = DataLoader(TensorDataset(*digits), batch_size=100, generator=generator)  # it draws, unshuffled too
        model = network()
        monitor = SensitivityMonitor(held_out, **options)
        train(model, shuffled(digits, generator), monitor if monitored else lambda model, epoch: None)
        return model.state_dict()

    with_monitor, without = trained(True), trained(False)
    for name, weights in without.items():
        assert torch.equal(weights, with_monitor[name]), name


def test_log_is_told_every_layer_but_the_input(digits) -> None:
    told: list[tuple[dict[str, float], int]] = []
    monitor = SensitivityMonitor(digits[0], layers=["5", "8"], every=2, log=lambda *news: told.append(news))
    train(network(), shuffled(digits), monitor)
    assert [epoch for _, epoch in told] == [0, 2]
    for values, epoch in told:
        rows = monitor.table[monitor.table["epoch"] == epoch].set_index("layer")
        assert values == {f"{key}/{layer}": rows.loc[layer, key] for layer in ("5", "8") for key in "DGR"}
        assert all(type(value) is float for value in values.values())


def test_epochs_are_chosen_by_at_every_or_all() -> None:
    images, model = torch.randn(4, 1, 16, 16, generator=seeded(0)), network()

    def measured(**chosen: object) -> list[int]:
        monitor = SensitivityMonitor(images, **chosen)
        return [epoch for epoch in range(7) if monitor(model, epoch) is not None]

    assert measured(at=range(1, 4)) == [1, 2, 3]
    assert measured(at={5}) == [5]
    assert measured(every=3) == [0, 3, 6]
    assert measured() == list(range(7))


def test_a_network_that_died_is_a_note_and_no_end_of_the_training() -> None:
    monitor = SensitivityMonitor(torch.randn(8, 1, 16, 16, generator=seeded(0)), layers="activations")
    model = network()
    monitor(model, 0)
    nn.init.constant_(model[8].weight, torch.nan)
    rows = monitor(model, 1)
    assert rows is not None
    assert rows.set_index("layer")["note"]["output"].startswith("not finite")
    assert np.isnan(rows.set_index("layer")["R"]["output"])


def test_an_epoch_measured_again_replaces_its_rows() -> None:
    monitor = SensitivityMonitor(torch.randn(8, 1, 16, 16, generator=seeded(0)))
    model = network()
    monitor(model, 4)
    nn.init.normal_(model[8].weight, generator=seeded(1))
    last = monitor(model, 3), monitor(model, 4)
    pd.testing.assert_frame_equal(monitor.table, pd.concat(last, ignore_index=True))


def test_the_table_survives_a_checkpoint(tmp_path) -> None:
    images = torch.randn(8, 1, 16, 16, generator=seeded(0))

    def monitor() -> SensitivityMonitor:
        def mirrored(images: Tensor, *, generator: torch.Generator) -> Tensor:  # a new one, as after a restart
            return images.flip(-1)

        return SensitivityMonitor(images, layers="activations", at=(0, 1, 2, 5), deformation=mirrored)

    first, model = monitor(), network()
    assert first.table.empty
    assert first.table.columns[0] == "epoch"
    first(model, 0)
    first(model, 1)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = monitor()
    second(model, 5)  # of another training
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))  # plain types and nothing else
    pd.testing.assert_frame_equal(second.table, first.table, check_exact=True)
    assert json.loads(json.dumps(first.state_dict())) == first.state_dict()
    second(model, 2)
    first(model, 2)
    pd.testing.assert_frame_equal(second.table, first.table, check_exact=True)


def test_a_training_goes_on_with_the_perturbations_it_began_with() -> None:
    images, model = torch.randn(8, 1, 16, 16, generator=seeded(0)), network()
    first = SensitivityMonitor(images, seed=1)
    first(model, 0)
    state = first.state_dict()
    for change, message in (
        ({"seed": 2}, "seed was 1; got 2"),
        ({"deformation": ps.Diffeomorphism(1.0, 3)}, "deformation was .*'displacement': 0.5.*got .*1.0"),
        ({"noise": ps.GaussianNoise(1.0)}, "noise was 'MatchedNoise.*got 'GaussianNoise"),
        ({"draws": 2}, "draws was 1; got 2"),
    ):
        other = SensitivityMonitor(images, **{"seed": 1, "at": (9,), **change})
        other.load_state_dict(state)
        with pytest.raises(ValueError, match=f"a monitor must go on as it began.*{message}"):
            other(model, 1)  # not an epoch that it measures: it says so all the same
    fewer = SensitivityMonitor(images[:4], seed=1)
    fewer.load_state_dict(state)
    with pytest.raises(ValueError, match="images was 8; got 4"):
        fewer(model, 1)
    with pytest.raises(ValueError, match="must hold rows and record; got weights"):
        fewer.load_state_dict({"weights": {}})


def test_it_measures_where_the_model_is(monkeypatch) -> None:
    import poolscope.training.monitor as module

    used: list[object] = []
    measure = module.measure
    monkeypatch.setattr(module, "measure", lambda *a, **k: (used.append(k["device"]), measure(*a, **k))[1])
    images = torch.randn(4, 1, 16, 16, generator=seeded(0))
    SensitivityMonitor(images)(network(), 0)
    SensitivityMonitor(images, device="cpu")(network(), 0)
    assert used == [torch.device("cpu"), "cpu"]  # not "auto", which would take a GPU away from others


def test_bad_epochs_are_refused() -> None:
    images = torch.zeros(2, 1, 8, 8)
    for arguments, message in (
        ({"at": (0, 1), "every": 2}, r"by at or by every, not both; got at=\(0, 1\) and every=2"),
        ({"at": (0, -1)}, "at must hold epochs, whole numbers from 0.*got -1"),
        ({"at": (0, True)}, "whole numbers.*got True"),
        ({"at": ()}, "at least one epoch.*got none"),
        ({"every": 0}, "every must be a whole number of epochs, 1 or more; got 0"),
        ({"every": True}, "every must be a whole number.*got True"),
    ):
        with pytest.raises(ValueError, match=message):
            SensitivityMonitor(images, **arguments)
    with pytest.raises(ValueError, match="the whole number of epochs that have ended, from 0; got -1"):
        SensitivityMonitor(images)(network(), -1)


def test_bad_options_are_refused_before_any_training() -> None:
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(TypeError, match=r"options must be those of measure.*got process_group, typo"):
        SensitivityMonitor(images, typo=1, process_group="world")
    with pytest.raises(ValueError, match=r"draws must be a whole number.*got 0"):
        SensitivityMonitor(images, draws=0)
    with pytest.raises(ValueError, match=r"seed must be a whole number.*got -1"):
        SensitivityMonitor(images, seed=-1)


def test_what_the_model_cannot_do_is_refused_at_the_first_call_wanted_or_not() -> None:
    images = torch.randn(4, 1, 16, 16, generator=seeded(0))
    with pytest.raises(ValueError, match="'conv9' is unknown"):
        SensitivityMonitor(images, layers=["conv9"], at=(30,))(network(), 0)
    with pytest.raises(ValueError, match="the model must take images"):
        SensitivityMonitor(images.repeat(1, 3, 1, 1), at=(30,))(network(), 0)
    with pytest.raises(ValueError, match="the first 4 are constant"):
        SensitivityMonitor(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 16, 16), at=(30,))(network(), 0)


def test_lightning_is_not_imported() -> None:
    script = (
        "import sys, poolscope.training.monitor\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('lightning', 'pytorch_lightning')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
