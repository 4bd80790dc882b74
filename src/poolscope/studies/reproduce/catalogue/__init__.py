"""The studies: one file for each figure and table of the paper, and for what goes beyond it."""

from __future__ import annotations

import difflib
import importlib

from poolscope.studies.reproduce.study import Study

#: Names and the modules that hold them, in the order of the paper; beyond it last.
_MODULES = {
    "fig1": "figure1",
    "fig2": "figure2",
    "fig3": "figure3",
    "fig4": "figure4",
    "fig5": "figure5",
    "fig6": "figure6",
    "fig7": "figure7",
    "figB1": "figure_b1",
    "figB2": "figure_b2",
    "tableC1": "table_c1",
    "tableC2": "table_c2",
    "tableC3": "table_c3",
    "figC1": "figure_c1",
    "figC2": "figure_c2",
    "figC3": "figure_c3",
    "figC4": "figure_c4",
    "figC5": "figure_c5",
    "figC6": "figure_c6",
    "figC7": "figure_c7",
    "amplitude": "amplitude",
    "dynamics": "dynamics",
    "components": "components",
    "pileup": "pileup",
    "activations": "activations",
    "modern": "modern",
}


def names_of_all() -> list[str]:
    """Return the names of all studies, in the order of the paper."""
    return list(_MODULES)


def find(name: str) -> Study:
    """Return the study of a name, in whatever case.

    Raises:
        ValueError: an unknown name.
    """
    known = {each.lower(): each for each in _MODULES}
    if name.lower() not in known:
        close = difflib.get_close_matches(name.lower(), known, n=1)
        hint = f" (did you mean {known[close[0]]}?)" if close else ""
        raise ValueError(f"a study must be one of {', '.join(_MODULES)}; got {name!r}{hint}")
    module = importlib.import_module(f"poolscope.studies.reproduce.catalogue.{_MODULES[known[name.lower()]]}")
    study: Study = module.STUDY
    return study
