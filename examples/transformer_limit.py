"""Tangent kernels of transformers of growing width, and their limit at infinite width.

    python examples/transformer_limit.py [figure.png]

An encoder of torch's own layers becomes its twin in NTK parameterization under the scaling
"tied 1/d" (Hron et al. 2020, arXiv:2006.10540): scores are q.k/d, with the same weights for queries
and keys. The kernel of one network is off the limit by a random part, of order 1 / sqrt(width), and
the mean of many by what they have in common, of order 1 / width. It takes some minutes.
"""

import sys
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import ntkflow

WIDTHS, SEEDS = (16, 32, 64, 128, 256, 512), 500
ROWS, TOKENS, FEATURES, OUTPUTS, LAYERS = 6, 8, 5, 8, 2
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.6"


class Encoder(nn.Module):
    """Dense layer on every token, layers of a transformer, mean over tokens, outputs."""

    def __init__(self, width: int):
        super().__init__()
        options = dict(dropout=0.0, batch_first=True)
        layer = nn.TransformerEncoderLayer(width, 1, width, **options)
        self.embed, self.read = nn.Linear(FEATURES, width), nn.Linear(width, OUTPUTS)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences (N, T, features) to (N, O)."""
        return self.read(self.layers(self.embed(x)).mean(1))


def make_network(width: int) -> nn.Module:
    """The encoder in NTK parameterization."""
    options = dict(attention="tied 1/d", sigma_b=0.1)
    return ntkflow.ntk_parameterization(Encoder(width).double(), **options)


class Distances(NamedTuple):
    """Of a width, relative to the limit's norm; the mean's is squared, with its standard error."""

    width: int
    single: float
    mean_square: float
    error: float

    def mean(self) -> tuple[float, float, float]:
        """Distance of the mean kernel and a 95 % interval."""
        squares = (self.mean_square + k * 1.96 * self.error for k in (0, -1, 1))
        return tuple(max(0.0, square) ** 0.5 for square in squares)


def distances(width: int, kernels: Tensor, limit: Tensor) -> Distances:
    """How far kernels (S, N, N) of independent networks and their mean are from the limit.

    Products of the deviations of two different networks have the squared distance of the mean as
    their expectation, without the noise of few networks, so that their mean may be negative. Its
    error is by leaving out one network at a time.
    """
    off = ((kernels - limit) / limit.norm()).flatten(1)
    products = off @ off.T
    count, squares = len(products), products.diagonal()
    total, beside = products.sum() - squares.sum(), products.sum(1) - squares
    without = (total - 2 * beside) / ((count - 1) * (count - 2))
    error = (without.var(correction=0) * (count - 1)).sqrt()
    single, square = squares.mean().sqrt(), total / (count * (count - 1))
    return Distances(width, single.item(), square.item(), error.item())


def measure(widths: tuple[int, ...] = WIDTHS, seeds: int = SEEDS) -> list[Distances]:
    """Distances at every width, of as many networks."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, TOKENS, FEATURES, dtype=torch.float64, generator=generator)
    limit = ntkflow.limit_kernels(make_network(widths[0]), x).ntk
    found = []
    for width in widths:
        network, kernels = make_network(width), []
        for seed in range(seeds):
            drawn = ntkflow.draw_parameters(network, seeds=[seed])
            first = {name: weights[0] for name, weights in drawn.items()}
            kernel = ntkflow.empirical_ntk(network, x, parameters=first, outputs="trace")
            kernels.append(kernel.values / OUTPUTS)
        found.append(distances(width, torch.stack(kernels), limit))
    return found


def table(found: list[Distances]) -> str:
    """One line a width."""
    lines = ["width   one network   mean of all   95 % interval"]
    for each in found:
        mean, low, high = each.mean()
        lines.append(
            f"{each.width:5}   {each.single:11.4f}   {mean:11.4f}   {low:.4f} to {high:.4f}"
        )
    return "\n".join(lines)


def draw(found: list[Distances], file: str) -> None:
    """Both distances against the width, with lines of the orders that theory expects."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    widths = torch.tensor([float(each.width) for each in found])
    single = torch.tensor([each.single for each in found])
    mean, low, high = torch.tensor([each.mean() for each in found]).T
    seen = low > 0
    ends = torch.cat([single, torch.where(seen, low, high / 2)])
    for values, order, style, name in (
        (single, -0.5, "--", r"width$^{-1/2}$"),
        (mean, -1.0, ":", r"width$^{-1}$"),
    ):
        line = values[0] * (widths / widths[0]) ** order
        axes.plot(widths, line, style, color=GREY, label=name)
    axes.plot(widths, single, "o", color=BLUE, label="one network (root mean square)")
    bars = torch.stack([mean - low, high - mean])[:, seen]
    axes.errorbar(
        widths[seen], mean[seen], bars, fmt="s", color=ORANGE, capsize=3, label="mean kernel, 95 %"
    )
    if not seen.all():
        bars = dict(yerr=high[~seen] / 2, uplims=True, fmt="_", color=ORANGE, capsize=3)
        axes.errorbar(widths[~seen], high[~seen], label="mean kernel, upper end of 95 %", **bars)
    axes.set(xscale="log", yscale="log", ylim=(0.7 * ends[ends > 0].min().item(), None))
    axes.set_xticks(widths.tolist(), [str(each.width) for each in found], minor=False)
    axes.set_xticks([], minor=True)
    axes.set(xlabel="width (channels)", ylabel="distance of the NTK from its limit (no unit)")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    found = measure()
    print(table(found))
    draw(found, sys.argv[1] if len(sys.argv) > 1 else "transformer_limit.png")
