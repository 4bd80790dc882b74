"""Scale detection in one and two dimensions: finite tasks, enumerated exactly."""

from poolscope.tasks.names import PREFIX, format_name, parse
from poolscope.tasks.scale_detection import ScaleDetection
from poolscope.tasks.splits import Split

__all__ = ["PREFIX", "ScaleDetection", "Split", "format_name", "parse"]
