"""Several models borrowed at once and shown the same perturbed images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from poolscope.sensitivity.session import Session, is_out_of_memory


def process_together(sessions: Sequence[Session], images: Tensor, indices: Tensor) -> list[Tensor]:
    """Perturb a batch once, run it through every model and count it.

    Args:
        sessions: with the same deformation, noise, seed and device.
        images: at most as many as the sessions' batch size.
        indices: of the images.

    Returns:
        Each session's per-image powers, float64 ``[layers, 3, B]``.
    """
    stack: Tensor | None = None
    powers = []
    for number, session in enumerate(sessions):
        if stack is None and len(images) <= session.batch_size:
            stack = session.stacked(images, indices)
        try:
            if stack is None:  # out of memory before, or a batch too large
                powers.append(session.process(images, indices))
            else:  # a model may work in place on what it is given
                powers.append(session.sums.process(stack if number == len(sessions) - 1 else stack.clone()))
        except RuntimeError as error:
            if stack is None or not is_out_of_memory(error):
                raise
            session.sums.forget()
            stack = None
            powers.append(session.process(images, indices))  # the same numbers again, and smaller parts if need be
    return powers
