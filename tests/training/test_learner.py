"""Steps against a loop written out by hand; a state restored anywhere goes on bit for bit."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from helpers import seeded
from poolscope.training import Diverged, Recipe
from poolscope.training.batches import Batches, Corruption, LabelledImages
from poolscope.training.learner import Learner, evaluating, training
from poolscope.training.losses import losses
from poolscope.training.schedule import learning_rate

CPU = torch.device("cpu")


def blobs(number: int = 22, **fields: object) -> LabelledImages:
    """Grey 6x6 images of two classes, bright on the left or on the right, noisy."""
    labels = torch.arange(number) % 2
    images = torch.randn(number, 1, 6, 6, generator=seeded(0))
    images[labels == 0, :, :, :3] += 2
    images[labels == 1, :, :, 3:] += 2
    return LabelledImages(images, labels, **fields)


def small(dropout: float = 0.2) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Dropout(dropout),
            nn.Linear(64, 2),
        )  # fmt: skip


def recipe(**fields: object) -> Recipe:
    return Recipe(**{"epochs": 3, "batch_size": 8, "lr": 0.05, "weight_decay": 0.01, **fields})


def learner(chosen: Recipe, *, seed: int = 3, dropout: float = 0.2, **fields: object) -> Learner:
    return Learner(small(dropout), Batches(blobs(**fields), chosen, seed), chosen, seed)


def steps(each: Learner, count: int) -> Iterator[tuple[int, int]]:
    """Take steps, closing epochs; give the place of each."""
    for _ in range(count):
        yield each.epoch, each.step
        each.advance()
        if each.step == each.batches.steps:
            each.end_epoch()


def everything(each: Learner) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in each.state()[0].items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("clip", [None, 1.5])
@pytest.mark.parametrize("decayed", ["weights", "all"])
def test_sgd_is_the_definition(clip: float | None, decayed: str) -> None:
    chosen = recipe(momentum=0.8, clip_norm=clip, decayed=decayed, warmup_epochs=0.5, crop_padding=1)
    found, expected = learner(chosen, dropout=0.0), small(0.0).train()
    batches = Batches(blobs(), chosen, 3)
    parameters = list(expected.parameters())
    velocities = [torch.zeros_like(parameter) for parameter in parameters]
    clipped = 0
    with training(found.model, CPU):
        for epoch, step in steps(found, 9):
            images, labels = batches(epoch, step)
            gradients = torch.autograd.grad(nn.functional.cross_entropy(expected(images), labels), parameters)
            norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
            factor = 1.0 if clip is None or norm <= clip else clip / norm
            clipped += factor < 1
            lr = learning_rate(chosen, epoch, step, 3)
            with torch.no_grad():
                for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
                    decay = 0.01 * parameter if parameter.ndim > 1 or decayed == "all" else 0
                    velocity.mul_(0.8).add_(factor * gradient + decay)
                    parameter.sub_(lr * velocity)
    assert clip is None or 0 < clipped < 9  # both cases occur
    for parameter, wanted in zip(found.model.parameters(), parameters, strict=True):
        # float32 rounding over nine steps; a wrong decay of biases, rate or clipping moves them by 1e-4 and more
        torch.testing.assert_close(parameter, wanted, rtol=1e-5, atol=1e-6)


def test_adam_is_torchs_used_plainly() -> None:
    chosen = recipe(optimizer="adam", lr=0.01, schedule="constant", weight_decay=0.0)
    found, expected = learner(chosen, dropout=0.0), small(0.0).train()
    batches = Batches(blobs(), chosen, 3)
    optimizer = torch.optim.Adam(expected.parameters(), lr=0.01)
    with training(found.model, CPU):
        for epoch, step in steps(found, 6):
            images, labels = batches(epoch, step)
            optimizer.zero_grad()
            nn.functional.cross_entropy(expected(images), labels).backward()
            optimizer.step()
    for parameter, wanted in zip(found.model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(parameter, wanted)


def test_frozen_parameters_stay_and_only_weights_decay() -> None:
    chosen = recipe(lr=0.1, momentum=0.0, weight_decay=0.5, schedule="constant")
    model = small(0.0)
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    each = Learner(model, Batches(blobs(), chosen, 0), chosen, 0)
    groups = [
        ([tuple(parameter.shape) for parameter in group["params"]], group["weight_decay"])
        for group in each.optimizer.param_groups
    ]
    assert groups == [([(4, 4, 1, 1), (2, 64)], 0.5), ([(4,), (4,), (4,), (4,), (2,)], 0.0)]
    for _ in steps(each, 2):
        pass
    assert torch.equal(model[0].weight, before["0.weight"])
    assert not torch.equal(model[3].weight, before["3.weight"])


def test_a_row_is_the_mean_over_the_images_as_the_weights_change() -> None:
    chosen = recipe(batch_size=8)  # 22 images: batches of 8, 7 and 7
    each, watched = learner(chosen), []
    each.model[-1].register_forward_hook(lambda module, inputs, output: watched.append(output.detach().clone()))
    with training(each.model, CPU):
        for _ in range(3):
            each.advance()
        row = each.end_epoch()
    batches = Batches(blobs(), chosen, 3)
    labels = torch.cat([batches(0, step)[1] for step in range(3)])
    outputs = torch.cat(watched)
    expected = nn.functional.cross_entropy(outputs.double(), labels).item()
    assert row["loss"] == pytest.approx(expected, rel=1e-6)
    assert row["error"] == pytest.approx((outputs.argmax(1) != labels).double().mean().item(), abs=1e-12)
    assert (each.epoch, each.step) == (1, 0)
    with training(each.model, CPU):
        for _ in range(3):
            each.advance()
    assert each.end_epoch()["loss"] < row["loss"]  # counted from zero again


@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_state_goes_on_bit_for_bit_from_any_step(precision: str, memory_format: str, optimizer: str) -> None:
    chosen = recipe(
        precision=precision, memory_format=memory_format, optimizer=optimizer, clip_norm=1.0, crop_padding=1, flip=True,
        deformation=0.3, deformation_cutoff=2, warmup_epochs=0.5,
    )  # fmt: skip
    noisy = Corruption(0.5, "fresh")
    whole = learner(chosen, corruption=noisy)
    states, losses_seen = [(everything(whole), whole.state()[1])], []
    with training(whole.model, CPU):
        for _ in range(7):
            whole.advance()
            if whole.step == 3:
                losses_seen.append(whole.end_epoch()["loss"])
            states.append((everything(whole), whole.state()[1]))
    assert all(value.dtype in (torch.float32, torch.float64, torch.int64) for value in states[-1][0].values())
    for start in range(7):
        again = learner(chosen, corruption=noisy)
        with torch.no_grad():  # whatever was there before
            for value in again.model.state_dict().values():
                value.fill_(5)
        with training(again.model, CPU):
            torch.manual_seed(99)
            again.restore(*states[start])
            assert same(everything(again), states[start][0])
            for _ in range(7 - start):
                again.advance()
                if again.step == 3:
                    assert again.end_epoch()["loss"] == losses_seen[again.epoch - 1]
        assert again.state()[1] == states[-1][1] == {"epoch": 2, "step": 1}
        assert same(everything(again), states[-1][0]), f"from step {start}"


def test_restoring_keeps_the_memory_layout_of_weights_and_momenta() -> None:
    chosen = recipe(memory_format="channels_last")
    first = learner(chosen)
    for _ in steps(first, 1):
        pass
    stored = {name: value.contiguous() for name, value in everything(first).items()}
    second = learner(chosen)
    second.restore(stored, first.state()[1])
    assert second.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    for parameter in second.model.parameters():
        momentum = second.optimizer.state[parameter]["momentum_buffer"]
        assert momentum.stride() == parameter.stride()


def test_a_state_does_not_share_memory_with_what_was_restored() -> None:
    first, second = learner(recipe(optimizer="adam")), learner(recipe(optimizer="adam"))
    for _ in steps(first, 2):
        pass
    tensors, facts = first.state()
    second.restore(tensors, facts)
    before = everything(first)
    for _ in steps(second, 2):
        pass
    assert same(everything(first), before)


def test_another_networks_state_is_refused() -> None:
    each = learner(recipe())
    tensors, facts = each.state()
    for change in ({"model.0.weight": torch.zeros(1)}, {"model.9.weight": torch.zeros(1)}):
        with pytest.raises(ValueError, match="must be of the same network"):
            each.restore({**tensors, **change}, facts)
    del tensors["model.0.bias"]
    with pytest.raises(ValueError, match="must be of the same network"):
        each.restore(tensors, facts)


def test_dropout_is_of_seed_epoch_and_step() -> None:
    """With dropout alone random, the first losses differ by seed, by epoch and by step."""
    chosen = recipe(batch_size=22, lr=1e-30, weight_decay=0.0)

    def outputs(seed: int, noise: int) -> list[Tensor]:
        data = LabelledImages(torch.ones(22, 1, 6, 6), torch.zeros(22, dtype=torch.int64))
        each, seen = Learner(small(0.5), Batches(data, chosen, 0), chosen, seed), []
        each.model[-1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach().clone()))
        with training(each.model, CPU):
            torch.manual_seed(noise)
            for _ in steps(each, 3):
                torch.rand(noise)
        return seen

    first = outputs(0, 1)
    assert all(torch.equal(one, other) for one, other in zip(first, outputs(0, 2), strict=True))
    assert not torch.equal(first[0].eq(0), outputs(1, 1)[0].eq(0))
    assert not torch.equal(first[0].eq(0), first[1].eq(0))
    chosen = recipe(batch_size=11, lr=1e-30, weight_decay=0.0)
    within = outputs(0, 1)
    assert not torch.equal(within[0].eq(0), within[1].eq(0))


def test_bfloat16_is_used_in_the_passes_and_not_for_the_weights() -> None:
    each, seen = learner(recipe(precision="bf16-mixed")), []
    each.model[-1].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    for _ in steps(each, 1):
        pass
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in each.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(("value", "told"), [(math.nan, "nan"), (math.inf, "nan|inf")])
def test_a_loss_that_is_not_finite_stops_it(value: float, told: str) -> None:
    data = blobs()
    batches = Batches(data, recipe(), 0)
    data.images[(batches(0, 1)[0][0, 0, 0, 0] == data.images[:, 0, 0, 0]).nonzero()[0, 0]] = value
    each = Learner(small(), batches, recipe(), 0)
    with training(each.model, CPU):
        each.advance()
        with pytest.raises(Diverged, match=f"the loss must stay finite; got ({told}) in epoch 1, step 2"):
            each.advance()


def test_the_epochs_end_notices_what_a_step_does_not() -> None:
    each = learner(recipe())
    each._loss.fill_(math.nan)  # as on a GPU, where no step waits for its loss
    each.step = 3
    with pytest.raises(Diverged, match=r"got nan in epoch 1$"):
        each.end_epoch()


def test_a_model_without_anything_to_train_is_refused() -> None:
    model = small()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="must have parameters that require gradients; Sequential has none"):
        Learner(model, Batches(blobs(), recipe(), 0), recipe(), 0)


def test_hinge_steps() -> None:
    chosen = recipe(loss="hinge", momentum=0.0, schedule="constant", weight_decay=0.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 1, bias=False))
    weights = model[1].weight.detach().clone()
    batches = Batches(blobs(), chosen, 0)
    images, labels = batches(0, 0)
    signs = 2 * labels - 1
    inside = (1 - signs * (images.flatten(1) @ weights[0])) > 0
    gradient = -(signs[inside, None] * images.flatten(1)[inside]).sum(0) / len(labels)
    Learner(model, batches, chosen, 0).advance()
    torch.testing.assert_close(model[1].weight[0], weights[0] - 0.05 * gradient, rtol=1e-5, atol=1e-7)


def test_everything_is_left_as_it_was() -> None:
    model = small()
    model.train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before = torch.get_rng_state()
    chosen = recipe()
    each = Learner(model, Batches(blobs(), chosen, 0), chosen, 0)
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    with training(model, CPU):
        assert all(module.training for module in model.modules())
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        each.advance()
        with evaluating(model):
            assert not any(module.training for module in model.modules())
        assert all(module.training for module in model.modules())

    def interrupted() -> None:
        with training(model, CPU):
            each.advance()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert flags == (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)


def test_losses_do_not_hold_their_graph() -> None:
    each = learner(recipe())
    each.advance()
    assert not each._loss.requires_grad
    assert losses("cross-entropy", torch.zeros(1, 2, requires_grad=True), torch.tensor([0])).requires_grad


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["float32", "bf16-mixed"])
def test_on_a_gpu_no_step_waits(optimizer: str, precision: str) -> None:
    device = torch.device("cuda")
    chosen = recipe(
        optimizer=optimizer, precision=precision, clip_norm=1.0, crop_padding=1, flip=True,
        memory_format="channels_last",
    )  # fmt: skip
    data = blobs(200, corruption=Corruption(0.5, "fresh")).to(device)
    each = Learner(small().to(device), Batches(data, chosen, 0), chosen, 0)
    with training(each.model, device):
        each.advance()  # orders of the epoch are moved to the device, kernels are loaded
        torch.cuda.set_sync_debug_mode("error")
        try:
            while each.step < each.batches.steps:
                each.advance()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert math.isfinite(each.end_epoch()["loss"])


@pytest.mark.gpu
def test_on_a_gpu_a_state_goes_on_bit_for_bit() -> None:
    device = torch.device("cuda")
    chosen = recipe(memory_format="channels_last", crop_padding=1, deformation=0.3, deformation_cutoff=2)

    def made() -> Learner:
        return Learner(small().to(device), Batches(blobs().to(device), chosen, 3), chosen, 3)

    whole, again = made(), made()
    with training(whole.model, device):
        for _ in steps(whole, 4):
            pass
        state = {name: value.cpu() for name, value in everything(whole).items()}
        facts = whole.state()[1]
        for _ in steps(whole, 3):
            pass
    with training(again.model, device):
        again.restore(state, facts)
        for _ in steps(again, 3):
            pass
    assert same(everything(whole), everything(again))
