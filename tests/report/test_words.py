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
        "net (with initial and shuffled (8 draws) beside it): 2 layers on 100 images (cifar10), under deformations of "
        "0.816 px rms and under noise of the same norm, image by image."
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
            "At the output R = 0.2 (95 % interval 0.181 to 0.221): it reacts less to deformations than to noise of the "
            "same size. From input to output D falls by a factor of 5, and G does not change measurably.",
        ),
        (
            3.0,
            "At the output R = 3 (95 % interval 2.71 to 3.32): it reacts more to deformations than to noise of the "
            "same size. From input to output D rises by a factor of 3, and G does not change measurably.",
        ),
        (
            1.05,
            "At the output R = 1.05 (95 % interval 0.95 to 1.16): whether it reacts more to deformations or to noise "
            "of the same size cannot be told. From input to output D does not change measurably, and G does not "
            "change measurably.",
        ),
        (
            math.nan,
            "Nothing can be said about R at the output: spread below rounding. From input to output D is not defined, "
            "and G does not change measurably.",
        ),
    ],
    ids=["below", "above", "around", "nan"],
)
def test_the_output(R, expected):
    table = result_table([1.0, 0.9, R], note="spread below rounding" if R != R else "")
    assert said("The output", table, record={"noise": "MatchedNoise(rectified=False)"}) == expected


def test_a_change_of_D_is_judged_by_the_errors_of_both_ends():
    # Errors of 5 % at both ends: log(1.14) = 0.131 < 1.96 * 0.0707 = 0.139 < log(1.16) = 0.148.
    assert "D does not change measurably" in said("The output", result_table([1.0, 1.14]))
    assert "D rises by a factor of 1.16" in said("The output", result_table([1.0, 1.16]))
    assert "D falls by a factor of 1.16" in said("The output", result_table([1.16, 1.0]))
    assert "D is not defined" in said("The output", result_table([0.0, 1.0]))


def test_noise_is_of_the_same_size_only_where_the_record_says_so():
    table = result_table([1, 0.5, 0.2])
    assert "than to noise of the same size." in said("The output", table, record={"noise": "SpectrumMatchedNoise()"})
    for noise in ("MatchedNoise(rectified=True)", "GaussianNoise(rms_norm=1.0)"):
        assert "than to the noise." in said("The output", table, record={"noise": noise})
        assert said("Measured", table, record={"noise": noise}).endswith("and under noise.")


def by_size(courses: dict[float, list[float]], **columns) -> pd.DataFrame:
    """Results of R by displacement."""
    return pd.concat([result_table(R, displacement=size, **columns) for size, R in courses.items()])


def test_the_output_at_several_displacements_is_one_sentence():
    same = by_size({0.3: [1, 0.5, 4.0], 1.0: [1, 0.5, 3.0], 1.5: [1, 0.5, 2.0]})
    assert said("The output", same, record={"noise": "MatchedNoise(rectified=False)"}) == (
        "At the output R = 4 (95 % interval 3.62 to 4.42) at 0.3 px, 3 (2.71 to 3.32) at 1 px and 2 (1.81 to 2.21) at "
        "1.5 px: it reacts more to deformations than to noise of the same size. From input to output D rises by "
        "factors of 4, 3 and 2, and G does not change measurably."
    )
    unlike = by_size({0.3: [1, 0.5, 4.0], 0.6: [1, 0.5, 0.25], 1.0: [1, 0.5, 1.0], 1.5: [1, 0.5, math.nan]})
    unlike.loc[unlike["R"].isna(), "note"] = "spread below rounding"
    assert said("The output", unlike) == (
        "At the output R = 4 (95 % interval 3.62 to 4.42) at 0.3 px, 0.25 (0.226 to 0.276) at 0.6 px and 1 (0.905 to "
        "1.11) at 1 px: it reacts more to deformations than to the noise at 0.3 px, less at 0.6 px; at 1 px whether it "
        "reacts more to deformations or to the noise cannot be told; at 1.5 px nothing can be said: spread below "
        "rounding. From input to output D rises by a factor of 4 at 0.3 px, falls by a factor of 4 at 0.6 px, does not "
        "change measurably at 1 px, is not defined at 1.5 px, and G does not change measurably."
    )
    several = pd.concat([same, same.assign(model="other")])
    lines = dict(topics(several))["The output"]
    assert len(lines) == 4
    assert lines[2].startswith("other: at the output R = 4 (")


def test_of_many_displacements_three_are_named():
    table = by_size({0.1 * size: [1, 0.5, 1.0 + size] for size in range(1, 8)})
    assert said("The output", table) == (
        "At the output R = 2 (95 % interval 1.81 to 2.21) at 0.1 px, 5 (4.52 to 5.53) at 0.4 px and 8 (7.24 to 8.84) "
        "at 0.7 px: it reacts more to deformations than to the noise. From input to output D rises by factors of 2, 5 "
        "and 8 at 0.1, 0.4 and 0.7 px, and G does not change measurably."
    )


def test_cutoffs_are_told_apart():
    table = pd.concat([result_table([1, 0.5, 3.0], displacement=0.3, cutoff=cutoff) for cutoff in (3, 10)])
    assert "at cutoff 3 and 3 (2.71 to 3.32) at cutoff 10: it" in said("The output", table)
    both = pd.concat([table, table.assign(displacement=1.5)])
    assert "at 0.3 px with cutoff 3, 3 (2.71 to 3.32) at 1.5 px with cutoff 3, 3" in said("The output", both)
    assert said("In short", both) == (
        "Relative to noise the network loses no spatial information: R rises from input to output at every amplitude."
    )


def test_where_the_output_is_that_of_the_network_itself():
    table = pd.concat([result_table([1, 0.9, 0.8], variant="initial"), result_table([1, 0.5, 0.25], variant="trained")])
    assert "R = 0.25 (" in said("The output", table)
    kind = pd.concat([result_table([1, 0.9, 0.8], variant="shuffled, recalibrated"), table])
    assert "R = 0.25 (" in said("The output", kind)
    only = result_table([1, 0.9, 0.8], variant="initial")
    assert "R = 0.8 (" in said("The output", only)


def test_where_R_falls():
    text = said("Where", result_table([1, 1, 0.45, 0.2, 0.25, 0.1], error=0.02))  # half of the fall is √0.1 = 0.316
    assert text == (
        "R falls from 1 at the input to 0.1 at the output. Half of the fall (on a log scale) is reached at relu3, "
        "layer 3 of 5, and not lost again; the largest falls are at the output (0.25 to 0.1), relu3 (0.45 to 0.2) and "
        "relu2 (1 to 0.45). R also rises from 0.2 at relu3 to 0.25 at relu4."
    )


def test_where_R_rises():
    text = said("Where", result_table([1, 0.5, 2.0, 6.0, 4.0], error=0.02))
    assert text == (
        "R rises from 1 at the input to 4 at the output. Half of the rise (on a log scale) is reached at relu2, "
        "layer 2 of 4, and not lost again; the largest rises are at relu2 (0.5 to 2) and relu3 (2 to 6). R also falls "
        "from 1 at the input to 0.5 at relu1."  # by 2, from 6 to 4 by 1.5
    )


def test_a_layer_without_R_is_counted_and_not_looked_at():
    text = said("Where", result_table([1, math.nan, 0.5, 0.1], error=0.02))
    assert "R falls from 1 at the input to 0.1 at the output." in text
    assert "is reached at the output, layer 3 of 3," in text


def test_displacements_that_say_the_same_are_said_together():
    table = by_size({0.3: [1, 0.9, 0.5], 1.0: [1, 0.9, 0.3], 1.5: [1, 0.9, 0.1]})
    assert said("Where", table) == (
        "R falls from 1 at the input to 0.5, 0.3 and 0.1 at the output at 0.3, 1 and 1.5 px. At 1 px, half of the fall "
        "(on a log scale) is reached at the output, layer 2 of 2, and not lost again; the largest fall is at the "
        "output (0.9 to 0.3); the same layers at every displacement."
    )
    unlike = by_size({0.3: [1, 0.9, 0.5], 1.0: [1, 0.35, 0.3], 1.5: [2, 0.1, 0.1]})
    assert said("Where", unlike) == (
        "R falls from 1, 1 and 2 at the input to 0.5, 0.3 and 0.1 at the output at 0.3, 1 and 1.5 px. At 1 px, half of "
        "the fall (on a log scale) is reached at relu1, layer 1 of 2, and not lost again; the largest fall is at relu1 "
        "(1 to 0.35)."
    )
    mixed = by_size({0.3: [1, 3, 2], 1.0: [1, 0.9, 0.3], 1.2: [1, 0.9, 1], 1.5: [1, 0.9, math.nan]})
    text = said("Where", mixed)
    assert text.startswith(
        "R falls from 1 at the input to 0.3 at the output at 1 px; R rises from 1 at the input to 2 at the output at "
        "0.3 px; R does not change measurably from 1 at the input to 1 at the output at 1.2 px; R is not defined at "
        "both input and output at 1.5 px: where it falls cannot be said. At 1 px, half of the fall"
    )
    assert "the same layers" not in text


def test_half_of_the_fall_must_last():
    # log 0.2 is below half of log 0.1 at relu1 already, and is lost again at relu2.
    text = said("Where", result_table([1, 0.2, 0.9, 0.25, 0.1], error=0.02))
    assert "is reached at relu3, layer 3 of 4, and not lost again" in text
    assert "is reached at the output, layer 2 of 2" in said("Where", result_table([1, 0.9, 0.2]))


def test_where_nothing_falls_or_nothing_stands_out():
    flat = said("Where", result_table([1, 1.02, 0.95], error=0.1))
    assert flat == "R does not change measurably from 1 at the input to 0.95 at the output."
    there_and_back = said("Where", result_table([1, 0.2, 1], error=0.05))
    assert there_and_back.endswith(
        "On the way it falls from 1 at the input to 0.2 at relu1 and rises from 0.2 at relu1 to 1 at the output."
    )
    spread = said("Where", result_table([0.9**k for k in range(12)], error=0.05))
    assert "and not lost again; no single layer's fall stands out from its error." in spread
    assert "largest fall" not in spread
    for table in (result_table([1, 0.5, math.nan]), result_table([math.nan, 0.5, 0.2])):
        assert said("Where", table) == "R is not defined at both input and output: where it falls cannot be said."


def test_the_answer_in_short():
    # Of the falls, log 20 = log 2 + log 10: 23 % and 77 %.
    assert said("In short", result_table([1, 0.5, 0.5, 0.05])) == (
        "Relative to noise the network loses spatial information, 77 % of the falls of log R being at the output."
    )
    # Falls by 7.9, 8.1 and 7.8, and a rise by 2: two of three are needed for half, log 64 / log 500 of the falls.
    text = said("In short", result_table([1, 1 / 7.9, 1 / 64, 1 / 32, 1 / 250]))
    assert text.endswith("67 % of the falls of log R being at relu1 and relu2.")
    assert said("In short", result_table([0.6**k for k in range(9)])).endswith(
        "little by little: half of the fall of log R is reached at relu4."  # three of eight equal falls are no half
    )
    falls = [0.6, 0.6, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4]  # of log R; half is 2, and three of them are 1.8 at most
    late, early = ([math.exp(-sum(each[:k])) for k in range(9)] for each in (falls[::-1], falls))
    assert said("In short", by_size({0.3: late, 1.5: early})).endswith(
        "at every displacement, little by little: half of the fall of log R is reached at relu5 and relu4."
    )
    assert said("In short", result_table([1, 1.02, 0.95], error=0.1)) == (
        "No loss of spatial information can be shown: R at the output cannot be told from the input's."
    )
    assert said("In short", result_table([1, 0.5, math.nan])) == (
        "Where the network loses spatial information cannot be said, for R is not defined at input and output."
    )
    assert said("In short", result_table([1, 0.5, 3])) == (
        "Relative to noise the network loses no spatial information: R rises from input to output."
    )
    several = pd.concat([result_table([1, 0.5, 3]), result_table([1, 0.9, 0.1], model="other")])
    shares = share_table([(0.7, 0.6, 0.8)]).assign(model="other")
    assert dict(topics(several, shares))["In short"] == [
        "net: relative to noise the network loses no spatial information: R rises from input to output.",
        "other: relative to noise the network loses spatial information, 95 % of the falls of log R being at the "
        "output; most of it is spatial pooling.",  # log 9 / log 10
    ]


@pytest.mark.parametrize(
    ("courses", "expected"),
    [
        (
            {0.3: [1, 0.9, 0.5], 1.0: [1, 0.9, 0.3], 1.5: [1, 0.9, 0.1]},
            "Relative to noise the network loses spatial information at every displacement, 85 to 95 % of the falls "
            "of log R being at the output.",  # log 1.8 / log 2, log 9 / log 10
        ),
        (
            {0.3: [1, 0.9, 0.5], 1.0: [1, 0.35, 0.3], 1.5: [1, 0.9, 0.1]},
            "Relative to noise the network loses spatial information at every displacement, at 1 px 87 % of the falls "
            "of log R being at relu1.",
        ),
        (
            {0.3: [1, 3], 1.5: [1, 2]},
            "Relative to noise the network loses no spatial information: R rises from input to output at every "
            "displacement.",
        ),
        (
            {0.3: [1, 1], 1.5: [1, 1]},
            "No loss of spatial information can be shown: R at the output cannot be told from the input's at any "
            "displacement.",
        ),
        (
            {0.3: [1, 3], 1.0: [1, 1], 1.2: [1, 0.3], 1.5: [1, math.nan]},
            "Whether the network loses spatial information depends on the displacement: R falls from input to output "
            "at 1.2 px, rises from input to output at 0.3 px, does not change measurably at 1 px, is not defined at "
            "both ends at 1.5 px.",
        ),
        (
            {0.3: [1, 1], 1.5: [1, 0.3]},
            "The network measurably loses spatial information at some displacements only: R falls from input to output "
            "at 1.5 px, does not change measurably at 0.3 px.",
        ),
        (
            {0.3: [1, 1], 1.5: [1, 3]},
            "No loss of spatial information can be shown: R rises from input to output at 1.5 px, does not change "
            "measurably at 0.3 px.",
        ),
    ],
    ids=["same layers", "other layers", "rises", "flat", "both ways", "somewhere", "nowhere"],
)
def test_the_answer_for_several_displacements(courses, expected):
    assert said("In short", by_size(courses)) == expected


def test_how_much_is_spatial_in_short():
    falls = by_size({0.3: [1, 0.2], 1.0: [1, 0.2], 1.5: [1, 0.2]})
    most, less = (0.7, 0.6, 0.8), (0.3, 0.2, 0.4)
    same = pd.concat([share_table([most], displacement=size) for size in (0.3, 1.0, 1.5)])
    assert said("In short", falls, same).endswith("the output; most of it is spatial pooling.")
    shares = {0.3: most, 1.0: less, 1.5: most}
    unlike = pd.concat([share_table([share], displacement=size) for size, share in shares.items()])
    assert said("In short", falls, unlike).endswith("the output; at 1 px the larger part of it is channel pooling.")
    unknown = pd.concat([share_table([NAN], displacement=size) for size in (0.3, 1.0, 1.5)])
    assert said("In short", falls, unknown).endswith("; how much of it is spatial pooling cannot be told.")
    assert "spatial pooling" not in said("In short", falls, share_table([most]).assign(model="another"))


def test_trained_against_initial():
    table = result_table([1, 0.5, 0.2])
    less = math.log(1 / 4)
    text = said("Compared", table, contrasts=contrast_table({1.0: (less, less - 0.1, less + 0.1)}))
    assert text == (
        "R of the trained network at the output is 0.25 times that of the network at initialisation (95 % interval "
        "0.226 to 0.276, paired over images)."
    )
    text = said("Compared", table, contrasts=contrast_table({1.0: (0.1, -0.1, 0.3)}, "a.pt", "b.pt"))
    assert text == (
        "R of b.pt at the output is 1.11 times that of a.pt (95 % interval 0.905 to 1.35, paired over images); the two "
        "cannot be told apart."
    )
    text = said("Compared", table, contrasts=contrast_table({1.0: NAN}))
    assert text == (
        "Nothing can be said about R of the trained network at the output against the network at initialisation: R is "
        "not defined."
    )
    assert said("Compared", table, contrasts=contrast_table({})[:0]) == ""
    relu = contrast_table({1.0: (0.1, -0.1, 0.3)}).query("layer == 'relu1'")  # the output is not in every table
    assert said("Compared", table, contrasts=relu).startswith("R of the trained network at relu1 is 1 times")
    several = pd.concat([contrast_table({1.0: (1.0, 0.9, 1.1)}).assign(model=name) for name in ("one", "two")])
    assert [line[:10] for line in dict(topics(table, contrasts=several))["Compared"]] == ["one: R of ", "two: R of "]


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        (
            {0.3: (1.0, 0.9, 1.1), 1.5: (-1.0, -1.1, -0.9)},
            "is 2.72 and 0.368 times that of the network at initialisation at 0.3 and 1.5 px (95 % intervals 2.46 to 3 "
            "and 0.333 to 0.407, paired over images); their order changes with the displacement: R of the trained "
            "network is the smaller at 1.5 px and the larger at 0.3 px.",
        ),
        (
            {0.3: (-1.0, -1.1, -0.9), 1.5: (-1.0, -1.1, -0.9)},
            "at 0.3 and 1.5 px (95 % intervals 0.333 to 0.407 and 0.333 to 0.407, paired over images).",
        ),
        ({0.3: (0.0, -0.1, 0.1), 1.5: (-1.0, -1.1, -0.9)}, "images); at 0.3 px the two cannot be told apart."),
        ({0.3: (0.0, -0.1, 0.1), 1.5: (0.0, -0.1, 0.1)}, "images); the two cannot be told apart."),
        (
            {0.3: (-1.0, -1.1, -0.9), 1.5: NAN},
            "is 0.368 times that of the network at initialisation at 0.3 px (95 % interval 0.333 to 0.407, paired over "
            "images); nothing can be said at 1.5 px: R is not defined.",
        ),
    ],
    ids=["changes", "same", "partly", "none", "missing"],
)
def test_two_networks_at_several_displacements_are_one_sentence(ratios, expected):
    lines = dict(topics(result_table([1, 0.5, 0.2]), contrasts=contrast_table(ratios)))["Compared"]
    assert len(lines) == 1
    assert lines[0].endswith(expected)


def test_what_an_interval_is_over_is_said():
    table, ratio = result_table([1, 0.5, 0.2]), {1.0: (1.0, 0.9, 1.1)}
    shuffled = contrast_table(ratio, "trained", "shuffled")
    assert "crossed over images and shuffles)" in said("Compared", table, contrasts=shuffled)
    one = shuffled.assign(note="one draw: the interval is over images alone")
    assert "one draw, paired over images alone)" in said("Compared", table, contrasts=one)
    gaussian = contrast_table(ratio, "trained", "gaussian_filters")
    assert "crossed over images and draws of filters)" in said("Compared", table, contrasts=gaussian)
    mean = contrast_table(ratio, "trained", "mean_channel")
    assert "3, paired over images)" in said("Compared", table, contrasts=mean)


def test_controls_are_compared_only_where_shares_do_not_tell():
    ratio = {1.0: (1.0, 0.9, 1.1)}
    pairs = [("initial", "trained"), *(("trained", name) for name in ("shuffled", "mean_channel", "gaussian_filters"))]
    contrasts = pd.concat([contrast_table(ratio, *pair) for pair in pairs])

    def compared(shares):
        found = dict(topics(result_table([1, 0.5, 0.2]), shares, contrasts))["Compared"]
        return [line.removeprefix("R of ").split(" at the output")[0] for line in found]

    trained, mean, gaussian = "the trained network", "the network's mean channel", "the network with Gaussian filters"
    assert compared(None) == [trained, "the network with shuffled channels", mean, gaussian]
    assert compared(share_table([(0.7, 0.6, 0.8)])) == [trained]
    assert compared(share_table([(0.7, -0.6, 1.8)])) == [trained, mean, gaussian]
    assert compared(share_table([(0.7, 0.6, 0.8), NAN])) == [trained, mean, gaussian]  # the output's share counts


RISE = {"R": [1.0, 3.0], "R_shuffled": 0.6}


@pytest.mark.parametrize(
    ("share", "falls", "rises"),
    [
        ((0.7, 0.6, 0.8), "most of it is spatial pooling.", "most of it survives shuffled channels."),
        (
            (0.3, 0.2, 0.4),
            "the larger part of it is channel pooling.",
            "the larger part of it is lost with shuffled channels.",
        ),
        (
            (0.5, 0.3, 0.7),
            "spatial and channel pooling both have a part in it.",
            "a part of it survives shuffled channels, and a part does not.",
        ),
        (
            (0.8, 0.3, 1.3),
            "spatial pooling has a part in it, and may be all of it.",
            "a part of it, and maybe all, survives shuffled channels.",
        ),
        (
            (0.2, -0.3, 0.7),
            "no part of it can be shown to be spatial pooling, and channel pooling has a part in it.",
            "no part of it can be shown to survive shuffled channels.",
        ),
        (
            (1.5, 1.2, 1.8),
            "with shuffled channels R falls even further.",
            "with shuffled channels R rises even further.",
        ),
        (
            (-0.5, -0.8, -0.2),
            "none of it is spatial pooling, for with shuffled channels R rises above the input's instead, to 0.6.",
            "the rise comes from combining channels, for with shuffled channels R falls below the input's instead, "
            "to 0.6.",
        ),
        (
            (0.5, -1.0, 2.0),
            "how much of it is spatial pooling cannot be told.",
            "how much of it survives shuffled channels cannot be told.",
        ),
    ],
    ids=["most", "less", "both", "all?", "none?", "above", "below", "both 0 and 1"],
)
def test_the_spatial_share_of_the_output(share, falls, rises):
    numbers = "{:g} (95 % interval {:g} to {:g})".format(*share).replace("-", "−")
    table = result_table([1, 0.5])
    fall = share_table([share], R=[1.0, 0.5], R_shuffled=0.6)
    assert said("Pooling", table, fall) == f"The spatial share of the fall of log R at the output is {numbers}: {falls}"
    rise = share_table([share], **RISE)
    expected = f"Of the rise of log R at the output, shuffling the channels leaves {numbers}: {rises}"
    assert said("Pooling", table, rise) == expected
    # The input is what R falls or rises from, and its R is 1 where the table does not hold it.
    assert said("Pooling", table, rise[1:]) == expected
    assert "of the fall" in said("Pooling", table, share_table([share], R=[4.0, 3.0]))


def test_a_share_that_is_not_defined():
    assert said("Pooling", result_table([1, 0.5]), share_table([NAN])) == (
        "Nothing can be said about the spatial share at the output: R at this layer cannot be told from 1."
    )


def test_shares_at_several_displacements_are_merged_where_they_mean_the_same():
    def table(shares):
        return pd.concat([share_table([each], displacement=size, **RISE) for size, each in shares.items()])

    below = (-0.5, -0.8, -0.2)
    assert said("Pooling", result_table([1, 0.5]), table({0.3: below, 1.0: below})) == (
        "Of the rise of log R at the output, shuffling the channels leaves −0.5 (95 % interval −0.8 to −0.2) at 0.3 px "
        "and −0.5 (−0.8 to −0.2) at 1 px: the rise comes from combining channels, for with shuffled channels R falls "
        "below the input's instead, to 0.6 and 0.6."
    )
    unlike = table({0.3: below, 1.0: (0.7, 0.6, 0.8), 1.5: NAN})
    lines = dict(topics(result_table([1, 0.5]), unlike))["Pooling"]
    assert [line.split("leaves ")[-1] for line in lines] == [
        "−0.5 (95 % interval −0.8 to −0.2) at 0.3 px: the rise comes from combining channels, for with shuffled "
        "channels R falls below the input's instead, to 0.6.",
        "0.7 (95 % interval 0.6 to 0.8) at 1 px: most of it survives shuffled channels.",
        "Nothing can be said about the spatial share at the output at 1.5 px: R at this layer cannot be told from 1.",
    ]
    several = pd.concat([share_table([below]).assign(model=name) for name in ("one", "two")])
    assert [line[:8] for line in dict(topics(result_table([1, 0.5]), several))["Pooling"]] == ["one: the", "two: the"]


def test_where_the_spatial_share_is_largest():
    table = result_table([1, 0.5])
    # The largest number says nothing: its interval holds 0 and 1.
    found = [(3.0, -1.0, 7.0), (0.9, 0.8, 1.1), NAN, (0.3, 0.2, 0.4)]
    shares = share_table(found)
    expected = "the layers whose R is below the input's, the share is largest at relu2: 0.9 (95 % interval 0.8 to 1.1)."
    assert said("Pooling", table, shares).endswith(f" Of {expected}")
    assert "largest" not in said("Pooling", table, share_table([(0.3, 0.2, 0.4), (0.9, 0.8, 1.0)]))
    assert "largest" not in said("Pooling", table, share_table([(-0.3, -0.4, -0.2), (-0.9, -1.0, -0.8)]))
    several = pd.concat([share_table(found, displacement=size) for size in (0.3, 1.0, 1.5)])
    assert said("Pooling", table, several).endswith(f" At 1 px, of {expected}")


def test_layers_before_any_shuffled_channel_have_no_largest_share():
    found = [(1.0, 0.99, 1.01), (0.6, 0.5, 0.7), (0.3, 0.2, 0.4)]
    exact = share_table([(1.0, 1.0, 1.0), *found[1:]])
    assert "largest at relu2: 0.6" in said("Pooling", result_table([1, 0.5]), exact)
    nearly = share_table(found, R=[1.0, 0.5, 0.5, 0.5], R_shuffled=[1.0, 0.5001, 0.7, 0.7])
    assert "largest at relu2: 0.6" in said("Pooling", result_table([1, 0.5]), nearly)
    clear = share_table(found, R=[1.0, 0.5, 0.5, 0.5], R_shuffled=[1.0, 0.504, 0.7, 0.7])
    assert "largest at relu1: 1" in said("Pooling", result_table([1, 0.5]), clear)
    rising = share_table(found, R=[1.0, 3.0, 0.5, 0.5])  # the share of relu1 is of a rise
    assert "largest at relu2: 0.6" in said("Pooling", result_table([1, 0.5]), rising)


def test_filters():
    low = [0.5, 0.2, 0.1, 0.1, 0.1, 0.0]  # mean eigenvalue 1.1; white: 24 / 9; ratio 0.4125
    high = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]  # 6 · 9 / 24 = 2.25
    barely = [1 / 9 + 0.029, 2 / 9 - 0.029, 1 / 9, 2 / 9, 2 / 9, 1 / 9]  # less than 3 standard errors of 0.01
    table = spectrum_table({"a": low, "b": high, "c": barely, "d": "1x1"})
    assert said("Filters", result_table([1, 0.5]), spectrum=table) == (
        "Filters are low-pass in 1 of 3 convolutions: a; the constant part is strongest at a, with 50 % of the power "
        "(11.1 % in white filters). They hold more high frequencies than white ones at b. Their mean frequency, 1 for "
        "white filters, goes from 0.413 at a to 2.25 at b. 1 further convolution has no spectrum: one tap (1)."
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
    assert "in 9 of 9 convolutions: conv0, conv1, conv2, conv3, conv4 and 4 more;" in text


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
    starts = ["Relative to noise the network loses", "net: 2 layers", "At the output R", "From input to output D"]
    starts += ["R falls", "Half"]
    starts += ["R of the trained", "The spatial share", "In none of", "Their", "One"]
    assert len(everything) == len(starts)
    assert all(line.startswith(start) for line, start in zip(everything, starts, strict=True))
    with pytest.raises(ValueError, match=r"results must have a row.*got none"):
        summary(table[:0])


def test_three_displacements_and_four_variants_take_a_dozen_sentences():
    sizes = (0.3, 1.0, 1.5)
    variants = {"trained": [1, 0.7, 3, 2], "initial": [1, 0.9, 0.8, 0.7], "mean_channel": [1, 0.9, 2, 3]}
    tables = [by_size(dict.fromkeys(sizes, R), variant=name) for name, R in variants.items()]
    shuffled = {size: [1.0, 0.7, 0.6, 0.5] for size in sizes}
    tables += [by_size(shuffled, variant="shuffled", draw=draw) for draw in range(8)]
    share = share_table([(1.0, 0.99, 1.01), (-0.5, -0.6, -0.4), (-1.0, -1.1, -0.9)], R=[1.0, 0.7, 3.0, 2.0])
    shares = pd.concat([share.assign(displacement=size) for size in sizes])
    ratios = dict.fromkeys(sizes, (1.0, 0.9, 1.1))
    pairs = [("initial", "trained"), ("trained", "shuffled"), ("trained", "mean_channel")]
    contrasts = pd.concat([contrast_table(ratios, *pair) for pair in pairs])
    found = summary(pd.concat(tables), shares, contrasts, spectrum_table({"a": [0.5, 0.2, 0.1, 0.1, 0.1, 0.0]}))
    assert len(found) <= 12
    assert max(map(len, found)) < 400
