"""Training the simple CNNs of section 4: several seeds at once, until M times their interpolation time."""

from poolscope.training.simple.experiment import Experiment, experiment_names, load_experiment
from poolscope.training.simple.finished import SimpleRuns, read_simple_runs
from poolscope.training.simple.run import train_simple

__all__ = [
    "Experiment",
    "SimpleRuns",
    "experiment_names",
    "load_experiment",
    "read_simple_runs",
    "train_simple",
]
