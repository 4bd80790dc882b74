"""Training: recipes, the steps, runs that survive being killed, and D, G, R on the way."""

from poolscope.training.finished import Run, read_run
from poolscope.training.fitting import accuracy, fit
from poolscope.training.folder import TrainingStopped
from poolscope.training.launch import train
from poolscope.training.learner import Diverged
from poolscope.training.monitor import SensitivityMonitor
from poolscope.training.prepare import Data, prepare_data
from poolscope.training.recipe import Recipe, load_recipe, recipe_names

__all__ = [
    "Data",
    "Diverged",
    "Recipe",
    "Run",
    "SensitivityMonitor",
    "TrainingStopped",
    "accuracy",
    "fit",
    "load_recipe",
    "prepare_data",
    "read_run",
    "recipe_names",
    "train",
]
