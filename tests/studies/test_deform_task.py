"""What moves of single pixels do to labels and images: against slow loops, the deformation itself, and the errata."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

import poolscope as ps
from poolscope.perturb import PixelShift
from poolscope.perturb.pixel_shift import Edge, Moves
from poolscope.perturb.randomness import KeyedRandomness, Purpose
from poolscope.report.task import Cell
from poolscope.studies.deform_task import displacements, edge_of, kinds, run
from poolscope.tasks import ScaleDetection

AXES = {1: [(-1,), (1,)], 2: [(-1, 0), (1, 0), (0, -1), (0, 1)]}
SMALL = {
    "ring": ScaleDetection(length=12, scale=4, gap=1.0),
    "row with a gap": ScaleDetection(length=11, scale=4, gap=2.0, boundary="open"),
    "patches on a ring": ScaleDetection(task=2, length=9, scale=3),
    "square": ScaleDetection(dim=2, length=5, scale=3, gap=1.0),
    "torus": ScaleDetection(dim=2, length=6, scale=2, boundary="periodic", norm="max"),
    "patches in a square": ScaleDetection(task=2, dim=2, length=5, scale=2),
    "quadrants": ScaleDetection(task=2, dim=2, length=4, scale=2, labels="opposite", pixels="off-diagonal"),
}


def all_steps(moves: Moves, dim: int) -> list[tuple[tuple[int, ...], float]]:
    """The steps of a pixel as the text and the codes have them, with their chances."""
    axes = AXES[dim]
    if moves == "left-right":
        return [(step, 1 / len(axes)) for step in axes]
    if moves == "neighbour-or-stay":
        return [(step, 1 / (len(axes) + 1)) for step in [*axes, (0,) * dim]]
    diagonals = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    return [*((step, 1 / 6) for step in axes), *((step, 1 / 12) for step in diagonals)]


def moved(pixel: Sequence[int], step: tuple[int, ...], length: int, edge: Edge) -> tuple[int, ...]:
    if edge == "wrap":
        return tuple((a + b) % length for a, b in zip(pixel, step, strict=True))
    return tuple(min(max(a + b, 0), length - 1) for a, b in zip(pixel, step, strict=True))


def labels(task: ScaleDetection) -> dict[tuple[tuple[int, ...], tuple[int, ...]], int]:
    """The label of every two places, also of one and the same."""
    places = list(itertools.product(range(task.length), repeat=task.dim))
    both = list(itertools.product(places, repeat=2))
    return dict(zip(both, task.labels_of(torch.tensor(both)).tolist(), strict=True))


def slow(task: ScaleDetection, moves: Moves, edge: Edge) -> dict[str, float]:
    """The same as `displacements`, one pair and one combination of moves at a time, with images written out."""
    found = dict.fromkeys(("flips", "flips_near", "flips_far", "gap", "meet", "power"), 0.0)
    pairs = task.pairs.tolist()
    near, far = task.counts
    known = labels(task)
    for pair in pairs:
        label = known[tuple(pair[0]), tuple(pair[1])]
        image = np.zeros((task.length,) * task.dim)
        for pixel in pair:
            image[tuple(pixel)] = task.value
        for (one, p), (other, q) in itertools.product(all_steps(moves, task.dim), repeat=2):
            ends = [moved(pair[0], one, task.length, edge), moved(pair[1], other, task.length, edge)]
            after = np.zeros_like(image)
            for end in ends:
                after[end] += task.value
            new = known[ends[0], ends[1]]
            chance = p * q
            found["flips"] += chance * (new == -label) / len(pairs)
            found["flips_near" if label > 0 else "flips_far"] += chance * (new == -label) / (near if label > 0 else far)
            found["gap"] += chance * (new == 0) / len(pairs)
            found["meet"] += chance * (ends[0] == ends[1]) / len(pairs)
            found["power"] += chance * np.square(after - image).sum() / np.square(image).sum() / len(pairs)
    return found


@pytest.mark.parametrize("edge", ["wrap", "clamp"])
@pytest.mark.parametrize("name", SMALL)
def test_every_share_is_that_of_a_slow_loop(name, edge):
    task = SMALL[name]
    table = displacements(task, edge)
    assert table["moves"].tolist() == ["left-right", "neighbour-or-stay", "rounded-direction"][: 1 + task.dim]
    for row in table.to_dict("records"):
        for column, value in slow(task, row["moves"], edge).items():
            # Sums of at most some 10^5 terms below 1: rounding of 1e-12 at most.
            assert row[column] == pytest.approx(value, rel=1e-12, abs=1e-13), (row["moves"], column)


@pytest.mark.parametrize("name", ["ring", "row with a gap", "square", "patches in a square"])
def test_the_moves_are_those_that_images_are_measured_under(name):
    task = SMALL[name]
    images = task.images(task.pairs, dtype=torch.float64)
    for row in displacements(task).to_dict("records"):
        shift = PixelShift(row["moves"], edge=edge_of(task), every=True)
        draws = shift.combinations(2, task.dim)
        power = 0.0
        for draw in range(draws):
            randomness = KeyedRandomness(0, torch.arange(len(images)), draw, Purpose.DEFORMATION)
            power += float((shift.move(images, randomness) - images).square().sum()) / draws
        assert row["power"] == pytest.approx(power / float(images.square().sum()), rel=1e-12)


def test_moves_of_one_pixel_flip_no_label_of_task_1_and_3_percent_of_task_2():
    one = displacements(ScaleDetection(length=32, scale=11, gap=4.0)).set_index("moves")
    assert one["flips"].tolist() == [0, 0]
    assert one["power"]["left-right"] == pytest.approx(1.929, abs=5e-4)  # erratum 6
    assert one["power"]["neighbour-or-stay"] == pytest.approx(1.302, abs=5e-4)
    two = displacements(ScaleDetection(task=2, length=128, scale=32)).set_index("moves")
    assert two["flips"]["left-right"] == pytest.approx(0.031, abs=6e-4)  # erratum 12
    assert two["flips_near"]["left-right"] == pytest.approx(0.062, abs=6e-4)
    assert two["displacement"].tolist() == pytest.approx([1, (2 / 3) ** 0.5])


def test_moves_end_at_the_frame_as_distances_do():
    assert edge_of(SMALL["ring"]) == "wrap"
    assert edge_of(SMALL["row with a gap"]) == "clamp"
    assert edge_of(SMALL["square"]) == "clamp"
    assert edge_of(SMALL["torus"]) == "wrap"
    assert edge_of(SMALL["patches in a square"]) == "wrap"


@pytest.mark.parametrize("name", SMALL)
def test_what_is_drawn_is_what_its_words_say(name):
    task = SMALL[name]
    found = run(ps.tasks.format_name(task), seed=3)
    assert found.task == task
    for (heading, cells), sign in zip(found.rows["examples"], (1, -1), strict=True):
        assert heading.startswith("label +1" if sign > 0 else "label −1")
        assert cells
        assert all(int(task.labels_of(torch.tensor(cell.active)[None])) == sign for cell in cells)
    drawn = found.rows["moves"]
    assert [heading.split(":")[0] for heading, _ in drawn][-len(kinds(task)) :] == list(kinds(task))
    words = {"label +1": 1, "label −1": -1, "in the gap": 0}
    for moves, (_, cells) in zip(kinds(task), drawn[-len(kinds(task)) :], strict=True):
        pictures = [cell for cell in cells if isinstance(cell, Cell)]
        assert len(pictures) == 3
        for cell in pictures:
            assert int(task.labels_of(torch.tensor(cell.active)[None])) == words[cell.words]
            possible = [
                {moved(pixel, step, task.length, edge_of(task)) for step, _ in all_steps(moves, task.dim)}
                for pixel in cell.before.tolist()
            ]
            assert all(tuple(end) in ends for end, ends in zip(cell.active.tolist(), possible, strict=True))
            assert cell.patch == (task.scale if task.task == 2 else None)
            if cell.view is not None:
                for axis, (first, last) in enumerate(cell.view):
                    assert first >= 0
                    assert last < task.length
                    assert all(first <= place[axis] <= last for place in cell.before)


def test_another_seed_draws_others():
    name = "scale-detection:task=1,length=32,scale=11,gap=4"
    first, again, other = (run(name, seed=seed).rows["examples"][0][1] for seed in (0, 0, 1))
    assert [cell.active.tolist() for cell in first] == [cell.active.tolist() for cell in again]
    assert [cell.active.tolist() for cell in first] != [cell.active.tolist() for cell in other]
    with pytest.raises(ValueError, match=r"32 bits|2\*\*32.*got -1"):
        run(name, seed=-1)


def test_a_generator_of_ones_own_is_left_alone():
    before = torch.get_rng_state()
    run("scale-detection:task=2,length=9,scale=3")
    assert torch.equal(before, torch.get_rng_state())


def test_tables_pictures_and_page_are_written(tmp_path):
    found = run("scale-detection:task=1,dim=2,length=6,scale=3,gap=1,train=4")
    paths = found.save(tmp_path, {"command": "made up"})
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    assert {path.name for path in paths} >= {"moves.parquet", "examples.png", "moves.pdf", "report.html"}
    result = ps.read_result(tmp_path / "moves.parquet")
    assert result.table["flips"].tolist() == found.table["flips"].tolist()
    assert result.record["task"] == "scale-detection:task=1,dim=2,length=6,scale=3,gap=1"
    page = (tmp_path / "report.html").read_text()
    assert f"{found.task.counts[0]} pairs of pixels have label +1" in page
    assert "Rounded-direction moves" in page


def test_sentences_say_when_no_label_flips():
    said = dict(run("scale-detection:task=1,length=32,scale=11,gap=4").summary())
    assert said["The task"] == ["256 pairs of pixels have label +1, 80 have label −1."]
    assert "flip no label" in said["Its moves"][0]
    assert "9.52 % of the pairs into the gap" in said["Its moves"][0]
    said = dict(run("scale-detection:task=2,length=128,scale=32").summary())
    assert "flip 3.05 % of the labels;" in said["Its moves"][0]
