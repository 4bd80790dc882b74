"""Pages and pictures from tables."""

from poolscope.report.curves import plot_amplitudes, plot_quantity, plot_sensitivities, plot_training
from poolscope.report.page import write_page
from poolscope.report.pictures import plot_deformations, plot_perturbed
from poolscope.report.style import save_figure

__all__ = [
    "plot_amplitudes",
    "plot_deformations",
    "plot_perturbed",
    "plot_quantity",
    "plot_sensitivities",
    "plot_training",
    "save_figure",
    "write_page",
]
