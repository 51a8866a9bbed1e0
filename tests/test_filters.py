import pytest
import torch
from mpmath import mp, mpf

from ntkflow.dynamics import filters

# Slow, ordinary, critically damped (mu = .9), oscillating, at and beyond the stability limits.
RATES = [0.0, 1e-300, 1e-12, 1e-3, (1 - 0.9**0.5) ** 2, 0.1, 0.5, 1.0, 1.9, 2.0, 2.1, 3.0]
RATES += [(1 + 0.9**0.5) ** 2, 3.7999, 3.8, 3.81, 5.0]


def recurrence(rate, momentum, steps):
    """Residuals after each step, by stepping with 50 digits."""
    with mp.workdps(50):
        rate, momentum = mpf(rate), mpf(momentum)
        residuals = [mpf(1), mpf(1)]
        for _ in range(steps):
            residuals.append((1 + momentum - rate) * residuals[-1] - momentum * residuals[-2])
        return residuals[1:]


def check_against_recurrence(pair, rates, momentum, steps):
    kept, learned = pair
    for i, rate in enumerate(rates):
        exact = recurrence(rate, momentum, steps)
        for t in range(steps + 1):
            size = max(1, abs(exact[t]))
            assert abs(kept[t, i].item() - exact[t]) < 1e-11 * size
            assert abs(learned[t, i].item() - (1 - exact[t])) < 1e-11 * size


def times(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_gradient_descent_against_its_recurrence():
    rates = torch.tensor(RATES, dtype=torch.float64)
    pair = filters.gradient_descent(rates, times(*range(61)))
    check_against_recurrence(pair, RATES, 0, 60)


@pytest.mark.parametrize("momentum", [1e-15, 0.3, 0.9, 0.99])
def test_heavy_ball_against_its_recurrence(momentum):
    rates = torch.tensor(RATES, dtype=torch.float64)
    pair = filters.heavy_ball(rates, times(*range(61)), momentum)
    check_against_recurrence(pair, RATES, momentum, 60)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_slow_directions_keep_their_digits(momentum):
    rate = torch.tensor([1e-13], dtype=torch.float64)
    t = times(1, 2, 10, 1000)
    pair = filters.heavy_ball(rate, t, momentum) if momentum else filters.gradient_descent(rate, t)
    exact = recurrence(1e-13, momentum, 1000)
    expected = torch.tensor([[float(1 - exact[int(step)])] for step in t], dtype=torch.float64)
    torch.testing.assert_close(pair[1], expected, rtol=1e-10, atol=0)
    limit = filters.learned_per_rate_at_zero(t, momentum)
    torch.testing.assert_close(pair[1] / rate, limit, rtol=1e-9, atol=0)


def test_gradient_flow_keeps_small_progress():
    rates, t = torch.tensor([0.0, 1e-20, 0.5], dtype=torch.float64), times(0, 3)
    kept, learned = filters.gradient_flow(rates, t)
    expected = torch.tensor([0, 3e-20, 1 - 2.718281828459045**-1.5], dtype=torch.float64)
    torch.testing.assert_close(learned[1], expected, rtol=1e-14, atol=0)
    torch.testing.assert_close(kept + learned, torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_long_times_overflow_to_infinity_and_never_to_nan(momentum):
    rates = torch.tensor(RATES, dtype=torch.float64)
    t = times(0, 1e5, 1e5 + 1, 1e15)
    kept, learned = (
        filters.heavy_ball(rates, t, momentum) if momentum else filters.gradient_descent(rates, t)
    )
    assert not kept.isnan().any()
    assert not learned.isnan().any()
    assert kept[1, -1] == torch.inf
    assert kept[2, -1] == -torch.inf
    assert learned[2, -1] == torch.inf


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("fraction", [0.05, 0.26, 0.87])
def test_settling_steps_against_stepping(momentum, fraction):
    rates = [0.02, 0.1, 0.5, 0.75, 1.0, 1.9, 2.0, 2.6, 2.95, 3.5, 3.75]
    rates += [(1 - momentum**0.5) ** 2, (1 + momentum**0.5) ** 2 + 1e-3]
    steps = filters.settling_steps(torch.tensor(rates, dtype=torch.float64), fraction, momentum)
    for rate, settled in zip(rates, steps.tolist(), strict=True):
        if not 0 < rate < 2 * (1 + momentum):
            assert settled == float("inf")
            continue
        sizes = [abs(p) for p in recurrence(rate, momentum, 2000)]
        last = max(t for t, size in enumerate(sizes) if size > fraction)
        assert settled == last + 1
