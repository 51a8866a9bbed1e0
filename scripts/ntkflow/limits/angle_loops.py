"""Responses of homogeneous activations in one pass over the pairs, where torch makes nine."""

import math
from functools import partial

import numpy as np

from ..compiling import compiled

F = np.float32
_compiled = partial(compiled, fastmath={"contract", "nsz"}, error_model="numpy")


def respond(delta: np.ndarray, odd: float, even: float) -> np.ndarray:
    """E[s' s'] = odd + even (1 - 2 phi/pi) at the angles phi = arccos(1 - delta).

    `delta` becomes the new gap (delta E[s' s'] + (2/pi) even (phi - sin phi)) / (odd + even), which
    is as accurate as its type at small angles too.

    Args:
        delta: in [0, 2], of any shape, contiguous, float32 or float64.
        odd: square of the activation's odd part at 1.
        even: square of its even part.
    """
    kind, total = delta.dtype.type, odd + even
    numbers = total, 4 * even / math.pi, 4 * even / (math.pi * total), 2 / total, math.pi / 2
    slope = np.empty_like(delta)
    loop = _respond_single if kind is F else _respond_double
    loop(delta.reshape(-1), slope.reshape(-1), tuple(map(kind, numbers)))
    return slope


@_compiled
def _respond_single(delta, slope, numbers):
    for i in range(len(delta)):
        slope[i], delta[i] = _finish(delta[i], _series_single(_near(delta[i])), numbers)


@_compiled
def _respond_double(delta, slope, numbers):
    for i in range(len(delta)):
        slope[i], delta[i] = _finish(delta[i], _series_double(_near(delta[i])), numbers)


@_compiled
def _near(delta):
    """s^2, s the sine of the smaller of phi / 2 and (pi - phi) / 2."""
    one, half = type(delta)(1), type(delta)(0.5)
    sine2 = half * delta
    return one - sine2 if sine2 > half else sine2


@_compiled
def _finish(delta, series, numbers):
    """Slope and gap; a small difference of nearly equal numbers is formed from its powers of s."""
    total, bend, relative, twice, quarter = numbers
    one, half = type(delta)(1), type(delta)(0.5)
    near2, sine2 = _near(delta), half * delta
    s, c = np.sqrt(near2), np.sqrt(one - near2)
    angle = s + s * near2 * series
    difference = s * near2 * (series + one / (one + c))  # angle - s c
    if sine2 > half:
        angle = quarter - angle
        difference = angle - s * c
    slope = total - bend * angle
    return slope, relative * difference + twice * (sine2 * slope)


# (asin(s) / s - 1) / s^2 as polynomials in m = s^2 <= 1/2, to the rounding of each type:
# interpolation at Chebyshev's points.


@_compiled
def _series_single(m):
    p = F(0.12755473319085808)
    p = p * m + F(-0.17573577175384458)
    p = p * m + F(0.1432709870001493)
    p = p * m + F(-0.038472487065172284)
    p = p * m + F(0.029778351238303916)
    p = p * m + F(0.02062195944001695)
    p = p * m + F(0.030521241059581684)
    p = p * m + F(0.04463729636002934)
    p = p * m + F(0.07500008523030867)
    return p * m + F(0.1666666664531074)


@_compiled
def _series_double(m):
    p = 1.359066042424514
    p = p * m - 5.7024894521521885
    p = p * m + 11.38375538949475
    p = p * m - 14.134310058365019
    p = p * m + 12.185779191199606
    p = p * m - 7.691454862392319
    p = p * m + 3.6840505900060943
    p = p * m - 1.3511038928399033
    p = p * m + 0.3950194985438559
    p = p * m - 0.0808685129191637
    p = p * m + 0.022590995265603334
    p = p * m + 0.006318894789367857
    p = p * m + 0.009976580516600927
    p = p * m + 0.011535038067185874
    p = p * m + 0.01396579994333858
    p = p * m + 0.017352726024309848
    p = p * m + 0.022372160117263836
    p = p * m + 0.030381944427692806
    p = p * m + 0.044642857143001605
    p = p * m + 0.07499999999999951
    return p * m + 0.16666666666666666
