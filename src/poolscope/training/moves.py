"""The deformations that a run's representations are measured under: smooth ones, or a task's moves of single pixels."""

from __future__ import annotations

from poolscope.datasets.scale_detection import task_moves
from poolscope.perturb import Diffeomorphism, Mover, PixelShift
from poolscope.tasks import PREFIX
from poolscope.training.configuration import Configuration


def deformations(configuration: Configuration, size: tuple[int, int]) -> list[tuple[Mover, float, int]]:
    """Return each deformation with its rms displacement in pixels and its cutoff, 0 for moves of single pixels.

    On scale-detection tasks pixels move as section 3 has it, "neighbour-or-stay", unless the configuration says
    otherwise: round a periodic task's ring, stopped at an open one's frame.

    Args:
        configuration: of the run.
        size: (H, W) of the images.

    Raises:
        ValueError: a displacement is chosen, and pixels move one by one.
    """
    choice, spec = configuration.measure, configuration.data.spec
    moves = choice.moves
    if spec.startswith(PREFIX) and moves is None:
        moves = "neighbour-or-stay"
    if moves is None or moves == "smooth":
        wanted = choice.displacement or (min(size) / 32,)
        return [(Diffeomorphism(each, choice.cutoff), each, choice.cutoff) for each in wanted]
    if choice.displacement:
        raise ValueError(
            "displacement must be left out for moves of single pixels, which go by one pixel; got "
            f"{choice.displacement} for moves={moves} of {spec}"
        )
    shift = task_moves(spec, moves) if spec.startswith(PREFIX) else PixelShift(moves)
    return [(shift, shift.displacement(size), 0)]
