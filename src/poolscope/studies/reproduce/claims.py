"""What the paper says, sentence by sentence, with the range of a number that would count as reproducing each.

The ranges were fixed before the runs that judge them; of some, earlier runs of the same kind had been seen (docs).
Where the paper gives a sign, the range is that sign; where it says that two things are the same, or gives an exponent,
the tolerance is argued for in ``why``.
"""

from __future__ import annotations

import math

from poolscope.studies.reproduce.claim import Claim

_POSITIVE = (0.0, math.inf)
_NEGATIVE = (-math.inf, 0.0)
_SIGN = "the sign is what the paper states"
_CORRELATION = "the sign is what the paper states; one point a network (mean over seeds of logarithms), bootstrapped"
_TENTH = math.log(1.1)
_SAME = "curves that overlap in a figure over decades differ by less than about 10 %"

CLAIMS: tuple[Claim, ...] = (
    # Figure 1 and the abstract: error against sensitivities.
    Claim(
        "error-follows-R", "fig1", "figure 1, centre", "The test error of trained networks correlates with R.",
        "correlation of log error with log R of the output over networks", *_POSITIVE, _CORRELATION, about_R=True,
    ),
    Claim(
        "error-follows-D", "fig1", "abstract, section 1", "The less sensitive to deformations, the smaller the error.",
        "correlation of log error with log D of the output over networks", *_POSITIVE, _CORRELATION, about_R=True,
    ),
    Claim(
        "error-opposes-G", "fig1", "abstract, section 1", "The more sensitive to noise, the smaller the error.",
        "correlation of log error with log G of the output over networks", *_NEGATIVE, _CORRELATION, about_R=True,
    ),
    Claim(
        "R-follows-best", "fig1", "section 1", "Of D, G and R it is R which correlates with the error best.",
        "correlation of log error with log R, less the larger size of those with log D and log G", *_POSITIVE,
        "the order is what the paper states; the differences are bootstrapped over networks, all three together",
        about_R=True,
    ),
    Claim(
        "not-at-initialisation", "fig1", "section 1",
        "The correlation of error and R is learned: it is not there at initialisation.",
        "correlation of log error with log R of the trained networks, less that with log R of the initial ones",
        *_POSITIVE,
        "learned means larger after training; a correlation of 0 cannot be shown with this few networks", about_R=True,
    ),
    Claim(
        "error-follows-R-under-noise", "figC3", "figures 1 (right) and C3",
        "Trained on noisy images, networks keep the correlation of error and R.",
        "correlation of log error with log R over networks, at each noise above 0", *_POSITIVE, _CORRELATION,
        about_R=True,
    ),
    Claim(
        "error-opposes-G-under-noise", "figC3", "figures 1 (right) and C3",
        "Trained on noisy images, networks keep the anticorrelation of error and G.",
        "correlation of log error with log G over networks, at each noise above 0", *_NEGATIVE, _CORRELATION,
        about_R=True,
    ),
    # Figure 2.
    Claim(
        "orbit-pools", "fig2", "figure 2 (b)",
        "Averaging channels whose filters are rotations of each other makes the result invariant to these rotations.",
        "E|change|² / E|f|² under a rotation by 90 degrees, all four rotations of random 3x3 filters", -1e-12, 1e-12,
        "an identity: the four rotations are permuted among themselves; 1e-12 is rounding in float64",
    ),
    Claim(
        "two-channels-pool", "fig2", "figure 2 (b)",
        "Two channels, one filter and its rotation, already give an invariant average.",
        "the same for the two channels drawn: a filter and its rotation by 90 degrees", -1e-12, 1e-12,
        "invariant means no change at all",
        erratum="erratum 21: two of four rotations are no orbit",
    ),
    # Figures 3 and C4, section 2.
    Claim(
        "R-falls-with-depth", "fig3", "section 2, figure 3", "R of the trained network falls along its layers.",
        "slope of log R against depth (0 input, 1 output) over all layers", *_NEGATIVE, _SIGN, about_R=True,
    ),
    Claim(
        "D-falls-with-depth", "fig3", "abstract",
        "The trained network loses sensitivity to deformations layer by layer.",
        "slope of log D against depth (0 input, 1 output) over all layers", *_NEGATIVE, _SIGN, about_R=True,
    ),
    Claim(
        "D-falls-with-training", "fig3", "abstract, section 1.1", "Training lowers the sensitivity to deformations.",
        "log of D of the output, trained over initial", *_NEGATIVE, _SIGN, about_R=True,
    ),
    Claim(
        "G-rises-with-training", "fig3", "abstract, section 1", "Training raises the sensitivity to noise.",
        "log of G of the output, trained over initial", *_POSITIVE, _SIGN, about_R=True,
    ),
    Claim(
        "R-falls-with-training", "fig3", "abstract, section 1.1", "Training lowers R.",
        "log of R of the output, trained over initial", *_NEGATIVE, _SIGN, about_R=True,
    ),
    Claim(
        "shuffled-between", "fig3", "section 2, figure 3",
        "With shuffled channels R still falls, but less: both spatial and channel pooling are at work.",
        "share of the fall of log R at the output which is left by shuffling channels", 0.0, 1.0,
        "1 is the unshuffled network (spatial pooling alone), 0 a constant R (channel pooling alone)", about_R=True,
    ),
    Claim(
        "gaps-open-at-1-7-8", "fig3", "section 2, figures 3 and 4",
        "The gaps of shuffled and unshuffled curves open at layers 1, 7 and 8.",
        "growth of log(R shuffled / R) per layer, mean over convolutions 1, 7, 8 less that over 2 to 6", *_POSITIVE,
        "larger gaps is what the paper states", about_R=True,
    ),
    Claim(
        "shuffled-alike", "fig3", "section 2, figure 3",
        "The shuffled curves of VGG11 with and without batch norm overlap.",
        "root mean square over convolutions of log(R shuffled, VGG11 over VGG11-bn)", 0.0, math.log(1.25),
        "the two unshuffled curves of figure 3 are apart by more than a quarter; overlapping is closer than that",
        about_R=True,
    ),
    Claim(
        "falls-in-others-too", "figC4", "figure C4", "R falls along the layers of LeNet and AlexNet too.",
        "slope of log R against depth, each network", *_NEGATIVE, _SIGN, about_R=True,
    ),
    Claim(
        "imagenet-R-falls", "figC6", "figure 3, right", "R falls along the layers of VGGs trained on ImageNet.",
        "slope of log R against depth, each network", *_NEGATIVE, _SIGN, about_R=True,
    ),
    # Figures 4, C5, C6, C7: filters.
    Claim(
        "low-pass-2-to-6", "fig4", "section 2, figure 4",
        "Trained on CIFAR-10, filters of layers 2 to 6 of VGG11 become low-pass.",
        "mean frequency of the layer's filters over that before training", -math.inf, 1.0, _SIGN,
    ),
    Claim(
        "not-low-pass-1-7-8", "fig4", "section 2, figure 4", "Filters of layers 1, 7 and 8 do not.",
        "mean frequency of the layer's filters over that before training", 0.95, math.inf,
        "in figure 4 layers 2 to 6 fall by more than a tenth; 5 % is half of that",
    ),
    Claim(
        "low-pass-elsewhere", "figC7", "figures C5 and C7", "Filters of AlexNet too become low-pass in the middle.",
        "least mean frequency over the inner convolutions, over that before training", -math.inf, 1.0, _SIGN,
    ),
    Claim(
        "imagenet-low-pass", "figC6", "section 2, figures 4 and C6",
        "Filters of all layers but the first of ImageNet's VGGs are low-pass.",
        "mean frequency of each layer's filters, white filters being 1", -math.inf, 1.0, _SIGN,
    ),
    Claim(
        "constant-mode-on-the-task", "fig4", "section 3, figure 4 (bottom)",
        "Trained on scale detection, the constant mode of filters 1 to 7 grows much larger than the others.",
        "share of the constant mode in the power of layers 1 to 7, mean", 0.5, 1.0,
        "larger than all others together; white filters have 1/9",
    ),
    # Section 3, figures C1 and C2: deep networks on the task in two dimensions.
    Claim(
        "task-error-follows-R", "figC1", "section 3, figure C1", "On scale detection too the error correlates with R.",
        "correlation of log error with log R of the output over networks", *_POSITIVE, _CORRELATION,
    ),
    Claim(
        "task-error-follows-D", "figC1", "section 3, figure C1", "On scale detection the error correlates with D.",
        "correlation of log error with log D of the output over networks", *_POSITIVE, _CORRELATION,
    ),
    Claim(
        "task-error-opposes-G", "figC1", "section 3, figure C1", "On scale detection the error anticorrelates with G.",
        "correlation of log error with log G of the output over networks", *_NEGATIVE, _CORRELATION,
    ),
    Claim(
        "task-R-follows-best", "figC1", "figure C1", "On scale detection too the correlation is strongest for R.",
        "correlation of log error with log R, less the larger size of those with log D and log G", *_POSITIVE,
        "the order is what the paper states; the differences are bootstrapped over networks, all three together",
    ),
    Claim(
        "best-on-both", "figC1", "section 1.1", "Networks that are best on images tend to be best on the task.",
        "rank correlation of the errors on images and on the task over networks", *_POSITIVE, _CORRELATION,
    ),
    Claim(
        "shuffling-nothing-on-the-task", "figC2", "section 3, figure C2",
        "On scale detection the curves of D, G and R stay essentially as they are if channels are shuffled.",
        "share of the fall of log R at the output which is left by shuffling channels", 0.8, 1.25,
        "essentially unaltered: within a fifth of the fall, either way",
    ),
    # Section 4, figure 7.
    Claim(
        "D-task1-law", "fig7", "equation (5), figure 7", "On task 1, D falls as A to the power -2.",
        "slope of log D against log A over layers 1 to 7 (rectified noise)", -2.25, -1.75,
        "the law is asymptotic: twice the distance of the exact finite-size slope over these layers (-1.84 to the law)",
    ),
    Claim(
        "G-task1-law", "fig7", "equation (7), figure 7", "On task 1, G grows as A.",
        "slope of log G against log A over layers 1 to 7 (rectified noise)", 0.85, 1.15,
        "as for D: 15 % of the exponent",
        erratum="errata 9, 10: at this size the exact slope of G is 0.76, for its offset and the ring's end",
    ),
    Claim(
        "D-task2-law", "fig7", "equation (8), figure 7", "On task 2, D falls as A to the power -1.",
        "slope of log D against log A over layers 1 to 5 (rectified noise)", -1.15, -0.85,
        "15 % of the exponent; the exact finite-size slope is -0.91",
    ),
    Claim(
        "G-task2-law", "fig7", "equation (9), figure 7", "On task 2, G grows as A.",
        "slope of log G against log A over layers 1 to 5 (rectified noise)", 0.85, 1.15,
        "15 % of the exponent; the exact finite-size slope is 0.86",
    ),
    Claim(
        "D-exact", "fig7", "section 4 (exact theory)",
        "A single channel of homogeneous filters gives D of the trained network.",
        "log of D over its exact finite-size value, task 1 layers 1 to 7, task 2 layers 1 to 4: largest size",
        -math.inf, math.log(1.2),
        "the text's picture without its asymptotics: within a fifth, over a range of about 8 (task 1) and 16 (task 2)",
    ),
    Claim(
        "G-exact", "fig7", "section 4 (exact theory)",
        "A single channel of homogeneous filters gives G of the trained network.",
        "log of G over its exact finite-size value, task 1 layers 1 to 7, task 2 layers 1 to 4: largest size",
        -math.inf, math.log(1.2),
        "the text's picture without its asymptotics: within a fifth",
    ),
    Claim(
        "flat-initialisation", "fig7", "section 4.1, figure 7", "At initialisation D and G do not depend on the layer.",
        "slopes of log D and log G against log A at initialisation (rectified noise)", -0.1, 0.1,
        "flat beside exponents of 1 and 2: a tenth",
        erratum="erratum 15: with the authors' own initialisation infinitely wide networks lose a third of D",
    ),
    Claim(
        "mean-channel", "fig7", "sections 4 and 4.3, figure 7",
        "Each layer's mean channel has the sensitivities of the layer, for the first large part of the network.",
        "log of D and G of the mean channel over the network's, task 1 layers 1 to 7, task 2 layers 1 to 4: largest "
        "size",
        -math.inf, _TENTH, _SAME,
    ),
    Claim(
        "zero-error", "fig7", "section 4.3", "The trained simple CNNs make no error at all.",
        "error on all pairs of the task that were not learned from, each seed", 0.0, 0.0, "exactly zero is claimed",
    ),
    Claim(
        "no-width", "fig7", "section 4.3", "More channels change nothing.",
        "log of D and G over those of a network of twice the channels, task 1 layers 1 to 7: largest size",
        -math.inf, _TENTH, _SAME,
    ),
    # Tables C2 and C3.
    Claim(
        "positive-filters-task1", "tableC2", "appendix C, table C2",
        "On task 1 the mean filters of the first nine layers are positive.",
        "least tap of the mean filter over its layer's largest in size, layers 1 to 9", *_POSITIVE, _SIGN,
    ),
    Claim(
        "homogeneous-filters-task1", "tableC2", "section 4.3, table C2", "The mean filters are nearly homogeneous.",
        "spread of the taps over the size of their mean, layers 1 to 7: largest", -math.inf, 0.15,
        "the published ones have 0.05 to 0.12",
    ),
    Claim(
        "positive-filters-task2", "tableC3", "appendix C, table C3",
        "On task 2 the mean filters of all (fewer than nine) layers are positive.",
        "least tap of the mean filter over its layer's largest in size, layers 1 to 7", *_POSITIVE, _SIGN,
        erratum="erratum 14: the published table C3 itself has negative filters in layers 6 and 7",
    ),
    Claim(
        "homogeneous-filters-task2", "tableC3", "section 4.3, table C3", "The mean filters are nearly homogeneous.",
        "spread of the taps over the size of their mean, layers 1 to 4: largest", -math.inf, 0.05,
        "the published ones have 0.01 to 0.02",
    ),
    # Appendix B.
    Claim(
        "tanh-same-D-first", "figB2", "appendix B, figure B2", "tanh networks have the D of ReLU networks at first.",
        "log of D, tanh over ReLU, layers 1 and 2: largest size", -math.inf, math.log(1.2),
        "similar in a figure over two decades: within a fifth",
    ),
    Claim(
        "tanh-D-departs", "figB2", "appendix B, figure B2",
        "After the very first layers D of tanh departs from theory.",
        "log of D of tanh over the exact value, layer 7", math.log(1.2), math.inf,
        "departing is by more than what counts as the same",
    ),
    Claim(
        "tanh-mean-channel-gap", "figB2", "appendix B, figure B2",
        "With tanh the mean channel shows a gap to the network.",
        "log of D and G of the mean channel over the network's, layers 1 to 7: largest size, tanh less ReLU",
        *_POSITIVE, _SIGN,
    ),
    Claim(
        "tanh-flat-G", "figB2", "appendix B, figure B2", "G of tanh networks is almost constant over most layers.",
        "slope of log G (plain noise) against log A over layers 1 to 7", -0.2, 0.2,
        "flat beside the exponent 1 of the law for ReLU: a fifth",
    ),
    Claim(
        "tanh-less-G", "figB2", "abstract, appendix B", "tanh drastically reduces the sensitivity to noise.",
        "log of G, tanh over ReLU, plain noise for both: geometric mean over layers 1 to 7", -math.inf, math.log(0.8),
        "drastically: by more than a fifth",
        erratum="erratum 25: figure B2 sets rectified noise for ReLU against plain noise for tanh",
    ),
    Claim(
        "tanh-smaller-fall", "figB2", "appendix B, figure B2", "R of tanh networks falls less with depth than ReLU's.",
        "log(R of layer 7 / R of layer 1), tanh less ReLU (plain noise for tanh, rectified for ReLU, as published)",
        *_POSITIVE, _SIGN,
    ),
    Claim(
        "tanh-high-frequency-3-to-6", "figB1", "appendix B, figure B1",
        "With tanh, layers 3 to 6 keep more of high frequencies.",
        "share of the constant mode, mean over layers 1, 2, 7 to 12 less that over layers 3 to 6", *_POSITIVE, _SIGN,
    ),
    Claim(
        "low-pass-everywhere", "figB1", "appendix B, figure B1", "ReLU networks become low-pass throughout.",
        "share of the constant mode of each layer's filters, least of layers 1 to 9", 0.5, 1.0,
        "dominant: more than the other two modes together; white filters have 1/3",
    ),
    # Mechanism.
    Claim(
        "noise-piles-up", "pileup", "abstract, section 4.1, appendix B",
        "Noise rectified by ReLU adds up coherently from layer to layer.",
        "share of the noise response that all draws have in common (plain noise), layer 7 less layer 1, task 1",
        *_POSITIVE, _SIGN,
    ),
    Claim(
        "noise-cancels-with-tanh", "pileup", "appendix B",
        "With tanh positive and negative noise cancel: nothing adds up.",
        "the same share at layer 7 for tanh, over that for ReLU", -math.inf, 0.2,
        "nothing beside ReLU's: a fifth. The sentence names no size of noise; it is judged at the size used for G",
    ),
    Claim(
        "swish-between", "activations", "section 4.1, end",
        "The nearer to odd an activation, the less a network senses noise: swish less than ReLU.",
        "log of G, swish (beta 1) over ReLU, plain noise: geometric mean over layers 1 to 7", *_NEGATIVE, _SIGN,
    ),
    # Theory, exact.
    Claim(
        "A-grows-as-root-k", "fig6", "section 4.1, figure 6", "At stride 1 the receptive field grows as the root of k.",
        "slope of log A against log k, layers 1 to 12, exact widths of M^k delta", 0.49, 0.51,
        "an identity of random walks: the variance of k steps is k times that of one",
    ),
    Claim(
        "A-grows-as-F-to-k", "fig6", "section 4.2, figure 6", "At stride F it grows as F to the power k.",
        "input pixels seen by a pixel of layer k over F^k, layers 1 to 7", 1.0, 1.0, "an identity of windows",
    ),
    Claim(
        "gaussian-profile", "fig6", "appendix A, equation (A.2)",
        "A pixel's representation is the Gaussian of (A.2), with its constant.",
        "total variation distance of M^k delta and (A.2) at F = 3, k = 12", 0.0, 0.02,
        "the Gaussian of the true variance is within 0.0075",
        erratum="erratum 1: (A.2) has 2/3 of the variance at F = 3",
    ),
    Claim(
        "gaussian-limit", "fig6", "appendix A", "A pixel's representation tends to a Gaussian of width root k.",
        "total variation distance of M^k delta and the Gaussian of its variance at F = 3, k = 12", 0.0, 0.02,
        "a Gaussian drawn beside the profile could not be told from it",
    ),
    Claim(
        "invariant-below-the-gap", "fig5", "section 3", "The gap makes task 1 invariant to displacements below it.",
        "labels that moves of 1, 2 and 3 pixels change, at a gap of 4", 0.0, 0.0,
        "invariant: no label changes",
        erratum="erratum 5: each of two pixels moves, so that distances change by up to twice the move",
    ),
    Claim(
        "task2-invariant", "fig5", "section 3, section 4.2", "Task 2 does not change when pixels move inside patches.",
        "labels that moves of 1 pixel inside the patches change", 0.0, 0.0, "an identity of the task",
    ),
    # Table C1.
    Claim(
        "parameters", "tableC1", "table C1", "The networks have the numbers of parameters of table C1.",
        "parameters over the published number", 0.9, 1.1,
        "the table rounds to one or two digits",
        erratum="conventions 2.6: EfficientNetB0 at CIFAR size has 3.6 million, not 5",
    ),
)
