"""Make activation_references.json: moments of piecewise activations by mpmath, to twenty digits.

E[s(u) s(v)] is an integral over u of s(u) E[s(v) | u], split at the kinks and where E[s(v) | u]
passes one; E[s(v) | u] is a truncated moment of a Gaussian, for pieces of polynomials and
exponentials. Each case is q, q', angle, E[s s], E[s' s'], the gap, E[s] and E[s'] at q. Takes
a quarter of an hour; arguments name the activations to make.
"""

import functools
import itertools
import json
import sys
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 32
REACH = 12
INF = mp.inf
SELU = (mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717"))
# Pieces (from, to, (c0, c1, c2), A, rate): c0 + c1 x + c2 x^2 + A exp(rate x) there.
ZERO = (0, 0, 0)
LINE = (0, 1, 0)
PIECES = {
    "elu": [(-INF, 0, (-1, 0, 0), 1, 1), (0, INF, LINE, 0, 0)],
    "elu_alpha": [(-INF, 0, (-mp.mpf(1) / 2, 0, 0), mp.mpf(1) / 2, 1), (0, INF, LINE, 0, 0)],
    "celu": [(-INF, 0, (-2, 0, 0), 2, mp.mpf(1) / 2), (0, INF, LINE, 0, 0)],
    "selu": [
        (-INF, 0, (-SELU[0] * SELU[1], 0, 0), SELU[0] * SELU[1], 1),
        (0, INF, (0, SELU[0], 0), 0, 0),
    ],
    "hardtanh": [(-INF, -1, (-1, 0, 0), 0, 0), (-1, 1, LINE, 0, 0), (1, INF, (1, 0, 0), 0, 0)],
    "hardtanh_options": [
        (-INF, -0.5, (-0.5, 0, 0), 0, 0),
        (-0.5, 2, LINE, 0, 0),
        (2, INF, (2, 0, 0), 0, 0),
    ],
    "relu6": [(-INF, 0, ZERO, 0, 0), (0, 6, LINE, 0, 0), (6, INF, (6, 0, 0), 0, 0)],
    "hardsigmoid": [
        (-INF, -3, ZERO, 0, 0),
        (-3, 3, (mp.mpf(1) / 2, mp.mpf(1) / 6, 0), 0, 0),
        (3, INF, (1, 0, 0), 0, 0),
    ],
    "hardswish": [
        (-INF, -3, ZERO, 0, 0),
        (-3, 3, (0, mp.mpf(1) / 2, mp.mpf(1) / 6), 0, 0),
        (3, INF, LINE, 0, 0),
    ],
    "hardshrink": [(-INF, -0.5, LINE, 0, 0), (-0.5, 0.5, ZERO, 0, 0), (0.5, INF, LINE, 0, 0)],
    "softshrink": [
        (-INF, -0.5, (0.5, 1, 0), 0, 0),
        (-0.5, 0.5, ZERO, 0, 0),
        (0.5, INF, (-0.5, 1, 0), 0, 0),
    ],
    "threshold": [(-INF, 0.25, (2, 0, 0), 0, 0), (0.25, INF, LINE, 0, 0)],
    "sign": [(-INF, 0, (-1, 0, 0), 0, 0), (0, INF, (1, 0, 0), 0, 0)],
}
ANGLES = ["1e-8", "1e-6", "1e-4", "1e-2", "0.3", "1.2", "1.9", "3", "3.1415"]
SIZES = [(1, 1), (0.25, 2.5), (2, 2.000001), (9, 4), (1e-6, 1e-6), (1e-6, 1), (1e4, 1e4), (1e4, 50)]


def density(z):
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def piece_at(pieces, x):
    return next(piece for piece in pieces if x < piece[1])


def value_at(pieces, x):
    _, _, (c0, c1, c2), amplitude, rate = piece_at(pieces, x)
    return c0 + x * (c1 + x * c2) + (amplitude * mp.exp(rate * x) if amplitude else 0)


def slopes(pieces):
    """Pieces of the derivative."""
    return [(a, b, (c1, 2 * c2, 0), amp * rate, rate) for a, b, (_, c1, c2), amp, rate in pieces]


def share(low, high):
    """P(low < z < high) without cancellation."""
    return mp.ncdf(high) - mp.ncdf(low) if low < 0 else mp.ncdf(-low) - mp.ncdf(-high)


def smoothed(pieces, m, t):
    """E[s(m + t z)]."""
    total = mp.mpf(0)
    for low, high, (c0, c1, c2), amplitude, rate in pieces:
        a, b = (low - m) / t, (high - m) / t
        inside, fa, fb = share(a, b), density(a), density(b)
        first = fa - fb
        second = inside + (a * fa if low > -INF else 0) - (b * fb if high < INF else 0)
        total += (c0 + c1 * m + c2 * m * m) * inside
        total += t * (c1 + 2 * c2 * m) * first + c2 * t * t * second
        if amplitude:
            tilt = mp.exp(rate * m + (rate * t) ** 2 / 2)
            total += amplitude * tilt * share(a - rate * t, b - rate * t)
    return total


def ends(kinks, sigma, others):
    """Ends of panels in standard deviations."""
    inner = [k / sigma + step / sigma for k in kinks for step in (-30, -8, -2, 0, 2, 8, 30)]
    inner = [end for end in inner + others if -REACH < end < REACH]
    return sorted({mp.mpf(end) for end in [-REACH, -4, 0, 4, REACH, *inner]})


@functools.cache
def legendre(count):
    """Nodes and weights of the Gauss-Legendre rule on [-1, 1]."""
    rule = []
    for start in np.polynomial.legendre.leggauss(count)[0]:
        x = mp.mpf(start)
        for _ in range(3):
            below, at = mp.mpf(1), x
            for k in range(1, count):
                below, at = at, ((2 * k + 1) * x * at - k * below) / (k + 1)
            slope = count * (x * at - below) / (x * x - 1)
            x -= at / slope
        rule.append((x, 2 / ((1 - x * x) * slope**2)))
    return rule


def integrate(function, edges, count=32):
    total = mp.mpf(0)
    for a, b in itertools.pairwise(edges):
        half, middle = (b - a) / 2, (a + b) / 2
        total += half * mp.fsum(w * function(middle + half * x) for x, w in legendre(count))
    return total


def moment(pieces, q1, q2, angle):
    """E[s(u) s(v)]."""
    kinks, (s1, s2) = [p[0] for p in pieces[1:]], (mp.sqrt(q1), mp.sqrt(q2))
    cosine, sine = mp.cos(angle), mp.sin(angle)
    steps = (-12, -6, -3, -1, 0, 1, 3, 6, 12)
    others = [k / (s2 * cosine) + step * abs(sine / cosine) for k in kinks for step in steps]
    others += [(k + step) / (s2 * cosine) for k in kinks for step in (-8, -2, 2, 8)]
    return integrate(
        lambda z: (
            density(z) * value_at(pieces, s1 * z) * smoothed(pieces, s2 * cosine * z, s2 * sine)
        ),
        ends(kinks, s1, others),
    )


def row(pieces, q, power=1):
    sigma, kinks = mp.sqrt(q), [p[0] for p in pieces[1:]]
    return integrate(
        lambda z: density(z) * value_at(pieces, sigma * z) ** power, ends(kinks, sigma, [])
    )


def piecewise_case(pieces, q1, q2, angle):
    q1, q2, angle = mp.mpf(q1), mp.mpf(q2), mp.mpf(angle)
    value, slope = (moment(p, q1, q2, angle) for p in (pieces, slopes(pieces)))
    root = mp.sqrt(row(pieces, q1, 2) * row(pieces, q2, 2))
    mean, slope_mean = row(pieces, q1), row(slopes(pieces), q1)
    return value, slope, (1 - value / root if root else mp.mpf(0)), mean, slope_mean


def main():
    path = Path(__file__).with_suffix(".json")
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in sys.argv[1:] or PIECES:
        results[name] = [
            [q1, q2, float(angle), *(float(mp.nstr(x, 20)) for x in case)]
            for q1, q2 in SIZES
            for angle in ANGLES
            for case in [piecewise_case(PIECES[name], q1, q2, angle)]
        ]
        text = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in results.items())
        path.write_text("{\n" + text + "\n}\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
