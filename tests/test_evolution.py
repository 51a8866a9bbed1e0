import numpy as np
import pandas as pd
import pytest

from ntkstudy.data.tables import axes_of, with_axes
from ntkstudy.derived.evolution import summarise_evolution

STEPS = np.arange(0, 300, 20)


def tables(top, test=None, train=None, width=4, seed=0, share=0.4, **more):
    index = {"width": width, "seed": seed, "step": STEPS}
    gram = pd.DataFrame(index | {"lambda_max": top, "drift": STEPS / 100, "share": share})
    test = np.linspace(2.3, 1.0, len(STEPS)) if test is None else test
    train = np.linspace(2.0, 0.0, len(STEPS)) if train is None else train
    columns = {"train_loss": train, "test_loss": test, "train_accuracy": 0.3}
    columns |= {"test_accuracy": np.linspace(0.1, 0.8, len(STEPS)), "rate": np.square(top)} | more
    return with_axes(gram, index), with_axes(pd.DataFrame(index | columns), index)


def test_turning_point():
    top = 10 + ((STEPS - 100) / 50.0) ** 2
    table = summarise_evolution(*tables(top))
    assert axes_of(table) == ["width", "seed"]
    row = table.iloc[0]
    assert row["start"] == pytest.approx(14)
    assert (row["lowest"], row["lowest_step"], row["interior"]) == (10, 100, 1)
    assert row["end_ratio"] == pytest.approx(top[-1] / 14)
    assert row["test_slope"] == pytest.approx(-1.3 / 280)
    assert row["rate_correlation"] == pytest.approx(np.corrcoef(top, top**2)[0, 1])
    assert row["loss_decrease"] == pytest.approx(2)
    assert row["drift_per_loss"] == pytest.approx(1.4)


def test_minimum_at_the_end_is_not_interior():
    assert summarise_evolution(*tables(20.0 - STEPS / 50)).iloc[0]["interior"] == 0


def test_values_where_the_training_loss_reaches_the_level():
    row = summarise_evolution(*tables(1.0 + STEPS)).iloc[0]
    assert row["test_loss_at_level"] == pytest.approx(2.3 - 1.3 * 0.75)
    assert row["test_accuracy_at_level"] == pytest.approx(0.1 + 0.7 * 0.75)
    assert row["step_at_level"] == pytest.approx(0.75 * 280)
    assert row["gap_at_level"] == pytest.approx(2.3 - 1.3 * 0.75 - 0.5)
    assert row["gap_at_end"] == pytest.approx(1.0)
    never = summarise_evolution(*tables(1.0 + STEPS, train=np.full(len(STEPS), 2.0))).iloc[0]
    assert np.isnan(never["test_loss_at_level"])


@pytest.mark.parametrize("shift", [-2, 0, 3])
def test_lag_is_positive_where_the_eigenvalue_is_first(shift):
    noise = np.random.default_rng(0).standard_normal(len(STEPS) + 10).cumsum()
    top, test = noise[5 : 5 + len(STEPS)], noise[5 - shift : 5 - shift + len(STEPS)]
    row = summarise_evolution(*tables(top + 100, test)).iloc[0]
    assert row["marker_lag"] == 20 * shift


def test_order_of_the_widths():
    parts = [
        tables(level + slope * STEPS, width=width)
        for width, level, slope in ((1, 3.0, 0.0), (2, 2.0, 0.001), (4, 1.0, 1.0))
    ]
    gram, classification = (pd.concat(each) for each in zip(*parts, strict=True))
    table = summarise_evolution(gram, classification)
    # From 3, 2, 1 to 3, 2.28, 281: ranks 3 2 1 become 2 1 3.
    assert table["order_kept"].tolist() == pytest.approx([-0.5] * 3)
    assert axes_of(table) == ["width", "seed"]


def test_who_gets_to_the_level_first():
    parts = [
        tables(level + STEPS, width=width, share=share, train=np.linspace(2, end, len(STEPS)))
        for width, level, share, end in (
            (1, 1.0, 0.9, 1.0), (2, 5.0, 0.2, 0.4), (4, 4.0, 0.5, 0.2), (8, 3.0, 0.4, 0.0)
        )
    ]  # fmt: skip
    gram, classification = (pd.concat(each) for each in zip(*parts, strict=True))
    table = summarise_evolution(gram, classification)
    # The first never gets there. Steps of the others: the later the smaller the width.
    assert table["step_at_level"].isna().tolist() == [True, False, False, False]
    assert table["share_speed"].tolist() == pytest.approx([-0.5] * 4)
    assert table["top_speed"].tolist() == pytest.approx([1.0] * 4)
    assert table["share"].tolist() == [0.9, 0.2, 0.5, 0.4]


def test_order_of_the_widths_leaves_diverged_networks_out():
    parts = [
        tables(level + 0 * STEPS, width=width)
        for width, level in ((1, 4.0), (2, np.nan), (4, 1.0), (8, 3.0))
    ]
    parts[3][0]["lambda_max"] += 0.1 * STEPS  # the largest at the end
    gram, classification = (pd.concat(each) for each in zip(*parts, strict=True))
    table = summarise_evolution(gram, classification)
    # Of 4, 1, 3: ranks 3 1 2 become 2 1 3.
    assert table["order_kept"].tolist() == pytest.approx([0.5] * 4)


def test_a_diverged_network_is_a_row_without_numbers():
    top = np.full(len(STEPS), np.nan)
    parts = [tables(1.0 + STEPS), tables(top, seed=1)]
    gram, classification = (pd.concat(each) for each in zip(*parts, strict=True))
    table = summarise_evolution(gram, classification)
    assert table["seed"].tolist() == [0, 1]
    assert table["end"].isna().tolist() == [False, True]


def test_unrest_is_the_spread_over_steps_and_seeds():
    rng = np.random.default_rng(0)
    tops = np.exp(rng.standard_normal((2, 3, len(STEPS))))  # by width and seed
    parts = [
        tables(tops[w, s], width=width, seed=s) for w, width in enumerate((4, 8)) for s in range(3)
    ]
    gram, classification = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))
    axes = ("width", "seed", "step")
    found = summarise_evolution(with_axes(gram, axes), with_axes(classification, axes))
    for w, width in enumerate((4, 8)):
        rows, log = found[found["width"] == width], np.log(tops[w])
        np.testing.assert_allclose((rows["unrest"] ** 2).mean(), log.var())
        np.testing.assert_allclose((rows["unrest_start"] ** 2).mean(), log[:, 0].var())
        np.testing.assert_allclose(
            rows["unrest"].iloc[1], np.sqrt(((log[1] - log.mean()) ** 2).mean())
        )
