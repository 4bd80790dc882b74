"""D, G and R of one representation as a torchmetrics metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from poolscope._torchvision import import_torchmetrics
from poolscope.sensitivity.estimate import epsilon, estimate
from poolscope.sensitivity.moments import Covariance, Scratch, contribution

import_torchmetrics()
from torchmetrics import Metric  # noqa: E402


@dataclass
class _Group:
    """Images that share one reference c: their number, c, Σ (f - c), and moments of (a, b, q)."""

    count: int
    centre: Tensor
    offset: Tensor
    moments: Covariance

    def merge(self, other: _Group) -> None:
        """Add ``other``'s images, referred to this group's c."""
        if other.centre.shape != self.centre.shape:
            raise ValueError(
                "representations that are merged must have the same number of features; got "
                f"{self.centre.numel()} and {other.centre.numel()}"
            )
        mean = other.centre + other.offset / other.count
        shift = other.centre - self.centre
        moved = other.moments.mean.clone()
        # q = 2 |f - c|²: moving its mean to this c is exact; its covariances keep the other c (an effect of order 1 / n).
        moved[2] += 2 * float((mean - self.centre).square().sum() - (mean - other.centre).square().sum())
        self.moments.merge_sums(other.count, moved, other.moments.scatter)
        self.offset = self.offset + other.offset + other.count * shift
        self.count += other.count


class Sensitivity(Metric):
    """Sensitivities D, G, R (equation 1) of one representation, with standard errors, in one pass.

    ``update`` takes f(x), f(τx) and f(x + η) of a batch, the same images in the same order; ``compute`` returns a dict
    with the result table's columns. States merge across processes (``torch.distributed``) and by ``merge_state``: D, G
    and R exactly; standard errors up to the choice of c, each process's mean over its first batch.

    Args:
        identical_pairs: count pairs i = j in the denominator, as the authors' code does.
        kwargs: as for ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    count: Tensor
    centre: Tensor
    offset: Tensor
    mean: Tensor
    scatter: Tensor

    def __init__(self, *, identical_pairs: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.identical_pairs = identical_pairs
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx=None)
        self.add_state("centre", default=torch.zeros(0, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("offset", default=torch.zeros(0, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("mean", default=torch.zeros(3, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("scatter", default=torch.zeros(3, 3, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("eps", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self._scratch = Scratch()

    def update(
        self,
        clean: Float[Tensor, "batch *features"],
        moved: Float[Tensor, "batch *features"],
        noisy: Float[Tensor, "batch *features"],
    ) -> None:
        """Add a batch: f(x), f(τx) and f(x + η).

        Raises:
            TypeError: not floating point.
            ValueError: shapes differ, an empty batch, or another number of features than before.
        """
        for name, part in (("clean", clean), ("moved", moved), ("noisy", noisy)):
            if not part.dtype.is_floating_point:
                raise TypeError(f"{name} must be floating point, a representation; got {part.dtype}")
            if part.shape != clean.shape or not len(part):
                raise ValueError(
                    "clean, moved and noisy must hold the same images, one a row, at least one; got shapes "
                    f"{tuple(clean.shape)}, {tuple(moved.shape)}, {tuple(noisy.shape)}"
                )
        rows = [part.detach().reshape(len(part), -1) for part in (clean, moved, noisy)]
        if not self.centre.numel():
            dtype = torch.float64 if clean.dtype == torch.float64 else torch.float32
            self.centre = rows[0].double().mean(dim=0).to(dtype).double()
            self.offset = torch.zeros_like(self.centre)
            self.eps = torch.tensor(epsilon(clean.dtype), dtype=torch.float64, device=self.count.device)
        if rows[0].shape[1] != self.centre.numel():
            raise ValueError(
                f"every batch must have the {self.centre.numel()} features of the first; got {rows[0].shape[1]}"
            )
        working = torch.float64 if clean.dtype == torch.float64 else torch.float32
        part = contribution(rows[0], rows[1][None], rows[2][None], self.centre.to(working), self._scratch)
        moments = self._moments(self.count, self.mean, self.scatter)
        moments.update(torch.stack([part.deformation, part.noise, part.distance]).cpu())
        self._keep(_Group(moments.count, self.centre, self.offset + part.offset, moments))

    def compute(self) -> dict[str, float | int | str]:
        """Return the table's columns: images, D, D_se, G, G_se, R, R_se, R_low, R_high, the powers, spread, note.

        Raises:
            ValueError: fewer than two images were seen.
        """
        group = self._group()
        if group is None or group.count < 2:
            raise ValueError(f"at least 2 images are needed, the spread is over pairs; got {group.count if group else 0}")
        offset = group.offset / group.count
        result = estimate(
            group.count,
            group.moments.mean,
            group.moments.covariance,
            float(offset.square().sum()),
            float((offset + group.centre).square().sum()),
            eps=float(self.eps),
            identical_pairs=self.identical_pairs,
        )
        return {"images": group.count, **result.columns()}

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add another metric's images to this one's.

        Raises:
            TypeError: not a ``Sensitivity``.
            ValueError: another number of features.
        """
        if not isinstance(incoming_state, Sensitivity):
            raise TypeError(f"only another Sensitivity can be merged in; got {type(incoming_state).__name__}")
        mine, theirs = self._group(), incoming_state._group()
        if theirs is None:
            return
        if mine is None:
            mine = theirs
        else:
            mine.merge(theirs)
        self.eps = torch.maximum(self.eps, incoming_state.eps.to(self.eps.device))
        self._keep(mine)
        self._update_count += incoming_state._update_count

    def _keep(self, group: _Group) -> None:
        device = self.count.device
        self.count = torch.tensor(group.count, device=device)
        self.centre, self.offset = group.centre, group.offset
        self.mean, self.scatter = group.moments.mean.to(device), group.moments.scatter.to(device)

    @staticmethod
    def _moments(count: Tensor, mean: Tensor, scatter: Tensor) -> Covariance:
        moments = Covariance(3)
        moments.merge_sums(int(count), mean.cpu(), scatter.cpu())
        return moments

    def _group(self) -> _Group | None:
        """Return all images as one group: after a synchronisation every state holds one row a process."""
        counts = self.count.reshape(-1)
        merged: _Group | None = None
        for number in range(len(counts)):
            if not counts[number]:
                continue
            pick = (lambda state, number=number: state[number]) if self.count.ndim else (lambda state: state)
            moments = self._moments(counts[number], pick(self.mean), pick(self.scatter))
            group = _Group(int(counts[number]), pick(self.centre), pick(self.offset), moments)
            if merged is None:
                merged = group
            else:
                merged.merge(group)
        return merged
