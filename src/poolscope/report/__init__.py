"""Pages and pictures from tables."""

from poolscope.report.architectures import plot_architectures
from poolscope.report.bars import plot_shares
from poolscope.report.components import plot_grids, plot_parts, plot_parts_at_output
from poolscope.report.curves import plot_amplitudes, plot_quantity, plot_sensitivities
from poolscope.report.figures import panels
from poolscope.report.page import Section, write_page
from poolscope.report.panel import Panel, save_panels
from poolscope.report.phase import plot_cuts, plot_phases
from poolscope.report.phase_diagram import plot_amplitude_maps, plot_phase_diagram
from poolscope.report.pictures import plot_deformations, plot_perturbed
from poolscope.report.scaling import plot_noisy_errors, plot_pileup, plot_scaling
from poolscope.report.spectra import plot_frequency, plot_spectra, plot_spectrum
from poolscope.report.style import house_style, save_figure
from poolscope.report.tables import Table
from poolscope.report.training import plot_dynamics, plot_layers, plot_training
from poolscope.report.words import summary
from poolscope.report.writing import write_report

__all__ = [
    "Panel",
    "Section",
    "Table",
    "house_style",
    "panels",
    "plot_amplitude_maps",
    "plot_amplitudes",
    "plot_architectures",
    "plot_cuts",
    "plot_deformations",
    "plot_dynamics",
    "plot_frequency",
    "plot_grids",
    "plot_layers",
    "plot_noisy_errors",
    "plot_parts",
    "plot_parts_at_output",
    "plot_perturbed",
    "plot_phase_diagram",
    "plot_phases",
    "plot_pileup",
    "plot_quantity",
    "plot_scaling",
    "plot_sensitivities",
    "plot_shares",
    "plot_spectra",
    "plot_spectrum",
    "plot_training",
    "save_figure",
    "save_panels",
    "summary",
    "write_page",
    "write_report",
]
