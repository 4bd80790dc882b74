"""Every sentence follows from numbers and intervals; each kind of table is made so that the answer is known."""

import math

import pandas as pd
import pytest

from poolscope.report import summary
from poolscope.report.words import topics

from .conftest import contrast_table, result_table, share_table, spectrum_table

NAN = (math.nan, math.nan, math.nan)


def said(topic: str, *arguments, **options) -> str:
    """The sentences of one topic."""
    return " ".join(dict(topics(*arguments, **options)).get(topic, []))


def test_what_was_measured():
    table = pd.concat(
        [
            result_table([1, 0.5, 0.2], variant="trained"),
            result_table([1, 0.9, 0.8], variant="initial"),
            *(result_table([1, 0.9, 0.8], variant="shuffled", draw=draw) for draw in range(8)),
        ]
    )
    record = {"data": "cifar10", "displacement": 0.816, "noise": "MatchedNoise(rectified=False)"}
    assert said("Measured", table, record=record) == (
        "net: 2 layers on 100 images (cifar10), under deformations of 0.816 px rms and under noise of the same norm, "
        "image "
        "by image. Beside it stand its variants: initial and shuffled (8 draws)."
    )
    plain = result_table([1, 0.5, 0.2], displacement=0.3)
    both = pd.concat([plain, plain.assign(displacement=1.5, model="other")])
    assert said("Measured", both, record={"noise": "GaussianNoise(rms_norm=1.0)"}) == (
        "net and other: 2 and 2 layers on 100 images, under deformations of 0.3 and 1.5 px rms and under noise."
    )


@pytest.mark.parametrize(
    ("R", "expected"),
    [
        (
            0.2,
            "The output reacts 5 times less to the deformation than to noise of the same size (R = 0.2, 95 % interval "
            "0.181 to 0.221).",
        ),
        (
            3.0,
            "The output reacts 3 times more to the deformation than to noise of the same size (R = 3, 95 % interval "
            "2.71 to 3.32).",
        ),
        (
            1.05,
            "Whether the output reacts more to the deformation or to noise of the same size cannot be told (R = 1.05, "
            "95 % interval 0.95 to 1.16).",
        ),
        (math.nan, "Nothing can be said about R at the output: spread below rounding."),
    ],
    ids=["below", "above", "around", "nan"],
)
def test_the_output(R, expected):
    table = result_table([1.0, 0.9, R], note="spread below rounding" if R != R else "")
    text = said("The output", table, record={"noise": "MatchedNoise(rectified=False)"})
    assert text.startswith(expected)
    # 0.1 is D and G of the input; 1.96 standard errors of 5 % about G = 0.1.
    assert "the noise moves it by G = 0.1 (95 % interval 0.0902 to 0.11), the input by 0.1" in text
    assert ("the deformation moves it by D" in text) == (R == R)


def test_noise_is_of_the_same_size_only_where_the_record_says_so():
    table = result_table([1, 0.5, 0.2])
    assert "than to noise of the same size (R" in said("The output", table, record={"noise": "SpectrumMatchedNoise()"})
    for noise in ("MatchedNoise(rectified=True)", "GaussianNoise(rms_norm=1.0)"):
        assert "than to the noise (R" in said("The output", table, record={"noise": noise})
        assert said("Measured", table, record={"noise": noise}).endswith("and under noise.")


def test_the_output_by_model_and_displacement():
    table = pd.concat([result_table([1, 0.5, R], displacement=size) for size, R in ((0.3, 2.0), (1.5, 0.5))])
    text = said("The output", table)
    assert "At 0.3 px: the output reacts 2 times more" in text
    assert "At 1.5 px: the output reacts 2 times less" in text
    several = pd.concat([table, table.assign(model="other")])
    assert "other, at 1.5 px: the output reacts 2 times less" in said("The output", several)


def test_where_the_output_is_that_of_the_network_itself():
    table = pd.concat([result_table([1, 0.9, 0.8], variant="initial"), result_table([1, 0.5, 0.25], variant="trained")])
    assert "(R = 0.25" in said("The output", table)
    kind = pd.concat([result_table([1, 0.9, 0.8], variant="shuffled, recalibrated"), table])
    assert "(R = 0.25" in said("The output", kind)
    only = result_table([1, 0.9, 0.8], variant="initial")
    assert "(R = 0.8" in said("The output", only)


def test_where_R_falls():
    text = said("Where", result_table([1, 1, 0.45, 0.2, 0.25, 0.1], error=0.02))  # half of the fall is √0.1 = 0.316
    assert text == (
        "R falls from 1 at the input to 0.1 at the output; half of that (on a log scale) is reached at relu3, layer 3 "
        "of 5, and not lost again. The largest falls are at output (0.25 to 0.1), relu3 (0.45 to 0.2) and relu2 (1 to "
        "0.45). R also rises: from 0.2 at relu3 to 0.25 at relu4."
    )


def test_half_of_the_fall_must_last():
    # log 0.2 is below half of log 0.1 at relu1 already, and is lost again at relu2.
    text = said("Where", result_table([1, 0.2, 0.9, 0.25, 0.1], error=0.02))
    assert "is reached at relu3, layer 3 of 4, and not lost again" in text
    assert "is reached at output, layer 2 of 2" in said("Where", result_table([1, 0.9, 0.2]))


def test_where_nothing_falls_or_nothing_stands_out():
    assert said("Where", result_table([1, 1.02, 0.95], error=0.1)) == "From input to output R does not fall measurably."
    spread = said("Where", result_table([0.9**k for k in range(12)], error=0.05))
    assert "No single layer's fall stands out from its error." in spread
    assert "largest fall" not in spread
    assert "R also rises: from 1 at input to 3 at output." in said("Where", result_table([1, 2, 3], error=0.05))
    text = said("Where", result_table([1, 0.5, math.nan]))
    assert text == "Where R falls cannot be said, for R is not defined at the output."
    assert "R falls from 1 at the input to 0.1" in said("Where", result_table([1, math.nan, 0.5, 0.1]))


def test_trained_against_initial():
    table = result_table([1, 0.5, 0.2])
    less = math.log(1 / 4)
    text = said("Compared", table, contrasts=contrast_table({1.0: (less, less - 0.1, less + 0.1)}))
    assert text == (
        "R of the trained network at the output is 4 times smaller than that of the network at initialisation (ratio "
        "0.25, "
        "95 % interval 0.226 to 0.276, paired over images)."
    )
    text = said("Compared", table, contrasts=contrast_table({1.0: (0.1, -0.1, 0.3)}, "a.pt", "b.pt"))
    assert text == (
        "R of b.pt at the output cannot be told from that of a.pt (ratio 1.11, 95 % interval 0.905 to 1.35, paired "
        "over "
        "images)."
    )
    text = said("Compared", table, contrasts=contrast_table({1.0: NAN}))
    assert "Nothing can be said about R of the trained network at the output against" in text
    assert "R is not defined" in text
    assert said("Compared", table, contrasts=contrast_table({})[:0]) == ""


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        (
            {0.3: (1.0, 0.9, 1.1), 1.5: (-1.0, -1.1, -0.9)},
            "The order changes with the displacement: R of the trained network is the smaller at 1.5 px and the "
            "larger at 0.3 px.",
        ),
        (
            {0.3: (-1.0, -1.1, -0.9), 1.5: (-1.0, -1.1, -0.9)},
            "R of the trained network is the smaller at every displacement measured.",
        ),
        (
            {0.3: (1.0, 0.9, 1.1), 1.5: (1.0, 0.9, 1.1)},
            "R of the trained network is the larger at every displacement measured.",
        ),
        (
            {0.3: (0.0, -0.1, 0.1), 1.5: (-1.0, -1.1, -0.9)},
            "R of the trained network is the smaller at 1.5 px; at 0.3 px no order can be told.",
        ),
        (
            {0.3: (0.0, -0.1, 0.1), 1.5: NAN},
            "At none of the displacements can the trained network and the network at initialisation be told apart.",
        ),
    ],
    ids=["changes", "smaller", "larger", "partly", "none"],
)
def test_the_order_of_two_networks_by_displacement(ratios, expected):
    text = said("Compared", result_table([1, 0.5, 0.2]), contrasts=contrast_table(ratios))
    assert text.endswith(expected)
    assert "At 0.3 px, " in text


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (
            (0.7, 0.6, 0.8),
            "The spatial share at the output is 0.7 (95 % interval 0.6 to 0.8): most of the fall of log R survives",
        ),
        ((0.3, 0.2, 0.4), "less than half of the fall of log R survives shuffled channels"),
        ((0.5, 0.3, 0.7), "both spatial and channel pooling have a part."),
        ((0.8, 0.3, 1.3), "spatial pooling has a part, and may be all of it."),
        ((0.2, -0.3, 0.7), "no spatial pooling can be shown, and channel pooling has a part."),
        ((1.5, 1.2, 1.8), "above 1, for with shuffled channels R falls further than in the network itself."),
        ((-0.5, -0.8, -0.2), "below 0, for with shuffled channels R moves the other way; none of the fall"),
        (
            (0.5, -1.0, 2.0),
            "Nothing can be concluded about the spatial share at the output: 0.5 (95 % interval −1 to 2) holds both 0 "
            "and 1.",
        ),
        (NAN, "Nothing can be said about the spatial share at the output: R at this layer cannot be told from 1."),
    ],
    ids=["most", "less", "both", "all?", "none?", "above", "below", "both 0 and 1", "nan"],
)
def test_the_spatial_share_of_the_output(share, expected):
    assert expected in said("Pooling", result_table([1, 0.5]), share_table([share]))


def test_shuffled_networks_whose_R_exceeds_one_are_said():
    text = said("Pooling", result_table([1, 0.5]), share_table([(-0.5, -0.8, -0.2)], R_shuffled=1.4))
    assert "R moves the other way, to 1.4, above 1; none of the fall is spatial pooling." in text


def test_where_the_spatial_share_is_largest():
    # The largest number says nothing: its interval holds 0 and 1.
    shares = share_table([(3.0, -1.0, 7.0), (0.9, 0.8, 1.1), NAN, (0.3, 0.2, 0.4)])
    text = said("Pooling", result_table([1, 0.5]), shares)
    assert text.endswith("it is largest at relu2: 0.9 (95 % interval 0.8 to 1.1).")
    assert "largest" not in said("Pooling", result_table([1, 0.5]), share_table([(0.3, 0.2, 0.4), (0.9, 0.8, 1.0)]))
    untouched = share_table([(1.0, 1.0, 1.0), (0.6, 0.5, 0.7), (0.3, 0.2, 0.4)])  # nothing is shuffled before relu1
    assert "largest at relu2: 0.6" in said("Pooling", result_table([1, 0.5]), untouched)
    several = pd.concat([share_table([(0.3, 0.2, 0.4)], displacement=size) for size in (0.3, 1.5)])
    assert "At 1.5 px: the spatial share" in said("Pooling", result_table([1, 0.5]), several)


def test_filters():
    low = [0.5, 0.2, 0.1, 0.1, 0.1, 0.0]  # mean eigenvalue 1.1; white: 24 / 9; ratio 0.4125
    high = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]  # 6 · 9 / 24 = 2.25
    barely = [1 / 9 + 0.029, 2 / 9 - 0.029, 1 / 9, 2 / 9, 2 / 9, 1 / 9]  # less than 3 standard errors of 0.01
    table = spectrum_table({"a": low, "b": high, "c": barely, "d": "1x1"})
    assert said("Filters", result_table([1, 0.5]), spectrum=table) == (
        "Filters are low-pass in 1 of 3 convolutions: a. The constant part is strongest at a: 50 % of the power, 11.1 "
        "% in "
        "white filters. They hold more high frequencies than white ones at b. Their mean frequency, 1 for white "
        "filters, goes "
        "from 0.413 at a to 2.25 at b. 1 further convolution has no spectrum: one tap (1)."
    )
    white = said("Filters", result_table([1, 0.5]), spectrum=spectrum_table({"a": "white"}))
    assert white == (
        "In none of 1 convolutions do filters hold measurably more of the constant part than white ones. Their mean "
        "frequency, 1 for white filters, is 1."
    )
    none = said("Filters", result_table([1, 0.5]), spectrum=spectrum_table({"a": "1x1"}))
    assert none == "None of the convolutions has a spectrum: one tap (1)."
    several = pd.concat([table, table.assign(model="other")])
    assert "other: Filters are low-pass" in said("Filters", result_table([1, 0.5]), spectrum=several)


def test_many_layers_are_counted_not_listed():
    low = [0.5, 0.2, 0.1, 0.1, 0.1, 0.0]
    text = said("Filters", result_table([1, 0.5]), spectrum=spectrum_table({f"conv{k}": low for k in range(9)}))
    assert "in 9 of 9 convolutions: conv0, conv1, conv2, conv3, conv4 and 4 more." in text


def test_cautions():
    one = result_table([1, 0.5, 0.2])
    assert said("Keep in mind", one).startswith("One displacement was measured.")
    sweep = pd.concat([one.assign(displacement=size) for size in (0.3, 1.5)])
    assert said("Keep in mind", sweep) == ""
    shuffled = pd.concat([sweep, sweep.assign(variant="shuffled")])
    stale = "Batch norm was not estimated again after shuffling"
    assert stale in said("Keep in mind", shuffled, record={"shuffled": {"recalibrate": False}})
    assert stale in said("Keep in mind", shuffled, record={"recalibrate": None})
    assert stale not in said("Keep in mind", shuffled, record={"shuffled": {"recalibrate": True}})
    assert stale not in said("Keep in mind", shuffled, record={})
    assert stale not in said("Keep in mind", sweep, record={"shuffled": {"recalibrate": False}})
    missing = sweep.copy()
    missing.loc[missing["layer"] == "relu1", ["R", "note"]] = [math.nan, "spread below rounding"]
    assert said("Keep in mind", missing) == "2 of 6 rows have no R: spread below rounding (2)."
    text = said("Keep in mind", sweep, share_table([NAN, (0.5, 0.4, 0.6)]))
    assert text == "1 of 2 spatial shares are not defined: R at this layer cannot be told from 1 (1)."


def test_the_summary_is_all_of_it_in_order():
    table = result_table([1, 0.5, 0.2])
    shares, contrasts = share_table([(0.5, 0.4, 0.6)]), contrast_table({1.0: (0.0, -1.0, 1.0)})
    everything = summary(table, shares, contrasts, spectrum_table({"a": "white"}))
    starts = ["net: 2 layers", "The output reacts", "R falls", "R of the trained", "The spatial share"]
    starts += ["In none of", "Their", "One"]
    assert len(everything) == len(starts)
    assert all(line.startswith(start) for line, start in zip(everything, starts, strict=True))
    with pytest.raises(ValueError, match=r"results must have a row.*got none"):
        summary(table[:0])
