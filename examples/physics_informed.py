"""Solve u'' = g by gradient descent, with losses that their tangent kernels balance.

    python examples/physics_informed.py [figure.png]

A physics-informed network u minimises the squares of its residual u'' - g inside an interval and
of u - h at its ends. Each falls at the eigenvalues of a tangent kernel: that of u'', an operator of
the network, and that of u. The first are much the larger and limit the step, so that the ends are
learned late. Losses weighted by the traces of the kernels fall together (Wang, Yu, Perdikaris 2022,
arXiv:2007.14527, section 5).
"""

import sys
from math import pi

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

import ntkflow

STEPS, EVERY = 1000, 20
BLUE, ORANGE = "#0072B2", "#D55E00"
INSIDE = torch.linspace(0, 1, 40, dtype=torch.float64)[:, None]
ENDS = torch.tensor([[0.0], [1.0]], dtype=torch.float64)


def solution(x: Tensor) -> Tensor:
    """The u that is to be found; u'' is -pi^2 sin(pi x)."""
    return 1 + torch.sin(pi * x)


def make_network() -> nn.Sequential:
    """One hidden layer, the same at every call."""
    torch.manual_seed(0)
    layers = nn.Linear(1, 100), nn.Tanh(), nn.Linear(100, 1)
    nn.init.normal_(layers[0].weight, std=2.0)
    return nn.Sequential(*layers).double()


def kernels(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Of u'' inside and of u at the ends."""
    inside = ntkflow.empirical_ntk(network, INSIDE, operator=ntkflow.laplacian, outputs=0)
    return inside.values, ntkflow.empirical_ntk(network, ENDS, outputs=0).values


def train(balance: bool) -> dict[str, list[float]]:
    """Gradient descent at the largest stable step: the root mean squares of what is left."""
    network, found = make_network(), {"steps": [], "inside": [], "ends": []}
    theta = kernels(network)
    sizes = torch.stack([kernel.trace() / len(kernel) for kernel in theta])
    weights = sizes.sum() / sizes if balance else torch.ones(2)
    top = max(
        weight * torch.linalg.eigvalsh(kernel)[-1] / len(kernel)
        for weight, kernel in zip(weights, theta, strict=True)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=(0.5 / top).item())
    for step in range(STEPS + 1):
        residual = ntkflow.laplacian(network, INSIDE) + pi**2 * torch.sin(pi * INSIDE)
        losses = residual.square().mean(), (network(ENDS) - solution(ENDS)).square().mean()
        if step % EVERY == 0:
            values = step, losses[0].sqrt().item(), losses[1].sqrt().item()
            for name, value in zip(found, values, strict=True):
                found[name].append(value)
        optimizer.zero_grad()
        (weights[0] * losses[0] / 2 + weights[1] * losses[1] / 2).backward()
        optimizer.step()
    return found


def draw(plain: dict, balanced: dict, file: str) -> None:
    """Eigenvalues of the two kernels, and both losses with and without weights."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    named = {"u'' inside": BLUE, "u at the ends": ORANGE}
    for kernel, (label, color) in zip(kernels(make_network()), named.items(), strict=True):
        values = torch.linalg.eigvalsh(kernel).flip(0)[:12] / len(kernel)
        left.semilogy(range(1, len(values) + 1), values, "o-", color=color, label=label)
    left.set(xlabel="number of the eigenvalue", ylabel="eigenvalue / rows (no unit)")
    for axes, name in ((middle, "u'' - g inside"), (right, "u - h at the ends")):
        key = name.split()[-1]
        axes.semilogy(plain["steps"], plain[key], color=BLUE, label="equal weights")
        axes.semilogy(balanced["steps"], balanced[key], "--", color=ORANGE, label="balanced")
        axes.set(xlabel="updates", ylabel=f"{name}, rms (no unit)")
    for axes in (left, middle, right):
        axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


if __name__ == "__main__":
    plain, balanced = train(False), train(True)
    for name, found in {"equal weights": plain, "balanced": balanced}.items():
        print(f"{name:13}  inside {found['inside'][-1]:.4f}   ends {found['ends'][-1]:.4f}")
    draw(plain, balanced, sys.argv[1] if len(sys.argv) > 1 else "physics_informed.png")
