"""What a network did before training is said from its own rows, and only beside a trained one."""

import pandas as pd
import pytest

from poolscope.report.said.before import what_was_there_before


def rows(variant: str, R: float, reach: float = 1.1, displacement: float = 1.0, model: str = "net") -> pd.DataFrame:
    ends = [("input", 1.0, 0.1, 0.1, 1.0), ("output", R, 0.2, 0.2 / R, reach)]
    return pd.DataFrame(
        [
            {
                "layer": layer,
                "kind": layer,
                "position": position,
                "depth": float(position),
                "images": 10,
                "D": D,
                "D_se": 0.001,
                "G": G,
                "G_se": 0.001,
                "R": value,
                "R_low": value / factor,
                "R_high": value * factor,
                "model": model,
                "variant": variant,
                "draw": 0,
                "displacement": displacement,
                "cutoff": 3,
                "note": "",
            }
            for position, (layer, value, D, G, factor) in enumerate(ends)
        ]
    )


def test_numbers_and_where_it_falls():
    (said,) = what_was_there_before(pd.concat([rows("trained", 0.9), rows("initial", 0.25)]))
    assert said.startswith("Before training R = 0.25 (95 % interval 0.227 to 0.275) at the output; it falls without")
    assert "D rises by a factor of 2" in said
    assert "G rises by a factor of 8" in said


def test_only_the_displacements_at_which_it_falls_are_named():
    table = pd.concat(
        [rows(variant, R, 1.1, size) for variant in ("trained", "initial") for size, R in ((0.3, 1.5), (1.0, 0.5))]
    )
    (said,) = what_was_there_before(table)
    assert "1.5 (95 % interval 1.36 to 1.65) at 0.3 px" in said
    assert "it falls at 1 px without anything learned" in said


@pytest.mark.parametrize("R", [0.95, 1.4])
def test_no_fall_is_claimed_that_the_intervals_do_not_show(R):
    (said,) = what_was_there_before(pd.concat([rows("trained", 0.5), rows("initial", R)]))
    assert "falls" not in said
    assert "learned" not in said


def test_an_undefined_R_is_passed_over():
    initial = rows("initial", 0.5)
    initial.loc[1, ["R", "R_low", "R_high"]] = float("nan")
    assert what_was_there_before(pd.concat([rows("trained", 0.5), initial])) == []


def test_nothing_without_a_trained_network_beside_it():
    assert what_was_there_before(rows("initial", 0.25)) == []
    assert what_was_there_before(rows("given", 0.25)) == []


def test_several_models_keep_their_names():
    tables = [rows(variant, 0.5, model=model) for model in ("a", "b") for variant in ("trained", "initial")]
    said = what_was_there_before(pd.concat(tables))
    assert [line[:18] for line in said] == ["a: before training", "b: before training"]
