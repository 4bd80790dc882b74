"""Table C2: mean filters of simple CNNs on task 1 (F = 3, stride 1), before and after training."""

from __future__ import annotations

from poolscope.studies.reproduce.catalogue.mean_filter_study import mean_filter_study
from poolscope.studies.reproduce.catalogue.published_filters import C2_INITIAL, C2_TRAINED

STUDY = mean_filter_study(
    "C2",
    "task1",
    "F = 3, stride 1",
    published={"initial": C2_INITIAL, "trained": C2_TRAINED},
    positive_layers=9,
    homogeneous_layers=7,
)
