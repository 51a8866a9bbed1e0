"""What training leaves of one eigen-direction after t steps, free of cancellation and overflow.

A direction with rate a >= 0 (learning rate times curvature of the loss) keeps the fraction p of its
initial residual and has learned g = 1 - p. The three filters take rates (M,) and times (T, 1) or
(T, M), float64, and return the pair (p, g), each (T, M). Small g is computed on its own, not as
1 - p, so that g / a stays accurate when a -> 0; p beyond the largest float64 becomes infinite.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

Pair = tuple[Float[Tensor, "t m"], Float[Tensor, "t m"]]


def gradient_flow(rates: Float[Tensor, " m"], times: Float[Tensor, "t #m"]) -> Pair:
    """Gradient flow: p = exp(-a t)."""
    return torch.exp(-rates * times), -torch.expm1(-rates * times)


def gradient_descent(rates: Float[Tensor, " m"], times: Float[Tensor, "t #m"]) -> Pair:
    """Gradient descent: p = (1 - a)^t for whole t; grows in size when a > 2."""
    log_size = torch.where(rates < 1, torch.log1p(-rates.clamp(max=1)), (rates - 1).abs().log())
    exponent = torch.where(times == 0, 0.0, times * log_size)
    odd = (rates > 1) & (times % 2 == 1)
    kept = torch.where(odd, -1.0, 1.0) * exponent.exp()
    return kept, torch.where(odd, 1 - kept, -torch.expm1(exponent))


def heavy_ball(
    rates: Float[Tensor, " m"], times: Float[Tensor, "t #m"], momentum: float | int
) -> Pair:
    """Gradient descent with heavy-ball momentum mu in (0, 1), started at rest, for whole t.

    p_{t+1} = (1 + mu - a) p_t - mu p_{t-1}, p_0 = p_{-1} = 1, solved by the roots r of
    r^2 - (1 + mu - a) r + mu = 0 (Polyak 1964). Real roots r1, r2 (|r1| >= |r2|) give
    p = r1^t (1 + (1 - r1) q (q^t - 1) / (q - 1)) with q = r2 / r1; a complex pair sqrt(mu) e^{i w}
    gives p = mu^{t/2} (cos tw + (cos w - sqrt(mu)) sin tw / sin w).
    """
    middle = 1 + momentum - rates
    discriminant = (1 - momentum + rates) ** 2 - 4 * rates
    kept, learned = _real_roots(rates, times, momentum, discriminant.clamp(min=0).sqrt(), middle)
    angle = torch.atan2((-discriminant).clamp(min=1e-300).sqrt(), middle)
    radius = math.sqrt(momentum)
    sine = torch.sin(times * angle) / torch.sin(angle)
    turning = torch.cos(times * angle) + (torch.cos(angle) - radius) * sine
    turning = radius**times * turning
    oscillates = discriminant < 0
    return (
        torch.where(oscillates, turning, kept),
        torch.where(oscillates, 1 - turning, learned),
    )


def _real_roots(rates, times, momentum, root, middle) -> Pair:
    positive = middle >= 0
    # 1 - r1, without the cancellation of 1 - (middle + root) / 2 at small rates
    gap = torch.where(positive, 2 * rates / (1 - momentum + rates + root), 1 - (middle - root) / 2)
    direct = (middle.abs() + root).log() - math.log(2)
    log_size = torch.where(gap < 0.5, torch.log1p(-gap.clamp(max=0.5)), direct)
    log_ratio = (math.log(momentum) - 2 * log_size).clamp(max=0)
    series = torch.where(
        log_ratio == 0, times, torch.expm1(times * log_ratio) / torch.expm1(log_ratio)
    )
    overshoot = log_ratio.exp() * gap * series
    odd = ~positive & (times % 2 == 1)
    kept = torch.where(odd, -1.0, 1.0) * (times * log_size).exp() * (1 + overshoot)
    small = -torch.expm1(times * log_size) - (times * log_size).exp() * overshoot
    return kept, torch.where(positive, small, 1 - kept)


def learned_per_rate_at_zero(
    times: Float[Tensor, "t 1"], momentum: float | int
) -> Float[Tensor, "t 1"]:
    """Limit of g / a for a -> 0 in discrete time: t, or with momentum mu

    (t - mu (1 - mu^t) / (1 - mu)) / (1 - mu).
    """
    return (times - momentum * (1 - momentum**times) / (1 - momentum)) / (1 - momentum)


def settling_steps(
    rates: Float[Tensor, " m"], fraction: float, momentum: float
) -> Float[Tensor, " m"]:
    """First whole t from which on |p| <= fraction for good; infinite where that never comes.

    Where the roots are real, |p| falls below `fraction` once (it may rise first, at rates near the
    stability limit), and t is bisected. Oscillating directions are read off step by step, as far as
    the bound |p| <= mu^{t/2} (2 t + 1) allows more than `fraction`.
    """
    high = torch.ones_like(rates)
    for _ in range(200):
        high = torch.where(_residual_size(rates, high, momentum) > fraction, 2 * high, high)
    low = torch.where(high > 1, high / 2, 0.0)
    for _ in range(54):
        middle = ((low + high) / 2).floor()
        above = _residual_size(rates, middle, momentum) > fraction
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    steps = torch.where((rates > 0) & (rates < 2 * (1 + momentum)), high, math.inf)
    if momentum > 0:
        root = math.sqrt(momentum)
        for i in ((rates > (1 - root) ** 2) & (rates < (1 + root) ** 2)).nonzero().flatten():
            steps[i] = _last_above(rates[i], fraction, momentum) + 1
    return steps


def _residual_size(rates: Tensor, times: Tensor, momentum: float) -> Tensor:
    """|p| at one time per rate."""
    if momentum == 0:
        return gradient_descent(rates, times[None])[0][0].abs()
    return heavy_ball(rates, times[None], momentum)[0][0].abs()


def _last_above(rate: Tensor, fraction: float, momentum: float) -> Tensor:
    """Last step at which an oscillating direction keeps more than `fraction`."""
    horizon = 1
    while momentum ** (horizon / 2) * (2 * horizon + 1) > fraction:
        horizon *= 2
    times = torch.arange(horizon, dtype=rate.dtype, device=rate.device)
    kept, _ = heavy_ball(rate[None], times[:, None], momentum)
    return times[kept[:, 0].abs() > fraction].max()
