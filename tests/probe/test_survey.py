"""Finding the images in a tensor: batch axes, windows, tokens, and models that mix or shuffle their images."""

import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope import measure
from poolscope.probe import Layer, select, survey


def layers_of(model: nn.Module, size: int = 8) -> dict[str, Layer]:
    with torch.no_grad():
        found = survey(model.eval(), torch.randn(2, 3, size, size, generator=seeded(0)))
    return {layer.name: layer for layer in found.layers}


class Tokens(nn.Module):
    """Patches of 2 x 2 pixels as tokens, [B, L, E] or [L, B, E]."""

    def __init__(self, order: str) -> None:
        super().__init__()
        self.order = order
        self.patches = nn.Conv2d(3, 6, 2, stride=2)
        self.mix = nn.Linear(6, 6)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2)
        tokens = tokens.permute(2, 0, 1) if self.order == "LBE" else tokens.transpose(1, 2)
        tokens = self.act(self.mix(tokens))
        return tokens.mean(dim=0 if self.order == "LBE" else 1)


@pytest.mark.parametrize(("order", "axis"), [("BLE", 0), ("LBE", 1)])
@pytest.mark.parametrize("size", [8, 2, 4])  # also as many tokens as images: 1, 4, and the survey's own 2 and 3
def test_token_sequences_in_both_orders(order: str, axis: int, size: int) -> None:
    found = layers_of(Tokens(order), size)
    assert (found["mix"].axis, found["mix"].shape) == (axis, ((size // 2) ** 2, 6))
    assert (found["output"].axis, found["output"].shape) == (0, (6,))


def test_sequences_first_give_the_same_numbers(representations) -> None:
    torch.manual_seed(0)
    model = Tokens("BLE").eval()
    images = torch.randn(5, 3, 8, 8, generator=seeded(0))
    tables = []
    for order in ("BLE", "LBE"):
        model.order = order
        tables.append(measure(model, images, layers="all", progress=False).table)
    for column in ("D", "G", "R", "D_se", "spread"):
        # One sum in another order: float32 rounding, 6e-8, times the few dozen terms.
        assert tables[0][column].to_numpy() == pytest.approx(tables[1][column].to_numpy(), rel=1e-5)
    model.order = "LBE"
    rows = representations(model, images, ["mix"])["mix"]
    with torch.no_grad():
        expected = model.mix(model.patches(images).flatten(2).transpose(1, 2))
    torch.testing.assert_close(rows.view(5, 16, 6), expected)


class Windows(nn.Module):
    """Attention windows: 4 rows an image, image after image, or window after window."""

    def __init__(self, interleaved: bool) -> None:
        super().__init__()
        self.interleaved = interleaved
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        batch = len(x)
        windows = x.unflatten(2, (2, -1)).unflatten(4, (2, -1)).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
        windows = windows.transpose(0, 1) if self.interleaved else windows
        windows = self.act(windows.flatten(0, 1))
        windows = windows.unflatten(0, (-1, batch) if self.interleaved else (batch, -1))
        return windows.sum(dim=0 if self.interleaved else 1)


def test_windows_belong_to_their_image(representations) -> None:
    found = layers_of(Windows(interleaved=False))
    assert (found["act"].axis, found["act"].shape, found["act"].features) == (0, (4, 3, 4, 4), 192)
    images = torch.randn(5, 3, 8, 8, generator=seeded(0))
    rows = representations(Windows(interleaved=False), images, ["act"])["act"]
    # Every value of an image is in its own row: the same numbers, whatever their order.
    assert torch.equal(rows.sort().values, images.relu().flatten(1).sort().values)


def test_a_tensor_without_batch_axis_is_left_out_and_refused_by_name() -> None:
    model = Windows(interleaved=True)
    assert layers_of(model)["act"].axis is None
    images = torch.randn(2, 3, 8, 8, generator=seeded(0))
    with torch.no_grad():
        found = survey(model.eval(), images)
    assert [layer.name for layer in select(found, "auto")] == ["output"]
    with pytest.raises(ValueError, match="layer 'act' has no axis along which the images can be told apart"):
        select(found, ["act"])


class Table(nn.Module):
    """A module whose output depends on no image, and one that gets two rows whatever the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Embedding(2, 3)
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + self.bias(torch.tensor([0, 1])).sum(dim=0)[:, None, None]


def test_a_table_of_two_rows_is_not_a_batch_of_two() -> None:
    found = layers_of(Table())
    assert found["bias"].axis is None
    assert found["conv"].axis == 0


class Noisy(nn.Module):
    def __init__(self, strength: float) -> None:
        super().__init__()
        self.conv, self.strength = nn.Conv2d(3, 16, 3), strength

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        return x * (1 + self.strength * torch.randn_like(x))


@pytest.mark.parametrize("model", [Noisy(1.0), Noisy(0.01)], ids=["strong", "weak"])
def test_a_model_that_is_random_in_evaluation_mode_is_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="must give the same answer twice"):
        measure(model, torch.rand(8, 3, 16, 16, generator=seeded(0)), progress=False)


class CallsMoreEachTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act, self.calls = nn.ReLU(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        for _ in range(self.calls):
            x = self.act(x)
        return x


def test_a_model_that_runs_other_layers_each_time_is_refused() -> None:
    with pytest.raises(ValueError, match="must give the same answer twice"):
        measure(CallsMoreEachTime(), torch.rand(8, 3, 16, 16, generator=seeded(0)), progress=False)


def test_dropout_is_no_reason_to_refuse() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5)).train()
    assert len(measure(model, torch.rand(8, 3, 16, 16, generator=seeded(0)), progress=False).table) == 3
    assert all(module.training for module in model.modules())


def test_a_model_whose_images_influence_each_other_is_refused() -> None:
    """In evaluation mode, batch norm without running statistics uses those of the batch."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU())
    images = torch.rand(8, 3, 16, 16, generator=seeded(0))
    with pytest.raises(ValueError, match=r"treat every image by itself.*pass bn='batch'"):
        measure(model, images, progress=False)
    table = measure(model, images, bn="batch", progress=False).table
    assert table["layer"].tolist() == ["input", "2", "output"]
    assert table["R"].notna().all()
