"""All networks of Table C1: numbers of parameters, sizes of images, seeds, layouts, tracing."""

import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from poolscope.networks import load_model, preprocessing, table_c1
from poolscope.networks.catalogue import NETWORKS

PUBLISHED = {
    "fullconn2": 197_322,
    "fullconn4": 205_642,
    "fullconn6": 213_962,
    "lenet": 62_006,
    "alexnet": 23_272_266,
    "vgg11": 9_225_610,
    "vgg11_bn": 9_231_114,
    "vgg13_bn": 9_416_010,
    "vgg16_bn": 14_728_266,
    "vgg19_bn": 20_040_522,
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "efficientnet_b0": 3_599_686,
}
SCALE_DETECTION = {  # one output, one channel, 28x28 pixels
    "lenet": ({"size": 28}, 43_661),
    "alexnet": ({"padding": 2}, 23_234_241),
    "vgg11": ({"padding": 2}, 9_219_841),
    "vgg11_bn": ({"padding": 2}, 9_225_345),
    "vgg13_bn": ({"padding": 2}, 9_410_241),
}
ACTING = {"fullconn2": 197_312, "fullconn6": 213_952, "efficientnet_b0": 3_598_598}  # without what is never used


def count(name: str, **options: object) -> int:
    with torch.device("meta"):  # shapes only
        return sum(parameter.numel() for parameter in NETWORKS[name](**options).parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_parameters_are_the_published_ones(name: str) -> None:
    assert count(name) == PUBLISHED[name]


@pytest.mark.parametrize("name", SCALE_DETECTION)
def test_numbers_of_parameters_for_scale_detection(name: str) -> None:
    options, expected = SCALE_DETECTION[name]
    assert count(name, num_classes=1, in_channels=1, **options) == expected


def test_fully_connected_networks_take_other_sizes() -> None:
    # 784 * 64 + 64 + 64 * 1 + 1
    assert count("fullconn2", num_classes=1, in_channels=1, size=28) == 50_305


@pytest.mark.parametrize("name", ["fullconn2", "fullconn6", "efficientnet_b0"])
def test_what_is_counted_but_never_used_gets_no_gradient(name: str) -> None:
    model = load_model(f"poolscope:{name}", seed=0).train()
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    used = {key: parameter for key, parameter in model.named_parameters() if parameter.grad is not None}
    assert sum(parameter.numel() for parameter in used.values()) == ACTING[name]
    idle = {key: parameter for key, parameter in model.named_parameters() if key not in used}
    assert all(key.startswith("idle_") and not parameter.requires_grad for key, parameter in idle.items())
    assert len(idle) == 1


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - set(ACTING) - {"fullconn4"}))
def test_everything_else_is_trained(name: str) -> None:
    with torch.device("meta"):
        assert all(parameter.requires_grad for parameter in NETWORKS[name]().parameters())


def test_table_c1_stands_beside_the_counts() -> None:
    table = table_c1().set_index("name")
    for name, row in table.iterrows():
        short = str(name).removeprefix("poolscope:")
        assert row["parameters"] == PUBLISHED.get(short, count(short))
        with torch.device("meta"):
            modules = list(NETWORKS[short]().modules())
        assert row["fully_connected_layers"] == sum(isinstance(module, nn.Linear) for module in modules)
    assert set(PUBLISHED) - {name.removeprefix("poolscope:") for name in table.index} == {"vgg13_bn"}  # not in it
    printed = {"200k": (190e3, 220e3), "62k": (62e3, 63e3), "23 M": (23e6, 24e6), "9–20 M": (9e6, 20.1e6)}
    printed |= {"11–24 M": (11e6, 24e6), "5": (3.5e6, 3.7e6)}  # the last one is not what was counted
    for _, row in table.iterrows():
        low, high = printed[row["parameters_printed"]]
        assert low <= row["parameters"] <= high
    noted = table[table["note"] != ""]
    assert [name.removeprefix("poolscope:") for name in noted.index] == [
        "fullconn2",
        "fullconn4",
        "fullconn6",
        "efficientnet_b0",
    ]
    assert "prints 5 (million)" in noted.loc["poolscope:efficientnet_b0", "note"]
    assert table.loc["poolscope:lenet", ["depth", "fully_connected_layers", "pooling"]].tolist() == [5, 3, "Max"]
    assert table.loc["poolscope:fullconn6", ["depth", "fully_connected_layers", "dropout"]].tolist() == [6, 6, "—"]


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"fullconn2", "fullconn6", "vgg11", "vgg16_bn", "resnet34"}))
def test_depth_and_linear_layers_of_the_table(name: str) -> None:
    with torch.device("meta"):
        modules = list(NETWORKS[name]().modules())
    linear = sum(isinstance(module, nn.Linear) for module in modules)
    larger = [module for module in modules if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)]
    expected = {"fullconn4": (4, 4), "lenet": (3, 5), "alexnet": (3, 8), "resnet18": (1, 18)}
    expected |= {"vgg11_bn": (1, 9), "vgg13_bn": (1, 11), "vgg19_bn": (1, 17)}  # named after the one with three linear
    # without 1x1 convolutions: those of skips, and two of three in ResNet50's and all but the depthwise ones in
    # EfficientNet's blocks
    expected |= {"resnet50": (1, 18), "efficientnet_b0": (1, 18)}
    assert (linear, linear + len(larger)) == expected[name]


def test_every_network_has_the_same_options() -> None:
    for name, build in NETWORKS.items():
        if name == "simplecnn":
            continue  # of section 4, not of Table C1: rows or squares of any size
        options = inspect.signature(build).parameters
        assert {"num_classes", "in_channels", "width", "padding", "activation", "beta"} <= set(options), name
        assert options["activation"].default == ("swish" if name == "efficientnet_b0" else "relu")


def test_a_seed_fixes_the_weights(family: str, small: Callable[..., nn.Module]) -> None:
    before = torch.get_rng_state()
    one, same, other = small(family, seed=5), small(family, seed=5), small(family, seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    assert any(not torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_one_image_alone_gives_what_it_gives_among_others(
    family: str, small: Callable[..., nn.Module], settle: Callable[[nn.Module, Tensor], nn.Module]
) -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = settle(small(family), images)
    outputs = model(images)
    assert outputs.shape == (3, 10)
    assert outputs.std(dim=0).min() > 1e-6  # or the comparisons below would hold for anything
    for number in range(3):
        torch.testing.assert_close(model(images[number : number + 1]), outputs[number : number + 1], rtol=1e-9, atol=0)
    last = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 7])
def test_one_channel_and_any_number_of_classes(family: str, small: Callable[..., nn.Module], classes: int) -> None:
    model = small(family, in_channels=1, num_classes=classes)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, classes)
    wanted = preprocessing(model)
    assert wanted is not None
    assert (wanted.size, wanted.channels, wanted.mean) == ((32, 32), 1, None)


def test_padding_puts_zeros_around_the_images(
    family: str, small: Callable[..., nn.Module], settle: Callable[[nn.Module, Tensor], nn.Module]
) -> None:
    images = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    framed = nn.functional.pad(images, (2, 2, 2, 2))
    unpadded = settle(small(family, in_channels=1), framed)
    model = settle(small(family, in_channels=1, padding=2), images)
    torch.testing.assert_close(model(images), unpadded(framed), rtol=0, atol=0)
    wanted = preprocessing(model)
    assert wanted is not None
    assert (wanted.size, wanted.resize) == ((28, 28), (28, 28))


@pytest.mark.parametrize("name", ["fullconn4", "lenet", "resnet18", "efficientnet_b0"])
def test_smaller_images_without_padding(name: str, small: Callable[..., nn.Module]) -> None:
    model = small(name, in_channels=1, size=28)
    assert model(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    wanted = preprocessing(model)
    assert wanted is not None
    assert wanted.size == (28, 28)
    with pytest.raises(ValueError, match=r"\[N, 1, 28, 28\].*got \[2, 1, 32, 32\]"):
        model(torch.randn(2, 1, 32, 32))


@pytest.mark.parametrize("shape", [(2, 3, 28, 28), (2, 3, 16, 16), (2, 3, 64, 64), (2, 3, 32, 64)])
def test_images_of_another_size_are_refused(
    family: str, small: Callable[..., nn.Module], shape: tuple[int, ...]
) -> None:
    rule = (
        r"images must be 32x32 after padding" if family.startswith("vgg") else r"must be \[N, 3, 32, 32\].*got \[2, 3"
    )
    with pytest.raises(ValueError, match=rule):
        small(family)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "width must be positive.*got 0.0"),
        ({"padding": 16}, r"padding must be in 0 \.\. 15.*got 16"),
        ({"padding": -1}, r"padding must be in 0 \.\. 15.*got -1"),
        ({"activation": "sine"}, "activation must be one of relu, tanh.*got 'sine'"),
        ({"activation": "tanh", "beta": 1.0}, "beta must be left out unless activation is swish.*got 'tanh'"),
        ({"activation": "swish", "beta": -1.0}, "finite and not negative.*got -1.0"),
        ({"activation": "swish", "beta": float("inf")}, "finite and not negative.*got inf"),
    ],
)
def test_impossible_options_are_refused(family: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(f"poolscope:{family}", **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet", {"size": 15}, "size must be at least 16.*got 15"),
        ("fullconn2", {"size": 0}, "size must be at least 1.*got 0"),
        ("efficientnet_b0", {"drop_connect": 1.5}, "a probability; got 1.5"),
    ],
)
def test_impossible_options_of_one_family(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_model(f"poolscope:{name}", **options)


def test_the_smallest_lenet_still_has_a_pixel() -> None:
    assert load_model("poolscope:lenet", size=16)(torch.zeros(1, 3, 16, 16)).shape == (1, 10)


TRACE = """
import torch
from poolscope.networks import load_model
small = {small!r}
for name, options in small.items():
    model = load_model("poolscope:" + name, seed=0, padding=2, **options).double()
    traced = torch.fx.symbolic_trace(model)
    images = torch.randn(2, 3, 28, 28, dtype=torch.float64)
    assert torch.equal(traced(images), model(images)), name
    try:
        traced(torch.zeros(1, 3, 64, 64, dtype=torch.float64))
    except ValueError as error:
        assert "images must be" in str(error), error
    else:
        raise AssertionError(name + " took another size")
    print(name)
"""


def test_symbolic_tracing_keeps_outputs_and_rules() -> None:
    # another process, without the type checks of the tests, which refuse what stands for a tensor while tracing
    small = {
        "fullconn2": {},
        "lenet": {},
        "alexnet": {"width": 1 / 16},
        "vgg11_bn": {"width": 1 / 16},
        "resnet18": {"width": 1 / 16},
        "resnet50": {"width": 1 / 16},
        "efficientnet_b0": {"width": 0.25},
    }
    script = TRACE.format(small=small)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(small)
