"""D, G and R against equation (1) in slow loops, exact cases, and what they must not depend on."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from helpers import seeded
from poolscope import Diffeomorphism, GaussianNoise, Indexed, MatchedNoise, measure
from poolscope._torchvision import import_torchvision
from poolscope.sensitivity.perturbing import Perturber
from poolscope.sensitivity.session import Session, make_settings
from poolscope.sensitivity.source import TensorSource

import_torchvision()
from torchvision import models  # noqa: E402

NUMBERS = ["D", "D_se", "G", "G_se", "R", "R_se", "R_low", "R_high", "deformation_power", "noise_power", "spread"]


def smooth_images(count: int, size: int = 16, channels: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random images without much fine detail, as photographs are."""
    coarse = torch.randn(count, channels, size // 4 + 1, size // 4 + 1, generator=seeded(7), dtype=dtype)
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


def small_network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3, stride=2),
        nn.GELU(),
        nn.Flatten(),
        nn.LazyLinear(5),
    )


@pytest.fixture
def network() -> nn.Module:
    model = small_network()
    with torch.no_grad():
        model(torch.zeros(1, 3, 16, 16))  # gives the lazy layer its shape
    return model.eval()


def table_of(*args: object, **kwargs: object) -> pd.DataFrame:
    return measure(*args, progress=False, **kwargs).table


def assert_same_numbers(table: pd.DataFrame, expected: pd.DataFrame, rel: float) -> None:
    assert table["layer"].tolist() == expected["layer"].tolist()
    for column in NUMBERS:
        found = table[column].to_numpy(dtype=float)
        # The input has R = 1 for every image; its standard error is the square root of what rounding leaves of 0.
        rounding = rel**0.5 / 100 if column.startswith("R_") else 0
        assert found == pytest.approx(expected[column].to_numpy(dtype=float), rel, rounding, nan_ok=True), column


def caught(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """All module outputs of one forward by plain hooks, float64 ``[N, features]``, and the input and output."""
    found = {"input": images.double().flatten(1)}
    calls: Counter[str] = Counter()

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: object, output: object) -> None:
            calls[name] += 1
            tensor = output[0] if isinstance(output, tuple) else output
            if len(tensor) == len(images):
                key = name if calls[name] == 1 else f"{name}#{calls[name]}"
                found[key] = tensor.double().reshape(len(images), -1).clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules() if name]
    with torch.no_grad():
        found["output"] = model(images.clone()).double().flatten(1)
    for handle in handles:
        handle.remove()
    return found


def power(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().sum(dim=1).mean())


def by_equation_1(clean: Tensor, moved: Sequence[Tensor], noisy: Sequence[Tensor]) -> tuple[float, float, float]:
    """D, G, R of one representation: the definition, every pair i != j in a loop, averages over images and draws."""
    pairs = [float((a - b).square().sum()) for a, b in itertools.permutations(clean, 2)]
    spread = math.fsum(pairs) / len(pairs)
    D = math.fsum(power(part, clean) for part in moved) / len(moved) / spread
    G = math.fsum(power(part, clean) for part in noisy) / len(noisy) / spread
    return D, G, D / G


def perturbed(images: Tensor, deformation: Diffeomorphism, noise: object, seed: int, draws: int = 1) -> list[Tensor]:
    stack = Perturber(deformation, noise, seed, draws)(images, torch.arange(len(images)))
    return list(stack.chunk(1 + 2 * draws))


def transformer() -> nn.Module:
    return models.VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)


MODELS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "mlp": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(True), nn.Linear(32, 8), nn.Tanh()), 16),
    "vgg11_bn": (lambda: models.VGG(models.vgg.make_layers([8, "M", 16, "M", 16, 16, "M"], True), 10), 32),
    "resnet18": (lambda: models.resnet18(num_classes=10), 32),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=10), 64),
    "vit": (transformer, 32),
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", MODELS)
def test_equation_1_in_slow_loops(kind: str, precision: str) -> None:
    build, size = MODELS[kind]
    torch.manual_seed(5)
    model = build()
    if kind == "vgg11_bn":
        model.classifier = nn.Sequential(nn.Linear(16 * 49, 8), nn.ReLU(True), nn.Linear(8, 4))
    if kind == "vit":
        nn.init.normal_(model.heads.head.weight)  # torchvision starts with zeros, a constant output
    dtype = torch.float64 if precision == "float64" else torch.float32
    images = smooth_images(10, size, dtype=dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model.train()(images.float())  # running statistics as after some training, not 0 and 1
    model.eval()
    tau, eta = Diffeomorphism(size / 40, 3), MatchedNoise()
    table = table_of(model, images, tau, eta, layers="all", seed=11, precision=precision).set_index("layer")

    clean, moved, noisy = (caught(model.to(dtype), part) for part in perturbed(images, tau, eta, 11))
    assert len(table) > 4
    tolerance = 1e-5 if precision == "float32" else 1e-12
    for layer, row in table.iterrows():
        D, G, R = by_equation_1(clean[layer], [moved[layer]], [noisy[layer]])
        assert (row["D"], row["G"], row["R"]) == pytest.approx((D, G, R), rel=tolerance), layer
    assert (table["images"] == 10).all()


def test_three_draws_are_the_average_by_hand(network: nn.Module) -> None:
    images = smooth_images(9, dtype=torch.float64)
    tau, eta = Diffeomorphism(0.4, 3), MatchedNoise()
    table = table_of(network, images, tau, eta, draws=3, seed=2, precision="float64").set_index("layer")
    parts = [caught(network.double(), part) for part in perturbed(images, tau, eta, 2, draws=3)]
    for layer in ("input", "1", "3", "output"):
        clean, *others = (part[layer] for part in parts)
        D, G, R = by_equation_1(clean, others[:3], others[3:])
        assert tuple(table.loc[layer, ["D", "G", "R"]]) == pytest.approx((D, G, R), rel=1e-11)
    assert (table["draws"] == 3).all()


def test_draws_are_independent_of_each_other(network: nn.Module) -> None:
    images = smooth_images(4)
    _, first, second, _, _ = perturbed(images, Diffeomorphism(0.4, 3), MatchedNoise(), 2, draws=2)
    assert not torch.equal(first, second)
    assert torch.equal(first, perturbed(images, Diffeomorphism(0.4, 3), MatchedNoise(), 2)[1])


class DoubledNoise(MatchedNoise):
    def draw(self, images: Tensor, moved: Tensor, randomness: object) -> Tensor:
        return 2 * super().draw(images, moved, randomness)


def orthogonal(features: int) -> nn.Module:
    layer = nn.Linear(features, features, bias=False, dtype=torch.float64)
    nn.init.orthogonal_(layer.weight, generator=seeded(1))
    return nn.Sequential(nn.Flatten(), layer)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-6), ("float64", 1e-12)])
@pytest.mark.parametrize("model", [nn.Identity(), orthogonal(192)], ids=["identity", "orthogonal"])
def test_distance_preserving_maps_have_r_1(model: nn.Module, precision: str, tolerance: float) -> None:
    images = smooth_images(24, 8, dtype=torch.float64)
    tau = Diffeomorphism(0.2, 3)
    table = table_of(model, images, tau, layers="all", precision=precision)
    assert table["R"].to_numpy() == pytest.approx(1, rel=tolerance)
    doubled = table_of(model, images, tau, DoubledNoise(), layers="all", precision=precision)
    assert doubled["R"].to_numpy() == pytest.approx(1 / 4, rel=tolerance)
    assert doubled["D"].to_numpy() == pytest.approx(table["D"].to_numpy(), rel=1e-12)


# --- what the numbers must not depend on -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seventy() -> Tensor:
    return smooth_images(70, dtype=torch.float64)


@pytest.fixture
def reference(network: nn.Module, seventy: Tensor) -> pd.DataFrame:
    return table_of(network, seventy, seed=4, precision="float64", batch_size=16)


@pytest.mark.parametrize("batch_size", [1, 7, 64, "auto"])
def test_batch_size_does_not_matter(
    batch_size: int | str, network: nn.Module, seventy: Tensor, reference: pd.DataFrame
) -> None:
    table = table_of(network, seventy, seed=4, precision="float64", batch_size=batch_size)
    assert_same_numbers(table, reference, rel=1e-11)
    single = table_of(network, seventy.float(), seed=4, batch_size=batch_size)
    assert_same_numbers(single, reference, rel=1e-4)  # 1e-5 of D and G; intervals on R near 1 are more delicate
    assert single[["D", "G", "R"]].to_numpy() == pytest.approx(reference[["D", "G", "R"]].to_numpy(), rel=1e-5)


class Items(Dataset):
    """Images with their indices, as a tuple's last entry or in a dict."""

    def __init__(self, images: Tensor, how: str) -> None:
        self.images, self.how = images, how

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> object:
        if self.how == "dict":
            return {"image": self.images[index], "label": 0, "index": index}
        return self.images[index], 0, index


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
@pytest.mark.parametrize("how", ["tuple", "dict", "Indexed"])
def test_order_does_not_matter(
    how: str, order: str, network: nn.Module, seventy: Tensor, reference: pd.DataFrame
) -> None:
    labels = torch.zeros(70, dtype=torch.int64)
    dataset = Indexed(TensorDataset(seventy, labels)) if how == "Indexed" else Items(seventy, how)
    if order == "reversed":
        loader = DataLoader(dataset, batch_size=9, sampler=list(range(69, -1, -1)))
    else:
        loader = DataLoader(dataset, batch_size=9, shuffle=True, generator=seeded(0))
    assert_same_numbers(table_of(network, loader, seed=4, precision="float64"), reference, rel=1e-11)


class Stream(IterableDataset):
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.images)


LOADERS: dict[str, Callable[[Tensor], object]] = {
    "dataset of images": lambda images: Subset([*images], range(70)),
    "dataset of tuples": TensorDataset,
    "loader": lambda images: DataLoader(TensorDataset(images), batch_size=13),
    "loader of single images": lambda images: DataLoader(TensorDataset(images), batch_size=1),
    "loader with a worker": lambda images: DataLoader(TensorDataset(images), batch_size=32, num_workers=1),
    "stream": lambda images: DataLoader(Stream(images), batch_size=11),
    "stream of single images": lambda images: DataLoader(Stream(images), batch_size=1),
    "batched by itself": lambda images: DataLoader(Stream(images.view(7, 10, 3, 16, 16)), batch_size=None),
}


@pytest.mark.parametrize("how", LOADERS)
def test_where_images_come_from_does_not_matter(
    how: str, network: nn.Module, seventy: Tensor, reference: pd.DataFrame
) -> None:
    assert_same_numbers(table_of(network, LOADERS[how](seventy), seed=4, precision="float64"), reference, rel=1e-11)


def test_a_seed_is_repeated_bit_by_bit_and_another_gives_other_numbers(network: nn.Module) -> None:
    images = smooth_images(20)
    first = table_of(network, images, seed=1)
    pd.testing.assert_frame_equal(first, table_of(network, images, seed=1), check_exact=True)
    other = table_of(network, images, seed=2)
    for column in ("D", "G", "R"):
        assert (first[column][1:] != other[column][1:]).all()
    assert first["spread"].equals(other["spread"])


def test_precision_and_memory_format_do_not_matter(
    network: nn.Module, seventy: Tensor, reference: pd.DataFrame
) -> None:
    for options in ({}, {"memory_format": "channels_last"}):
        table = table_of(network, seventy.float(), seed=4, batch_size=16, **options)
        assert table[["D", "G", "R"]].to_numpy() == pytest.approx(reference[["D", "G", "R"]].to_numpy(), rel=1e-5)
    double = table_of(network, seventy, seed=4, precision="float64", memory_format="channels_last")
    assert_same_numbers(double, reference, rel=1e-11)


def test_bf16_is_close_at_a_large_amplitude(network: nn.Module, seventy: Tensor) -> None:
    tau = Diffeomorphism(1.0, 3, fold="ignore")
    exact = table_of(network, seventy, tau, seed=4, precision="float64")
    mixed = table_of(network, seventy.float(), tau, seed=4, precision="bf16-mixed")
    assert mixed["layer"].tolist() == exact["layer"].tolist()
    # bf16 rounds to 2^-9; squares of differences that are a few times smaller than f, to a percent or two.
    assert mixed[["D", "G"]].to_numpy() == pytest.approx(exact[["D", "G"]].to_numpy(), rel=0.05)
    assert not np.allclose(mixed["D"][1:], exact["D"][1:], rtol=1e-6)  # it did run in bf16


def test_images_are_left_alone(network: nn.Module) -> None:
    class Careless(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network(x.sub_(1).relu_())

    images = smooth_images(20)
    before = images.clone()

    def move_in_place(images: Tensor, *, generator: torch.Generator) -> Tensor:
        return images.add_(torch.rand((), generator=generator)).roll(1, dims=-1)

    for bn in ("eval", "reestimate", "batch"):
        for size in ("auto", 5):
            measure(Careless(), images, move_in_place, bn=bn, batch_size=size, progress=False)
            assert torch.equal(images, before)


def test_state_does_not_grow_with_the_number_of_images(network: nn.Module) -> None:
    def state(count: int) -> int:
        images = smooth_images(count)
        with Session(
            network, TensorSource(images), make_settings(layers="all", batch_size=8)
        ) as session:
            for part, indices in session.pieces():
                session.process(part, indices)
            sums = session.sums
            tensors = [
                sums.moments.mean,
                sums.moments.scatter,
                sums.reference.clone(),
                *sums._scratch._buffers.values(),
            ]
            tensors += [tensor for offset in sums.offsets for tensor in (offset.sum, offset.centre)]
            assert sums._pending == []
            assert sums.parts == []
            return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    assert state(24) == state(96)


# --- accidents --------------------------------------------------------------------------------------------------------


class Limited(nn.Module):
    """A model on a device with memory for so many images."""

    def __init__(self, model: nn.Module, most: int, error: RuntimeError | None = None) -> None:
        super().__init__()
        self.model, self.most, self.refused = model, most, 0
        self.error = error or torch.OutOfMemoryError("tried to allocate")

    def forward(self, x: Tensor) -> Tensor:
        x = self.model[:3](x)  # the failure comes in the middle: some layers were seen already
        if len(x) > self.most:
            self.refused += 1
            raise self.error
        return self.model[3:](x)


@pytest.mark.parametrize("most", [60, 20, 3])
@pytest.mark.parametrize("batch_size", ["auto", 64])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("tried to allocate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["GPU", "CPU"],
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(
    most: int, batch_size: int | str, error: RuntimeError, network: nn.Module, seventy: Tensor
) -> None:
    expected = table_of(Limited(network, 1000), seventy, seed=4, precision="float64", batch_size=batch_size)
    limited = Limited(network, most, error)
    result = measure(limited, seventy, seed=4, precision="float64", batch_size=batch_size, progress=False)
    assert limited.refused > 0
    assert result.record["batch_size"] <= most // 3
    assert_same_numbers(result.table, expected, rel=1e-11)
    assert (result.table["images"] == 70).all()


def test_a_model_too_large_for_one_image_says_so(network: nn.Module, seventy: Tensor) -> None:
    class TooLarge(Limited):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) == 3 * self.most:
                raise torch.OutOfMemoryError("tried to allocate")
            return self.model(x)

    with pytest.raises(torch.OutOfMemoryError, match="tried to allocate"):
        measure(TooLarge(network, 1), seventy, precision="float64", batch_size=1, progress=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("interrupted", [0, 2])
def test_an_interrupt_leaves_no_half_counted_batch(
    interrupted: int, error: type[BaseException], network: nn.Module, seventy: Tensor, reference: pd.DataFrame
) -> None:
    class Interrupted(nn.Module):
        armed = False

        def forward(self, x: Tensor) -> Tensor:
            if self.armed:
                Interrupted.armed = False
                raise error
            return x

    model = nn.Sequential(*network[:3], Interrupted(), *network[3:])
    settings = make_settings(seed=4, precision="float64", batch_size=16)
    with Session(model, TensorSource(seventy), settings) as session:
        for number, (part, indices) in enumerate(session.pieces()):
            if number == interrupted:
                before = [offset.sum.clone() for offset in session.sums.offsets if offset]
                count, mean = session.sums.moments.count, session.sums.moments.mean.clone()
                Interrupted.armed = True
                with pytest.raises(error):
                    session.process(part, indices)
                assert session.sums.moments.count == count
                assert torch.equal(session.sums.moments.mean, mean)
                for offset, old in zip(session.sums.offsets, before, strict=False):
                    assert torch.equal(offset.sum, old)
            session.process(part, indices)
        table = session.result("", "").table
    table["layer"] = reference["layer"]  # one module more shifts the names
    assert_same_numbers(table, reference, rel=1e-11)


# --- options ----------------------------------------------------------------------------------------------------------


def test_the_published_protocol() -> None:
    images = smooth_images(510, 32, channels=1)
    model = nn.Sequential(nn.AvgPool2d(2), nn.ReLU())
    result = measure(model, images, protocol="published", layers="all", seed=3, progress=False)
    tau = Diffeomorphism.published(delta=1.0, cutoff=3)
    text = measure(model, images[:500], tau, layers="all", seed=3, precision="float64", progress=False)
    assert (result.table["images"] == 500).all()
    for column, factor in (("D", 500 / 499), ("G", 500 / 499), ("R", 1), ("spread", 499 / 500), ("D_se", 500 / 499)):
        expected = text.table[column].to_numpy() * factor
        assert result.table[column].to_numpy() == pytest.approx(expected, rel=1e-12), column
    assert result.record["precision"] == "float64"
    assert result.record["identical_pairs"]
    assert result.record["deformation"]["delta"] == pytest.approx(1)
    assert result.record["deformation"]["cutoff"] == 3
    # Pairs i = j counted, in the authors' way: the mean over all N² pairs.
    x = images[:500].double().flatten(1)
    assert result.table["spread"][0] == pytest.approx(float(torch.cdist(x, x).square().mean()), rel=1e-9)


def test_the_published_protocol_keeps_a_deformation_that_is_given(network: nn.Module) -> None:
    result = measure(network, smooth_images(20), Diffeomorphism(0.3, 2), protocol="published", progress=False)
    assert result.record["deformation"]["displacement"] == pytest.approx(0.3)
    assert result.record["images"] == 20


class Shapes(nn.Module):
    """[B, C, H, W], [B, H, W, C], tokens [B, L, E] and [L, B, E], and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.tokens, self.sequence, self.vector = (nn.ReLU() for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(torch.cat([x, -x, x + 1], dim=1))
        y = self.last(x.permute(0, 2, 3, 1))
        z = self.tokens(y.flatten(1, 2))
        w = self.sequence(z.transpose(0, 1))
        return self.vector(w.mean(dim=0))


@pytest.mark.parametrize("size", [(16, 14), (12, 16)])
def test_the_mean_channel_by_hand(size: tuple[int, int]) -> None:
    images = smooth_images(8, 16, dtype=torch.float64)[..., : size[0], : size[1]].contiguous()
    tau, eta = Diffeomorphism(0.2, 2), MatchedNoise()
    options = {"seed": 6, "precision": "float64", "layers": "all"}
    table = table_of(Shapes(), images, tau, eta, readout="channel_mean", **options).set_index("layer")
    parts = perturbed(images, tau, eta, 6)
    axes = {"first": 1, "last": 3, "tokens": 2, "vector": 1}
    for layer in ("first", "last", "tokens", "sequence", "vector"):
        rows = []
        for x in parts:
            maps = torch.cat([x, -x, x + 1], dim=1).relu()
            if layer == "last":
                maps = maps.permute(0, 2, 3, 1)
            elif layer in ("tokens", "sequence"):
                maps = maps.permute(0, 2, 3, 1).flatten(1, 2)
            elif layer == "vector":
                maps = maps.mean(dim=(2, 3))
            rows.append(maps.mean(dim=axes.get(layer, 2)).reshape(len(x), -1))
        D, G, R = by_equation_1(rows[0], rows[1:2], rows[2:])
        assert tuple(table.loc[layer, ["D", "G", "R"]]) == pytest.approx((D, G, R), rel=1e-11), layer
        assert table.loc[layer, "features"] == rows[0].shape[1]
    plain = table_of(Shapes(), images, tau, eta, **options).set_index("layer")
    assert table.loc["input", "D"] == plain.loc["input", "D"]  # the input keeps its channels
    assert table.loc["first", "D"] != plain.loc["first", "D"]


def normalised() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    for norm in (model[1], model[4]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model.eval()


def batch_normalised(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    mean, variance = x.mean(dim=(0, 2, 3), keepdim=True), x.var(dim=(0, 2, 3), keepdim=True, unbiased=False)
    scale, shift = (p.view(1, -1, 1, 1) for p in (norm.weight, norm.bias))
    return (x - mean) / (variance + norm.eps).sqrt() * scale + shift


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_batch_norm_by_each_batchs_own_statistics(precision: str) -> None:
    model, images = normalised(), smooth_images(8, dtype=torch.float64)
    tau, eta = Diffeomorphism(0.3, 3), MatchedNoise()
    options = {"layers": ["1", "4", "output"], "seed": 6, "batch_size": 4}
    table = table_of(model, images, tau, eta, bn="batch", precision=precision, **options).set_index("layer")
    rows: list[list[Tensor]] = []
    model.double()
    for x in perturbed(images, tau, eta, 6):
        ends = []
        for batch in x.split(4):  # the middle norm's output, then the last one's
            y = batch_normalised(model[1], model[0](batch))
            ends.append((y, batch_normalised(model[4], model[3](y.relu()))))
        rows.append([torch.cat(parts).detach().flatten(1) for parts in zip(*ends, strict=True)])
    for layer, number in (("1", 0), ("4", 1), ("output", 1)):
        clean, moved, noisy = (part[number] for part in rows)
        tolerance = 1e-5 if precision == "float32" else 1e-10
        assert tuple(table.loc[layer, ["D", "G", "R"]]) == pytest.approx(
            by_equation_1(clean, [moved], [noisy]), tolerance
        )
    assert (table["note"] == "batch norm: batch").all()


@pytest.mark.parametrize("count", [8, 10], ids=["equal batches", "a smaller last batch"])
def test_batch_norm_by_statistics_estimated_anew(count: int) -> None:
    """Each batch's mean and unbiased variance, averaged over images; the layers below normalise by the batch."""
    model, images = normalised(), smooth_images(count, dtype=torch.float64)
    tau, eta = Diffeomorphism(0.3, 3), MatchedNoise()
    options = {"layers": ["1", "4", "output"], "seed": 6, "batch_size": 4, "precision": "float64"}
    table = table_of(model, images, tau, eta, bn="reestimate", **options).set_index("layer")
    model.double()
    totals = {1: [0.0, 0.0], 4: [0.0, 0.0]}
    with torch.no_grad():
        for batch in images.split(4):
            before = model[0](batch)
            second = model[3](batch_normalised(model[1], before).relu())
            for number, x in ((1, before), (4, second)):
                totals[number][0] += x.mean(dim=(0, 2, 3)) * (len(batch) / count)
                totals[number][1] += x.var(dim=(0, 2, 3), unbiased=True) * (len(batch) / count)
    for number, (mean, variance) in totals.items():
        model[number].running_mean.copy_(mean)
        model[number].running_var.copy_(variance)
    parts = [caught(model, part) for part in perturbed(images, tau, eta, 6)]
    for layer in ("1", "4", "output"):
        clean, moved, noisy = (part[layer] for part in parts)
        expected = by_equation_1(clean, [moved], [noisy])
        assert tuple(table.loc[layer, ["D", "G", "R"]]) == pytest.approx(expected, rel=1e-10)
    assert (table["note"] == "batch norm: reestimate").all()


def test_batch_statistics_of_tokens_keep_to_their_images() -> None:
    """BatchNorm1d over [B * L, C]: x, τx and x + η are still normalised apart."""

    class TokenNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x.permute(0, 2, 3, 1).reshape(-1, 3)).view(len(x), -1)

    images = smooth_images(6, dtype=torch.float64)
    tau, eta = Diffeomorphism(0.3, 3), MatchedNoise()
    table = table_of(TokenNorm(), images, tau, eta, bn="batch", seed=6, precision="float64").set_index("layer")
    rows = []
    for x in perturbed(images, tau, eta, 6):
        tokens = x.permute(0, 2, 3, 1).reshape(-1, 3)
        rows.append(((tokens - tokens.mean(0)) / (tokens.var(0, unbiased=False) + 1e-5).sqrt()).view(6, -1))
    expected = by_equation_1(rows[0], rows[1:2], rows[2:])
    assert tuple(table.loc["output", ["D", "G", "R"]]) == pytest.approx(expected, rel=1e-10)


def test_batch_statistics_leave_a_norms_own_activation_in_place() -> None:
    """A norm that does more than normalise, as timm's BatchNormAct2d."""

    class NormAndAct(nn.BatchNorm2d):
        def __init__(self) -> None:
            super().__init__(3)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(super().forward(x))

    images = smooth_images(8)
    one = table_of(nn.Sequential(NormAndAct(), nn.Flatten()), images, bn="batch", seed=1)
    other = table_of(
        nn.Sequential(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()), nn.Flatten()), images, bn="batch", seed=1
    )
    assert one["layer"].tolist() == ["input", "0.act", "output"]
    assert one["D"].to_numpy() == pytest.approx(other["D"].to_numpy(), rel=1e-6)


def test_foreign_deformations_and_noise(network: nn.Module) -> None:
    """Any callable will do; its randomness is each image's own, so that batches do not matter."""

    def jitter(images: Tensor, *, generator: torch.Generator) -> Tensor:
        return images.roll(int(torch.randint(-2, 3, (), generator=generator)), dims=-1)

    def salt(images: Tensor, moved: Tensor, *, generator: torch.Generator) -> Tensor:
        assert images.shape == moved.shape == (1, 3, 16, 16)
        return images + 0.1 * torch.randn(images.shape, generator=generator).to(images)

    images = smooth_images(20, dtype=torch.float64)
    tables = [
        table_of(network, images, jitter, salt, seed=5, precision="float64", batch_size=size) for size in (20, 3, 1)
    ]
    assert_same_numbers(tables[1], tables[0], rel=1e-11)
    assert_same_numbers(tables[2], tables[0], rel=1e-11)
    assert not np.allclose(table_of(network, images, jitter, salt, seed=6)["G"][1:], tables[0]["G"][1:], rtol=1e-3)
    parts = perturbed(images, jitter, salt, 5)
    clean, moved, noisy = (caught(network.double(), part)["output"] for part in parts)
    expected = by_equation_1(clean, [moved], [noisy])
    assert tuple(tables[0].iloc[-1][["D", "G", "R"]]) == pytest.approx(expected, rel=1e-10)
    moves = {
        int((image.roll(shift, dims=-1) == after).all()) * (shift + 9)
        for image, after in zip(images, parts[1], strict=True)
        for shift in range(-2, 3)
    } - {0}
    assert len(moves) > 2  # not the same random number for every image


def test_a_foreign_deformation_of_another_shape_is_refused(network: nn.Module) -> None:
    def crop(images: Tensor, *, generator: torch.Generator) -> Tensor:
        return images[..., 1:]

    with pytest.raises(
        ValueError, match=r"deformation must return images of the shape .*\(1, 3, 16, 16\); got \(1, 3, 16, 15\)"
    ):
        measure(network, smooth_images(4), crop, progress=False)


# --- nan, with the reason ---------------------------------------------------------------------------------------------


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 4), 3.7, dtype=x.dtype)


def test_a_constant_layer_has_no_sensitivity() -> None:
    table = table_of(nn.Sequential(nn.ReLU(), Constant()), smooth_images(20), layers="all")
    constant = table[table["layer"].isin(["1", "output"])]
    assert constant[["D", "G", "R"]].isna().all(axis=None)
    assert constant["note"].str.startswith("constant: the spread over images is not above rounding").all()
    assert table["R"][:2].notna().all()
    assert (table["note"][:2] == "").all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_note_names_the_layer_where_values_stop_being_finite(bad: float) -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            x[x > 2.5] = bad  # in some images only
            return x

    images = smooth_images(30)
    assert 0 < int((images > 2.5).flatten(1).any(dim=1).sum()) < 30
    model = nn.Sequential(nn.Hardtanh(-4, 4), Breaks(), nn.Identity(), nn.ReLU())
    table = table_of(model, images, layers="all").set_index("layer")
    assert table.loc[["input", "0"], "R"].notna().all()
    assert table.loc[["1", "2", "3", "output"], ["D", "G", "R"]].isna().all(axis=None)
    assert (table.loc[["1", "2", "3", "output"], "note"] == "not finite, first at 1").all()
    images[3, 0, 0, 0] = bad
    assert (table_of(model, images, layers="all")["note"] == "not finite, first at input").all()


def test_noise_without_effect_is_noted(network: nn.Module) -> None:
    table = table_of(network, smooth_images(20), None, GaussianNoise(0.0))
    assert table["R"].isna().all()
    assert (table["G"] == 0).all()
    assert (table["D"] > 0).all()
    assert table["note"].str.contains("no response to the noise").all()


def test_a_deformation_without_effect_is_noted(network: nn.Module) -> None:
    table = table_of(network, smooth_images(20), Diffeomorphism(0.0), GaussianNoise(1.0))
    assert (table["D"] == 0).all()
    assert (table["G"] > 0).all()
    assert table["note"].str.contains("no response to the deformation").all()


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[dict[str, object], type[Exception], str]] = {
    "one image": ({"images": smooth_images(1)}, ValueError, "at least 2 images are needed, .*; got 1"),
    "no image": ({"images": torch.zeros(0, 3, 16, 16)}, ValueError, r"must not be empty; got shape \(0, 3, 16, 16\)"),
    "equal images": ({"images": smooth_images(1).repeat(9, 1, 1, 1)}, ValueError, "images must differ, .* identical"),
    "flat images": (
        {"images": torch.rand(9, 1, 1, 1).expand(9, 3, 16, 16)},
        ValueError,
        "must have structure.*first 9 are constant",
    ),
    "bytes": ({"images": torch.zeros(9, 3, 16, 16, dtype=torch.uint8)}, TypeError, "floating point.*torch.uint8"),
    "too few axes": (
        {"images": torch.rand(3, 16, 16)},
        ValueError,
        r"must be \[N, C, H, W\] for a smooth deformation.*got shape \(3, 16, 16\)",
    ),
    "channels": (
        {"images": smooth_images(9, channels=1)},
        ValueError,
        r"the model must take images of shape \(2, 1, 16, 16\), torch.float32; it raised RuntimeError: .*channels",
    ),
    "a list": ({"images": [smooth_images(9)]}, TypeError, "images must be a tensor.*; got list"),
    "a stream": ({"images": Stream(smooth_images(9))}, TypeError, "wrap an iterable one in a DataLoader; got Stream"),
    "negative seed": ({"seed": -1}, ValueError, r"seed must be a whole number in 0 \.\. 2\^64 - 1.*got -1"),
    "huge seed": ({"seed": 2**64}, ValueError, "seed must be .*got 18446744073709551616"),
    "no draws": ({"draws": 0}, ValueError, "draws must be a whole number, 1 or more.*got 0"),
    "no batch": ({"batch_size": 0}, ValueError, 'batch_size must be "auto" or a whole number.*got 0'),
    "no layers": ({"layers": []}, TypeError, r"layers must be a word, .*; got \[\]"),
    "unknown layer": ({"layers": ["convv"]}, ValueError, "layers must be names of this model; 'convv' is unknown"),
    "no blocks": ({"layers": "blocks"}, ValueError, "layers='blocks' must select at least one layer; .* 2 activations"),
    "unknown device": ({"device": "tpu9"}, ValueError, "device must exist here; got 'tpu9'"),
    "cutoff": ({"deformation": Diffeomorphism(0.1, 15)}, ValueError, "cutoff must be in .* got 15"),
    "not in a group": (
        {"process_group": "world"},
        ValueError,
        "process_group needs torch.distributed.init_process_group",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_rule_and_value(what: str, network: nn.Module) -> None:
    options, error, message = REFUSED[what]
    with pytest.raises(error, match=message) as caught_error:
        measure(network, **{"images": smooth_images(9), "progress": False, **options})
    assert "\n" not in str(caught_error.value)


@pytest.mark.parametrize("option", ["readout", "bn", "memory_format", "protocol", "precision"])
def test_unknown_words_are_refused(option: str, network: nn.Module) -> None:
    with pytest.raises((ValueError, TypeError)):  # the checked annotations may be faster
        measure(network, smooth_images(9), progress=False, **{option: "other"})


def test_images_of_two_shapes_are_refused(network: nn.Module) -> None:
    pictures = [*smooth_images(20), *smooth_images(4, 20)]
    with pytest.raises(
        ValueError, match=r"must have one shape to be stacked.*\(3, 16, 16\); image 20 has \(3, 20, 20\)"
    ):
        measure(network, Subset(pictures, range(24)), batch_size=24, progress=False)
    with pytest.raises(ValueError, match=r"shape of the first, \(3, 16, 16\); got \(3, 20, 20\)"):
        measure(nn.ReLU(), DataLoader(Subset(pictures, range(24)), batch_size=4), progress=False)


def test_noise_drawn_on_the_device_depends_on_seed_index_and_draw_alone(network: nn.Module) -> None:
    images, options = smooth_images(12), {"noise_on": "device", "draws": 2, "batch_size": 5}
    table = table_of(network, images, seed=4, **options)
    assert_same_numbers(table_of(network, images, seed=4, **{**options, "batch_size": 1}), table, rel=1e-4)
    on_cpu = table_of(network, images, seed=4, draws=2)
    other = table_of(network, images, seed=5, **options)
    for column, changed in (("deformation_power", other), ("noise_power", other), ("noise_power", on_cpu)):
        assert (changed[column].iloc[1:] != table[column].iloc[1:]).all()
    # The same fields as on the CPU, and noise of the same norm: another direction changes little at the input.
    torch.testing.assert_close(torch.tensor(on_cpu["deformation_power"]), torch.tensor(table["deformation_power"]))
    torch.testing.assert_close(on_cpu["noise_power"][0], table["noise_power"][0], rtol=1e-5, atol=0)
