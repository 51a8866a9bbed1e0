"""Compiled loops of the arc engine: what one neuron after the other adds to outputs and gradients.

Weights are [w_1; w_2; b; a] (S, 4, n); `turns` holds two turns of the samples in order of their
angles, between the one before and the one after; `ranges` (S, 2, n) holds for every neuron where
its active samples begin and how many they are.
"""

import numpy as np

from ..compiling import compiled


@compiled
def _is_active(w1, w2, b, turns, i):
    return w1 * turns[i, 0] + w2 * turns[i, 1] + b * turns[i, 2] > 0


@compiled
def is_range(w1, w2, b, turns, begin, length):
    """Whether just the samples from `begin` on, `length` of them, are active; not all or none."""
    begin, end = np.uint64(begin), np.uint64(begin + length)  # unsigned indices are not wrapped
    return (
        (length > 0)
        & (not _is_active(w1, w2, b, turns, begin))
        & _is_active(w1, w2, b, turns, begin + 1)
        & _is_active(w1, w2, b, turns, end)
        & (not _is_active(w1, w2, b, turns, end + 1))
    )


@compiled
def _search(w1, w2, b, turns):
    """Begin and length of the active range, looking at every sample."""
    m, length = len(turns) // 2 - 1, 0
    for i in range(1, m + 1):
        length += _is_active(w1, w2, b, turns, i)
    begin = 0
    if 0 < length < m:
        while _is_active(w1, w2, b, turns, begin) or not _is_active(w1, w2, b, turns, begin + 1):
            begin += 1
    return begin, length


@compiled
def walk(w1, w2, b, turns, begin, length):
    """Begin and length of the active range, from a range that shared samples with it."""
    m = len(turns) // 2 - 1
    while length > 0 and not _is_active(w1, w2, b, turns, begin + 1):
        begin, length = begin + 1, length - 1
    while length > 0 and not _is_active(w1, w2, b, turns, begin + length):
        length -= 1
    begin %= m
    while length < m and _is_active(w1, w2, b, turns, begin):
        begin, length = begin - 1 if begin > 0 else m - 1, length + 1
    while length < m and _is_active(w1, w2, b, turns, begin + length + 1):
        length += 1
    return (begin, length) if 0 < length < m else _search(w1, w2, b, turns)


@compiled
def forward(weights, bias, ranges, turns, order, scales, outputs):
    """Outputs of every network; moves the ranges."""
    seeds, _, width = weights.shape
    m = len(order)
    steps = np.empty((2 * m + 1, 3))
    for s in range(seeds):
        steps[:] = 0
        for j in range(width):
            w1, w2, w3, a = weights[s, 0, j], weights[s, 1, j], weights[s, 2, j], weights[s, 3, j]
            begin, length = ranges[s, 0, j], ranges[s, 1, j]
            if not is_range(w1, w2, w3, turns, begin, length):
                begin, length = walk(w1, w2, w3, turns, begin, length)
                ranges[s, 0, j], ranges[s, 1, j] = begin, length
            end = begin + length
            steps[begin, 0] += w1 * a
            steps[begin, 1] += w2 * a
            steps[begin, 2] += w3 * a
            steps[end, 0] -= w1 * a
            steps[end, 1] -= w2 * a
            steps[end, 2] -= w3 * a
        for i in range(1, 2 * m):
            for k in range(3):
                steps[i, k] += steps[i - 1, k]
        for i in range(m):
            h = 0.0
            for k in range(3):
                h += (steps[i, k] + steps[i + m, k]) * turns[i + 1, k]
            outputs[s, order[i], 0] = scales[0] * h + scales[1] * bias[s]


@compiled
def pull_back(
    weights, bias, ranges, turns, order, scales, cotangent, factor, into_weights, into_bias
):
    """Add `factor` times the gradient of sum(cotangent * outputs); `into` may be the parameters."""
    seeds, _, width = weights.shape
    m = len(order)
    sums = np.zeros((2 * m + 1, 3))
    for s in range(seeds):
        total = 0.0
        for i in range(2 * m):
            g = factor * cotangent[s, order[i % m], 0]
            total += g
            for k in range(3):
                sums[i + 1, k] = sums[i, k] + scales[0] * g * turns[i + 1, k]
        into_bias[s] += scales[1] * total / 2
        for j in range(width):
            begin, a = ranges[s, 0, j], weights[s, 3, j]
            end = begin + ranges[s, 1, j]
            arc1 = sums[end, 0] - sums[begin, 0]
            arc2 = sums[end, 1] - sums[begin, 1]
            arc3 = sums[end, 2] - sums[begin, 2]
            into_weights[s, 3, j] += (
                weights[s, 0, j] * arc1 + weights[s, 1, j] * arc2 + weights[s, 2, j] * arc3
            )
            into_weights[s, 0, j] += a * arc1
            into_weights[s, 1, j] += a * arc2
            into_weights[s, 2, j] += a * arc3
