"""Table C3: mean filters of simple CNNs on task 2 (F = 2, stride 2), before and after training."""

from __future__ import annotations

from poolscope.studies.reproduce.catalogue.mean_filter_study import mean_filter_study
from poolscope.studies.reproduce.catalogue.published_filters import C3_INITIAL, C3_TRAINED

STUDY = mean_filter_study(
    "C3",
    "task2",
    "F = 2, stride 2",
    published={"initial": C3_INITIAL, "trained": C3_TRAINED},
    positive_layers=7,
    homogeneous_layers=4,
)
