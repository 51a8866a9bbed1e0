"""Kernel regression with the tangent kernel of a transformer, finite and at infinite width.

    python examples/transformer.py

Sequences of tokens of two kinds; the target is a sine of the share of one kind. One kernel is that
of an encoder of torch's own layers as it is initialised, the other is its limit:
`ntk_parameterization` makes the twin whose widths have one, with scores q.k/d and the same weights
for queries and keys (Hron et al. 2020, arXiv:2006.10540).
"""

from math import pi

import torch
from torch import Tensor, nn

import ntkflow

TRAIN, TEST, LENGTH, WIDTH = 60, 100, 8, 32


class Encoder(nn.Module):
    """A table of tokens, one layer of a transformer, the mean over places, one output."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 2, width, dropout=0.0, batch_first=True)
        self.table, self.read = nn.Embedding(2, width), nn.Linear(width, 1)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T) to (N, 1)."""
        return self.read(self.layers(self.table(tokens)).mean(1))


def sequences(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens (N, T), each kind as likely as the other in the mean, and targets (N, 1)."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 1, generator=generator)
    tokens = (torch.rand(count, LENGTH, generator=generator) < share).long()
    return tokens, torch.sin(2 * pi * tokens.double().mean(1, keepdim=True))


def test_error(gram: Tensor, cross: Tensor, y: Tensor, y_test: Tensor) -> float:
    """Error of ridge regression over the targets' variance, with a ridge of 1e-3 of the trace."""
    ridge = 1e-3 * gram.diagonal().mean().item()
    found = ntkflow.ridge_regression(gram, cross, y, ridge=ridge)
    return ((found - y_test).square().mean() / y_test.var()).item()


def errors() -> dict[str, float]:
    """Relative test errors of both kernels."""
    (x, y), (x_test, y_test) = sequences(TRAIN, 0), sequences(TEST, 1)
    torch.manual_seed(0)
    network = Encoder().double().eval()
    finite = [ntkflow.empirical_ntk(network, rows, x, outputs=0).values for rows in (x, x_test)]
    twin = ntkflow.ntk_parameterization(network, sigma_b=0.1, attention="tied 1/d")
    limit = [ntkflow.limit_kernels(twin, rows, x, only="ntk").ntk for rows in (x, x_test)]
    found = {f"width {WIDTH}": finite, "infinite width": limit}
    return {name: test_error(*kernels, y, y_test) for name, kernels in found.items()}


if __name__ == "__main__":
    for name, error in errors().items():
        print(f"{name:15} {error:.3f} of the variance is left")
