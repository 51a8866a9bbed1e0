"""Naive twins of the limit kernels: mpmath with 50 digits, and one pixel pair at a time."""

import math

import mpmath
import torch
from mpmath import mp

mp.dps = 50


def relu_moments(q1, q2, s):
    """E[relu relu] and E[relu' relu'] with 50 digits."""
    root = mp.sqrt(q1 * q2)
    if not root:
        return mp.mpf(0), mp.mpf(0)
    rho = min(mp.mpf(1), max(mp.mpf(-1), s / root))
    phi = mp.acos(rho)
    value = root * (mp.sin(phi) + (mp.pi - phi) * rho) / (2 * mp.pi)
    return value, (mp.pi - phi) / (2 * mp.pi)


def abs_moments(q1, q2, s):
    """E[|u v|] and E[sign sign] with 50 digits."""
    root = mp.sqrt(q1 * q2)
    rho = min(mp.mpf(1), max(mp.mpf(-1), s / root))
    slope = 2 * mp.asin(rho) / mp.pi
    return 2 * root / mp.pi * (mp.sqrt(1 - rho**2) + rho * mp.asin(rho)), slope


def erf_moments(q1, q2, s):
    """E[erf erf] and E[erf' erf'] with 50 digits."""
    det = (1 + 2 * q1) * (1 + 2 * q2)
    return 2 / mp.pi * mp.asin(2 * s / mp.sqrt(det)), 4 / mp.pi / mp.sqrt(det - 4 * s * s)


def dense_kernels(x1, x2, *, layers, sigma_w, sigma_b, moments):
    """(NNGP, NTK) of one pair of inputs for a net with `layers` dense layers, as mpf."""
    sw2, sb2 = mp.mpf(sigma_w) ** 2, mp.mpf(sigma_b) ** 2
    a, b = [mp.mpf(float(v)) for v in x1], [mp.mpf(float(v)) for v in x2]
    q1, q2, s = (
        sw2 * mpmath.fsum(map(mp.fmul, u, v)) / len(a) + sb2 for u, v in ((a, a), (b, b), (a, b))
    )
    theta = s
    for _ in range(layers - 1):
        value, slope = moments(q1, q2, s)
        q1, q2 = (sw2 * moments(q, q, q)[0] + sb2 for q in (q1, q2))
        s = sw2 * value + sb2
        theta = sw2 * slope * theta + s
    return s, theta


def conv_kernels(x1, x2, *, filters, padding, head, sigma_w, sigma_b):
    """(NNGP, NTK) of one pair of images for a ReLU net, all pixel pairs, in plain loops."""
    pairs = {"11": (x1, x1), "22": (x2, x2), "12": (x1, x2)}
    k = {name: torch.einsum("chw,cij->hwij", u, v) / len(u) for name, (u, v) in pairs.items()}
    theta = torch.zeros_like(k["12"])
    for layer, size in enumerate(filters):
        if layer:
            k, slope = _relu_maps(k)
            theta = theta * slope
        k = {n: sigma_w**2 * _filter(v, size, padding) + sigma_b**2 for n, v in k.items()}
        theta = sigma_w**2 * _filter(theta, size, padding) + k["12"]
    k, slope = _relu_maps(k)
    mean = torch.mean if head == "gap" else _equal_pixels
    value = sigma_w**2 * mean(k["12"]) + sigma_b**2
    return value, sigma_w**2 * mean(theta * slope) + value


def _relu_maps(k):
    """The ReLU map on all pixel pairs; variances are the equal pixels of the own kernels."""
    own = {n: torch.einsum("hwhw->hw", k[n + n]) for n in "12"}
    result = {}
    for name, kernel in k.items():
        root = (own[name[0]][:, :, None, None] * own[name[1]]).sqrt()
        phi = torch.acos((kernel / root).clamp(-1, 1))
        result[name] = root * (phi.sin() + (math.pi - phi) * phi.cos()) / (2 * math.pi)
    phi = torch.acos((k["12"] / (own["1"][:, :, None, None] * own["2"]).sqrt()).clamp(-1, 1))
    return result, (math.pi - phi) / (2 * math.pi)


def _filter(kernel, size, padding):
    """Mean over the diagonal shifts, one entry at a time, zeros outside."""
    h, w = kernel.shape[:2]
    pad = size // 2 if padding == "same" else 0
    out_h, out_w = h + 2 * pad - size + 1, w + 2 * pad - size + 1
    out = torch.zeros(out_h, out_w, out_h, out_w, dtype=kernel.dtype)
    for dy in range(-pad, size - pad):
        for dx in range(-pad, size - pad):
            for a in range(max(0, -dy), min(out_h, h - dy)):
                for b in range(max(0, -dx), min(out_w, w - dx)):
                    rows = slice(max(0, -dy), min(out_h, h - dy))
                    cols = slice(max(0, -dx), min(out_w, w - dx))
                    shifted = kernel[a + dy, b + dx, rows.start + dy : rows.stop + dy]
                    out[a, b, rows, cols] += shifted[:, cols.start + dx : cols.stop + dx]
    return out / size**2


def _equal_pixels(kernel):
    return torch.einsum("hwhw->hw", kernel).mean()


def inner(u, v):
    """Mean of products of two vectors, as mpf."""
    numbers = [mp.mpf(float(a)) * mp.mpf(float(b)) for a, b in zip(u, v, strict=True)]
    return mpmath.fsum(numbers) / len(numbers)


def normed_kernels(x1, x2, *, order, layers, sigma_w, sigma_b, eps):
    """(NNGP, NTK) of one pair for layers that are "norm", "relu norm" or "norm relu"."""
    sw2, sb2 = mp.mpf(sigma_w) ** 2, mp.mpf(sigma_b) ** 2
    q1, q2, s = (sw2 * inner(u, v) + sb2 for u, v in ((x1, x1), (x2, x2), (x1, x2)))
    theta = s
    for _ in range(layers):
        mean1 = mean2 = mp.mpf(0)
        for step in order.split():
            if step == "relu":
                value, slope = relu_moments(q1, q2, s)
                mean1, mean2 = (mp.sqrt(q / (2 * mp.pi)) for q in (q1, q2))
                q1, q2, s, theta = q1 / 2, q2 / 2, value, theta * slope
            else:
                v1, v2 = q1 - mean1**2, q2 - mean2**2
                scale = 1 / mp.sqrt((v1 + mp.mpf(eps)) * (v2 + mp.mpf(eps)))
                s, theta = (s - mean1 * mean2) * scale, theta * scale
                q1, q2 = v1 / (v1 + mp.mpf(eps)), v2 / (v2 + mp.mpf(eps))
        q1, q2, s = (sw2 * k + sb2 for k in (q1, q2, s))
        theta = sw2 * theta + s
    return s, theta


def recurrent_kernels(x1, x2, *, head, sigma_w, sigma_u, sigma_b, moments):
    """(NNGP, NTK) of one pair of sequences for tied weights, read out at the last step or all."""
    sw2, su2, sb2 = (mp.mpf(each) ** 2 for each in (sigma_w, sigma_u, sigma_b))
    steps = range(len(x1))

    def own(x, t):
        """Variance at one step."""
        return su2 * inner(x[t], x[t]) + sb2 + (sw2 * moments(*[own(x, t - 1)] * 3)[0] if t else 0)

    q1, q2 = [own(x1, t) for t in steps], [own(x2, t) for t in steps]
    values, thetas = {}, {}
    for t in steps:
        for r in steps:
            k = theta = su2 * inner(x1[t], x2[r]) + sb2
            if t and r:
                value, inside = values[t - 1, r - 1], thetas[t - 1, r - 1]
                k, theta = k + sw2 * value, theta + sw2 * (value + inside)
            values[t, r], slope = moments(q1[t], q2[r], k)
            thetas[t, r] = theta * slope
    read = [(steps[-1], steps[-1])] if head == "last" else list(values)
    value, theta = (mpmath.fsum(a[pair] for pair in read) / len(read) for a in (values, thetas))
    return sw2 * value + sb2, sw2 * (value + theta) + sb2


def attention_kernels(x1, x2, *, sigma_w, sigma_qk, sigma_v, sigma_o, sigma_b, sigma_b_o):
    """(NNGP, NTK) of one pair: dense, attention with softmax of tied scores / d, relu, mean."""
    sw2, sq2, sv2, so2 = (mp.mpf(s) ** 2 for s in (sigma_w, sigma_qk, sigma_v, sigma_o))
    sb2, sbo2 = mp.mpf(sigma_b) ** 2, mp.mpf(sigma_b_o) ** 2

    def gram(u, v):
        return mpmath.matrix([[sw2 * inner(a, b) + sb2 for b in v] for a in u])

    def weights(x):
        rows = (sq2 * gram(x, x)).tolist()
        exps = [[mp.exp(a) for a in row] for row in rows]
        return mpmath.matrix([[e / mpmath.fsum(row) for e in row] for row in exps])

    def mixed(u, v):
        return weights(u) * gram(u, v) * weights(v).T * (sv2 * so2)

    k, steps = mixed(x1, x2), range(len(x1))
    q1, q2 = ([m[t, t] + sbo2 for t in steps] for m in (mixed(x1, x1), mixed(x2, x2)))
    found = [
        (*relu_moments(q1[t], q2[r], k[t, r] + sbo2), 3 * k[t, r] + sbo2)
        for t in steps
        for r in steps
    ]
    value = mpmath.fsum(v for v, *_ in found) / len(found)
    theta = mpmath.fsum(slope * inside for _, slope, inside in found) / len(found)
    return sw2 * value + sb2, sw2 * (value + theta) + sb2
