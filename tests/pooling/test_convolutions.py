"""Which convolutions are found, what their filters are (by what an impulse makes of them), and how they are chosen."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from helpers import seeded
from poolscope.pooling.convolutions import choose, convolutions, from_filters, to_filters


def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, (3, 5), dilation=(1, 2))
        self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(6, 6, 3, groups=3), nn.Linear(2, 2))
        self.again = self.body[1]
        self.up = nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.line = nn.Conv1d(2, 3, 4)
        self.cube = nn.ConvTranspose3d(2, 3, (1, 2, 3))


def test_every_convolution_once_in_the_order_of_modules() -> None:
    found = convolutions(Several())
    assert [one.name for one in found] == ["stem", "body.1", "up", "line", "cube"]
    assert [one.groups for one in found] == [1, 3, 2, 1, 1]
    assert [one.transposed for one in found] == [False, False, True, False, True]
    assert [one.kernel for one in found] == [(3, 5), (3, 3), (2, 2), (4,), (1, 2, 3)]
    assert [one.dilation for one in found] == [(1, 2), (1, 1), (1, 1), (1,), (1, 1, 1)]
    assert [one.in_channels for one in found] == [3, 6, 6, 2, 2]
    assert [one.out_channels for one in found] == [6, 6, 4, 3, 3]
    assert [tuple(one.weight.shape) for one in found] == [
        (6, 3, 3, 5),
        (6, 2, 3, 3),
        (4, 3, 2, 2),
        (3, 2, 4),
        (3, 2, 1, 2, 3),
    ]


def test_a_model_may_be_a_convolution_or_have_none() -> None:
    assert [one.name for one in convolutions(nn.Conv2d(1, 1, 1))] == [""]
    assert convolutions(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.ConvTranspose1d(6, 4, 3, bias=False),
        lambda: nn.ConvTranspose1d(6, 4, 3, groups=2, bias=False),
        lambda: nn.ConvTranspose2d(6, 9, (2, 3), groups=3, bias=False),
        lambda: nn.ConvTranspose2d(4, 4, 2, groups=4, bias=False),
        lambda: nn.ConvTranspose3d(2, 4, (1, 2, 3), groups=2, bias=False),
    ],
)
def test_filters_of_a_transposed_convolution_are_its_answers_to_impulses(make: Callable[[], nn.Module]) -> None:
    module = random_weights(make())
    (one,) = convolutions(module)
    per_group_in, per_group_out = one.in_channels // one.groups, one.out_channels // one.groups
    for channel in range(one.in_channels):
        impulse = torch.zeros(1, one.in_channels, *[1] * len(one.kernel))
        impulse[0, channel] = 1
        answer = module(impulse)[0]
        group, within = divmod(channel, per_group_in)
        for output in range(one.out_channels):
            reached = output // per_group_out == group
            expected = one.weight[output, within] if reached else torch.zeros(one.kernel)
            assert torch.equal(answer[output], expected)
    assert torch.equal(from_filters(one.weight, one.groups), module.weight)
    assert torch.equal(to_filters(module.weight, one.groups), one.weight)


def test_filters_are_what_parametrisations_make_of_them() -> None:
    normed = parametrizations.weight_norm(nn.Conv2d(3, 4, 3, bias=False))
    with torch.no_grad():
        normed.parametrizations.weight.original0.uniform_(1, 2, generator=seeded(0))
    (one,) = convolutions(normed)
    direction = normed.parametrizations.weight.original1.detach()
    length = direction.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    expected = normed.parametrizations.weight.original0.detach() * direction / length
    torch.testing.assert_close(one.weight, expected)
    assert not one.weight.requires_grad


def test_reading_filters_changes_nothing_even_while_training() -> None:
    """A spectral norm in training makes a step of its power iteration whenever its weight is read."""
    module = parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    filters = convolutions(module)[0].weight
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert torch.equal(filters, module.eval().weight)
    module.train()
    assert module.weight is not None
    assert any(not torch.equal(value, before[name]) for name, value in module.state_dict().items())  # it can fail


def with_weight_norm_by_a_hook() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(nn.Conv2d(3, 4, 3))


def with_two_parametrisations_apart() -> nn.Module:
    """The hook's weight, and a bias that is parametrised."""
    module = with_weight_norm_by_a_hook()
    parametrize.register_parametrization(module, "bias", nn.ReLU())
    return module


@pytest.mark.parametrize(
    "make",
    [
        with_weight_norm_by_a_hook,
        with_two_parametrisations_apart,
        lambda: nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)),
        lambda: prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", 0.5),
    ],
)
def test_weights_made_by_a_hook_are_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"convolutions must be parameters or parametrised.*got '1' without"):
        convolutions(nn.Sequential(nn.Conv2d(3, 3, 1), make()))


def test_choosing() -> None:
    found = convolutions(Several())

    def chosen(which: object) -> list[str]:
        return [one.name for one in choose(found, which)]  # type: ignore[arg-type]

    assert chosen("all") == ["stem", "body.1", "up", "line", "cube"]
    assert chosen("up") == ["up"]
    assert chosen(r"body\..*|line") == ["body.1", "line"]
    assert chosen("body.1") == ["body.1"]
    assert chosen(["line", "stem"]) == ["stem", "line"]
    assert chosen(("line",)) == ["line"]


@pytest.mark.parametrize(
    ("which", "kind", "message"),
    [
        ("bod", ValueError, r"at least one whole name; 'bod' matches none of stem, body\.1, up, line, cube$"),
        ("(", ValueError, r"must be \"all\", names, or a regular expression; got '\('"),
        (["stem", "bdy.1"], ValueError, r"'bdy\.1' is none of body\.1"),
        (["again"], ValueError, "'again' is none of "),
        ([], TypeError, r"a sequence of names; got \[\]"),
    ],
)
def test_choices_that_are_refused(which: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        choose(convolutions(Several()), which)  # type: ignore[arg-type]


def test_names_are_listed_up_to_a_number() -> None:
    many = nn.Sequential(*[nn.Conv1d(1, 1, 1) for _ in range(7)])
    with pytest.raises(ValueError, match=r"'x' matches none of 0, 1, 2, 3, 4, …$"):
        choose(convolutions(many), "x")
    with pytest.raises(ValueError, match="'x' matches none of no convolutions at all"):
        choose([], "x")


def test_weights_are_detached_and_in_their_own_precision() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        (one,) = convolutions(nn.Conv2d(3, 4, 3).to(dtype))
        weight: Tensor = one.weight
        assert weight.dtype == dtype
        assert not weight.requires_grad
