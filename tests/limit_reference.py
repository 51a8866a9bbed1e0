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
