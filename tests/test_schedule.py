import pytest

from ntkstudy.plan.schedule import spread_steps


@pytest.mark.parametrize(
    ("count", "steps", "spacing", "expected"),
    [
        (4, 200, "linear", [0, 50, 100, 150, 200]),
        (1, 7, "linear", [0, 7]),
        (1, 7, "log", [0, 7]),
        (4, 1000, "log", [0, 1, 10, 100, 1000]),
        (50, 3, "linear", [0, 1, 2, 3]),
        (50, 3, "log", [0, 1, 2, 3]),
    ],
)
def test_steps_are_spread_and_hold_both_ends(count, steps, spacing, expected):
    assert spread_steps(count, steps, spacing) == expected
