"""Where invariance is built, and where noise piles up: shuffled channels, spatial share, mean channels, spectra."""

from poolscope.pooling.analysis import CONTROLS, PoolingAnalysis, pooling_analysis, pooling_share
from poolscope.pooling.nulls import gaussian_filters, mean_channel
from poolscope.pooling.pileup import noise_pileup
from poolscope.pooling.shuffling import ShuffleMode, shuffle_channels
from poolscope.pooling.spectrum import filter_spectrum, frequency_content

__all__ = [
    "CONTROLS",
    "PoolingAnalysis",
    "ShuffleMode",
    "filter_spectrum",
    "frequency_content",
    "gaussian_filters",
    "mean_channel",
    "noise_pileup",
    "pooling_analysis",
    "pooling_share",
    "shuffle_channels",
]
