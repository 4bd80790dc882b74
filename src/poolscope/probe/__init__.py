"""Which tensors of a model are its representations, and catching them as they are produced."""

from poolscope.probe.select import WORDS, select
from poolscope.probe.survey import Layer, Survey, survey
from poolscope.probe.unwrap import unwrap
from poolscope.probe.watch import Watcher, first_tensor, tensors_in

__all__ = ["WORDS", "Layer", "Survey", "Watcher", "first_tensor", "select", "survey", "tensors_in", "unwrap"]
