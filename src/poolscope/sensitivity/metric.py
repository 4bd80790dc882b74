"""D, G and R of one representation as a torchmetrics metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poolscope._torchvision import import_torchmetrics
from poolscope.sensitivity.estimate import epsilon, estimate
from poolscope.sensitivity.moments import Covariance, Scratch, contribution
from poolscope.sensitivity.sums import REFERENCE_IMAGES

import_torchmetrics()
from torchmetrics import Metric  # noqa: E402
from torchmetrics.utilities.distributed import gather_all_tensors  # noqa: E402


@dataclass
class _Group:
    """Images that share one reference c, float64: their number, c, Σ (f - c), and moments of (a, b, q)."""

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
        # q = 2 |f - c|²: its mean is moved to this c exactly, its covariances keep the other c.
        moved[2] += 2 * float((mean - self.centre).square().sum() - (mean - other.centre).square().sum())
        self.moments.merge_sums(other.count, moved, other.moments.scatter)
        self.offset = self.offset + other.offset + other.count * shift
        self.count += other.count


class Sensitivity(Metric):
    """Sensitivities D, G, R (equation 1) of one representation, with standard errors, in one pass.

    ``update`` takes f(x), f(τx) and f(x + η) of a batch, the same images in the same order; ``compute`` returns a dict
    with the result table's columns. How images are batched changes nothing; states merge across processes
    (``torch.distributed``) and by ``merge_state``: D, G and R exactly; standard errors up to the reference c, the mean
    over the first 16 images, of which each process has its own. Called as a function, it updates and returns the values
    of the batch alone, at twice the cost of ``update``.

    Args:
        identical_pairs: count pairs i = j in the denominator, as the authors' code does.
        kwargs: as for ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = True  # torchmetrics' other way to call a metric would stack states of unlike shapes

    count: Tensor
    held: Tensor
    centre: Tensor
    offset: Tensor
    mean: Tensor
    scatter: Tensor
    eps: Tensor

    def __init__(self, *, identical_pairs: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.identical_pairs = identical_pairs
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx=None)
        # [3, images, features]: the first images' rows, until there are enough of them for c, their mean.
        self.add_state("held", default=torch.zeros(3, 0, 0), dist_reduce_fx=None)
        # Its type is that in which f - c is taken: an image counted later must not see another, rounded c.
        self.add_state("centre", default=torch.zeros(0), dist_reduce_fx=None)
        self.add_state("offset", default=torch.zeros(0, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("mean", default=torch.zeros(3, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("scatter", default=torch.zeros(3, 3, dtype=torch.float64), dist_reduce_fx=None)
        self.add_state("eps", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")
        self._scratch = Scratch()

    def forward(self, clean: Tensor, moved: Tensor, noisy: Tensor) -> dict[str, float | int | str]:
        """Add a batch as ``update`` does, and return the values of this batch alone.

        Raises:
            ValueError: fewer than two images, which have no spread; nothing is added. Otherwise as ``update``.
        """
        if clean.ndim and len(clean) == 1:
            raise ValueError("at least 2 images are needed for a batch's own values, update takes fewer; got 1")
        values: dict[str, float | int | str] = super().forward(clean, moved, noisy)
        return values

    def update(self, clean: Tensor, moved: Tensor, noisy: Tensor) -> None:
        """Add a batch.

        Args:
            clean: f(x), floating point ``[images, ...]``.
            moved: f(τx), of the same shape.
            noisy: f(x + η), of the same shape.

        Raises:
            TypeError: not floating point.
            ValueError: shapes differ, an empty batch, or another number of features than before.
        """
        for name, part in (("clean", clean), ("moved", moved), ("noisy", noisy)):
            if not part.dtype.is_floating_point:
                raise TypeError(f"{name} must be floating point, a representation; got {part.dtype}")
            if part.shape != clean.shape or not part.ndim or not part.numel():
                raise ValueError(
                    "clean, moved and noisy must hold the same images, one a row, at least one; got shapes "
                    f"{tuple(clean.shape)}, {tuple(moved.shape)}, {tuple(noisy.shape)}"
                )
        rows = [part.detach().reshape(len(part), -1) for part in (clean, moved, noisy)]
        features = self._features()
        if features and rows[0].shape[1] != features:
            raise ValueError(f"every batch must have the {features} features of the first; got {rows[0].shape[1]}")
        self.eps = self.eps.clamp(min=epsilon(clean.dtype))
        group = None
        if not self.centre.numel():
            held = torch.stack(rows)
            if self.held.numel():
                held = torch.cat([self.held, held], dim=1)
            if held.shape[1] < REFERENCE_IMAGES:
                self.held = held
                return
            rows = list(held)
            self.centre = _reference(rows[0])
        else:
            group = self._group()
        self._keep(self._counted(rows, self.centre, group))

    def compute(self) -> dict[str, float | int | str]:
        """Return the table's columns: images, D, D_se, G, G_se, R, R_se, R_low, R_high, the powers, spread, note.

        Raises:
            ValueError: fewer than two images were seen.
        """
        group = self._group()
        if group is None or group.count < 2:
            count = group.count if group else 0
            raise ValueError(f"at least 2 images are needed, the spread is over pairs of them; got {count}")
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
        theirs.centre, theirs.offset = theirs.centre.to(self.count.device), theirs.offset.to(self.count.device)
        if mine is None:
            mine = theirs
        else:
            mine.merge(theirs)
        self.eps = torch.maximum(self.eps, incoming_state.eps.to(self.eps.device))
        self._keep(mine)
        self._update_count += incoming_state._update_count
        self._computed = None

    def _sync_dist(self, dist_sync_fn: Any = gather_all_tensors, process_group: Any = None) -> None:
        """Gather the processes' states along a new first axis; ``_group`` makes one of them."""
        group = self._group()
        if group is not None:
            self._keep(group)
            self.centre = group.centre
        own = torch.tensor(self.centre.numel(), device=self.count.device)
        sizes = {int(size) for size in dist_sync_fn(own, group=process_group or self.process_group)} - {0}
        if len(sizes) > 1:
            raise ValueError(f"all processes must have the same number of features; got {sorted(sizes)}")
        if group is None and sizes:  # no images here: states must have the others' shape all the same
            self.centre = self.offset = torch.zeros(*sizes, dtype=torch.float64, device=self.count.device)
        super()._sync_dist(dist_sync_fn, process_group)

    def _features(self) -> int:
        return self.centre.numel() or self.held.shape[-1]

    def _counted(self, rows: list[Tensor], centre: Tensor, group: _Group | None) -> _Group:
        """Return ``group``, whose reference is ``centre``, and the images of ``rows``."""
        if centre.dtype == torch.float64:
            rows = [row.double() for row in rows]
        working = torch.float64 if rows[0].dtype == torch.float64 else torch.float32
        part = contribution(rows[0], rows[1][None], rows[2][None], centre.to(working), self._scratch)
        moments = group.moments if group else Covariance(3)
        moments.update(torch.stack([part.deformation, part.noise, part.distance]).cpu())
        offset = group.offset + part.offset if group else part.offset.double()
        return _Group(moments.count, centre.double(), offset, moments)

    def _keep(self, group: _Group) -> None:
        """Make ``group`` the state; it brings its reference if there is none yet."""
        device = self.count.device
        self.count = torch.tensor(group.count, device=device)
        self.held = torch.zeros(3, 0, 0, device=device)
        if not self.centre.numel():
            self.centre = group.centre
        self.offset = group.offset
        self.mean, self.scatter = group.moments.mean.to(device), group.moments.scatter.to(device)

    def _group(self) -> _Group | None:
        """Return all images as one group: after a synchronisation every state holds one row a process."""
        if self.held.numel():
            return self._counted(list(self.held), _reference(self.held[0]), None)
        counts = self.count.reshape(-1)
        states = (self.mean, self.scatter, self.centre, self.offset)
        rows = zip(*states, strict=True) if self.count.ndim else [states]
        merged: _Group | None = None
        for count, (mean, scatter, centre, offset) in zip(counts.tolist(), rows, strict=True):
            if not count:
                continue
            moments = Covariance(3)
            moments.merge_sums(count, mean.cpu(), scatter.cpu())
            group = _Group(count, centre.double(), offset, moments)
            if merged is None:
                merged = group
            else:
                merged.merge(group)
        return merged


def _reference(clean: Tensor) -> Tensor:
    """Return c, the mean over the first images, in the type in which differences are taken."""
    working = torch.float64 if clean.dtype == torch.float64 else torch.float32
    return clean[:REFERENCE_IMAGES].double().mean(dim=0).to(working)
