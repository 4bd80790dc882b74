"""Section 4 and appendix B: trained simple CNNs beside the theory (figures 7, B1, B2, tables C2, C3)."""

from poolscope.studies.scale_detection.comparing import Compared, compare
from poolscope.studies.scale_detection.run import Simple, gather, run

__all__ = ["Compared", "Simple", "compare", "gather", "run"]
