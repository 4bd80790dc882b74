"""Several models borrowed at once and shown the same perturbed images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from poolscope.sensitivity.session import Session, is_out_of_memory


def process_together(sessions: Sequence[Session], images: Tensor, indices: Tensor) -> list[Tensor]:
    """Perturb a batch once, run it through every model and count it.

    Args:
        sessions: with the same deformation, noise, seed and device.
        images: ``[B, C, H, W]``; a session takes more than its batch size in parts.
        indices: of the images, ``[B]``.

    Returns:
        Each session's per-image powers, float64 ``[layers, 3, B]``.

    Raises:
        ValueError: images of another shape than the first ones.
    """
    stack: Tensor | None = None
    powers = []
    for number, session in enumerate(sessions):
        found: Tensor | None = None
        try:
            if len(images) <= session.batch_size:
                if stack is None:
                    stack = session.stacked(images, indices)
                # A model may work in place on what it is given.
                found = session.sums.process(stack if number == len(sessions) - 1 else stack.clone())
        except RuntimeError as error:
            session.sums.forget()
            stack = None
            if not is_out_of_memory(error):
                raise
        if found is None:  # a batch too large, or out of memory: now the error is gone, and with it what it held
            found = session.process(images, indices)  # the same numbers, in smaller parts if need be
        powers.append(found)
    return powers
