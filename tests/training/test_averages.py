"""Means over seeds against a calculation by hand, and what is left out of them."""

import math

import pandas as pd
import pytest

from poolscope.training.averages import average_over_seeds, outcomes
from training.made_up_runs import made_run, measured


def output(table: pd.DataFrame, epoch: int = 1, displacement: float = 1.0) -> pd.Series:
    rows = average_over_seeds(table)
    chosen = (rows["layer"] == "output") & (rows["epoch"] == epoch) & (rows["displacement"] == displacement)
    assert chosen.sum() == 1
    return rows[chosen].iloc[0]


def test_three_seeds_by_hand():
    row = output(pd.concat([measured(seed, {1: value}) for seed, value in enumerate((0.5, 1.0, 2.0))]))
    # logarithms -a, 0, a with a = ln 2: mean 0, standard deviation a; t(0.975, 2) = 4.302653 from a table
    reach = 4.302653 * math.log(2) / math.sqrt(3)
    assert row["seeds"] == 3
    assert row["interval"] == "over seeds"
    for quantity, middle in (("R", 1.0), ("D", 0.2)):
        found = [row[quantity], row[f"{quantity}_low"], row[f"{quantity}_high"]]
        expected = [middle, middle * math.exp(-reach), middle * math.exp(reach)]
        assert found == pytest.approx(expected, rel=1e-6)  # the table's seven digits
    assert [row["G"], row["G_low"], row["G_high"]] == pytest.approx([0.2] * 3, rel=1e-12)


def test_two_seeds_by_hand():
    row = output(pd.concat([measured(0, {1: 1.0}), measured(5, {1: 4.0})]))
    # t(0.975, 1) = 12.706205; standard deviation of 0 and ln 4 is ln 4 / √2, over √2 again
    assert [row["R"], row["R_high"]] == pytest.approx([2, 2 * 4 ** (12.706205 / 2)], rel=1e-6)


def test_one_seed_has_its_own_intervals():
    row = output(measured(3, {1: 2.0}, error=0.1))
    assert row["seeds"] == 1
    assert row["interval"] == "over images"
    assert [row["R"], row["R_low"], row["R_high"]] == pytest.approx([2, 2 * math.exp(-0.2), 2 * math.exp(0.2)])
    assert [row["D"], row["D_low"], row["D_high"]] == pytest.approx([0.4, 0.4 * (1 - 0.196), 0.4 * (1 + 0.196)])
    assert output(measured(3, {1: 2.0}, error=0.9))["D_low"] == 0  # no D is negative


def test_epochs_and_amplitudes_are_apart():
    tables = [
        measured(seed, {0: 1.0 * size * factor, 1: 3.0 * size * factor}, displacement=size)
        for seed, factor in enumerate((1.0, 4.0)) for size in (0.5, 1.5)
    ]  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    for size in (0.5, 1.5):
        assert output(table, 0, size)["R"] == pytest.approx(2 * size)
        assert output(table, 1, size)["R"] == pytest.approx(6 * size)
    assert len(average_over_seeds(table)) == 2 * 2 * 2
    other_cutoff = pd.concat([table, table.assign(cutoff=5)])
    assert (average_over_seeds(other_cutoff)["seeds"] == 2).all()


@pytest.mark.parametrize("value", [math.nan, 0.0])
def test_a_seed_without_a_number_leaves_none(value):
    tables = pd.concat([measured(0, {1: 1.0}), measured(1, {1: value}), measured(2, {1: 2.0})])
    row = output(tables)
    assert [math.isnan(row[name]) for name in ("R", "R_low", "R_high", "D")] == [True] * 4
    assert row["G"] == pytest.approx(0.2)
    assert row["seeds"] == 3


def test_outcomes_are_a_row_a_run_with_who_chose():
    runs = [made_run(4, test_error=0.25), made_run(0, validation="test"), made_run(1, status="dead", reason="chance")]
    table = outcomes(runs)
    assert table["seed"].tolist() == [4, 0, 1]
    assert table["selected_by"].tolist() == ["validation", "test", "validation"]
    assert table["status"].tolist() == ["finished", "finished", "dead"]
    assert table["reason"].tolist() == ["all 2 epochs", "all 2 epochs", "chance"]
    assert table["best_test_error"].tolist() == [0.25, 0.1, 0.1]
    assert table["best_validation_error"].tolist() == pytest.approx([0.26, 0.1, 0.11])
