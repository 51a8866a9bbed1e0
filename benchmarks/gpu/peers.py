"""How others compute the same: torch.func as in its tutorial on neural tangent kernels, and plain.

https://docs.pytorch.org/tutorials/intermediate/neural_tangent_kernels.html
"""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp, vjp, vmap


def contraction(network: nn.Module, x: Tensor, trace: bool = False) -> Tensor:
    """Block kernel (N, N, O, O): Jacobians of all rows, contracted parameter by parameter.

    Or the trace (N, N) over equal outputs.
    """
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def single(parameters, row):
        return functional_call(network, parameters, (row[None],))[0]

    jacobians = vmap(jacrev(single), (None, 0))(parameters, x).values()
    rule = "Naf,Maf->NM" if trace else "Naf,Mbf->NMab"
    return sum(torch.einsum(rule, each, each) for each in (j.flatten(2) for j in jacobians))


def products(network: nn.Module, x: Tensor, trace: bool = False) -> Tensor:
    """Block kernel (N, N, O, O): a vector-Jacobian and a Jacobian-vector product for each entry.

    Or the trace (N, N) over equal outputs.
    """
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def single(parameters, row):
        return functional_call(network, parameters, (row[None],))[0]

    def pair(row, other):
        outputs, pull = vjp(lambda p: single(p, row), parameters)

        def column(unit):
            return jvp(lambda p: single(p, other), (parameters,), pull(unit))[1]

        return vmap(column)(torch.eye(len(outputs), dtype=outputs.dtype, device=outputs.device))

    block = vmap(vmap(pair, (None, 0)), (0, None))(x, x)
    return torch.einsum("NMKK->NM", block) if trace else block


def relu_recursion(x: Tensor, depth: int, sigma_w: float, sigma_b: float) -> Tensor:
    """Limit NTK of a ReLU network, arc-cosine formulas on whole matrices (Cho, Saul 2009)."""
    covariance = sigma_w**2 * x @ x.T / x.shape[1] + sigma_b**2
    tangent = covariance
    for _ in range(depth):
        size = covariance.diagonal().sqrt()
        scale = size[:, None] * size
        cosine = (covariance / scale).clamp(-1, 1)
        angle = math.pi - torch.arccos(cosine)
        mean = scale * ((1 - cosine**2).sqrt() + angle * cosine) / (2 * math.pi)
        covariance = sigma_w**2 * mean + sigma_b**2
        tangent = covariance + tangent * sigma_w**2 * angle / (2 * math.pi)
    return tangent
