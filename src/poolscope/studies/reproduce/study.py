"""A study: a figure or table as runs, tables made of them, pictures, and the claims it decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from poolscope.report import Panel
from poolscope.studies.reproduce.claim import Claim, Estimate
from poolscope.studies.reproduce.job import Job

if TYPE_CHECKING:
    import pandas as pd

Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")

#: Tables of a study, by name; a study whose runs are not all there has those it can make.
Tables = Mapping[str, "pd.DataFrame"]


class Settings(BaseModel):
    """Numbers of a study that a scale sets and ``--set`` changes; each study has its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Sources:
    """Where images are, and what computes.

    Attributes:
        images: name of the data set that stands for CIFAR-10, as for ``open_images``.
        imagenet: name of ImageNet's validation images, or None.
        device: "cpu" or "cuda".
        threads: of each job.
        download: whether pretrained weights may be fetched.
    """

    images: str
    imagenet: str | None = None
    device: str = "cpu"
    threads: int = 1
    download: bool = False


class NotRun(Exception):
    """Something that a study needs is out of reach; the message says what, and where it comes from."""


@dataclass(frozen=True)
class Study:
    """One figure or table.

    Attributes:
        name: "fig3".
        title: in a line.
        source: of the paper, "Figure 3"; empty beyond it.
        shows: what there is to see, in plain words.
        scales: settings by scale.
        runs: from settings and sources to jobs by name. Raises `NotRun` where something is out of reach.
        tables: from settings and the folders of the jobs, by their names, to tables; a job that failed has none.
        panels: from the tables to pictures.
        estimates: from the tables to the numbers that claims are judged by, by the claim's identifier.
        words: from the tables to sentences for the page.
        claims: of its own, for a study of yours; those of the paper are in `CLAIMS`.
    """

    name: str
    title: str
    source: str
    shows: str
    scales: Mapping[Scale, Settings]
    runs: Callable[[Any, Sources], dict[str, Job]]
    tables: Callable[[Any, Mapping[str, Path]], dict[str, pd.DataFrame]]
    panels: Callable[[Tables], list[Panel]]
    estimates: Callable[[Tables], dict[str, list[Estimate]]] = field(default=lambda tables: {})
    words: Callable[[Tables], Sequence[str]] = field(default=lambda tables: [])
    claims: tuple[Claim, ...] = ()
