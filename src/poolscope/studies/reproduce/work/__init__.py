"""Kinds of work by name. A file each: what a job does, and the function that makes such a job."""

from poolscope.studies.reproduce.work import (
    components,
    given,
    measured,
    noisy,
    pictures,
    pileup,
    pooled,
    pretrained,
    simple,
    training,
)
from poolscope.studies.reproduce.work.work import Work

WORKS: dict[str, Work] = {
    each.name: each
    for each in (
        training.WORK,
        simple.TRAIN,
        simple.MEASURE,
        measured.WORK,
        pooled.WORK,
        pictures.WORK,
        pretrained.WORK,
        components.WORK, given.WORK, noisy.WORK, pileup.TRAINED, pileup.SIMPLE,
    )
}

__all__ = ["WORKS", "Work"]
