"""Time and memory of three ways to a block kernel: a loop, torch.func, and layer by layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from ntkflow.empirical import empirical_ntk

from ..data.inputs import load_training_set
from ..data.storage import Array, StageFile
from .members import Ensemble
from .spectrum_cost import measure_cost


def kernel_cost(entry: Mapping[str, Any], ensemble: Ensemble, data: StageFile) -> dict[str, Array]:
    """Seconds and bytes of each way on the training inputs.

    Bytes are those that the process holds at most, beyond what it held before.
    """
    x, _ = load_training_set(data, **ensemble.where)
    ways = {"loop": loop_kernel, "vmap": vmap_kernel, "layerwise": _layerwise}
    rows = []
    for one in ensemble.members():
        row = []
        for way in ways.values():
            way(ensemble.network, one.parameters, x[:1])  # first calls load code
            _, seconds, size = measure_cost(
                lambda way=way, one=one: way(ensemble.network, one.parameters, x)
            )
            row += [seconds, size]
        shares = row[0] / row[2], row[0] / row[4], row[3] / len(x), row[5] / row[3]
        rows.append([*row, *shares])
    columns = [(f"{way}_{what}", what) for way in ways for what in ("seconds", "bytes")]
    columns += [
        ("vmap_speedup", "loop_seconds / vmap_seconds"),
        ("layerwise_speedup", "loop_seconds / layerwise_seconds"),
        ("vmap_bytes_per_image", "vmap_bytes over the number of images"),
        ("layerwise_share", "layerwise_bytes / vmap_bytes"),
    ]
    return {
        f"kernel_cost/{name}": Array(values, ["seed"], unit)
        for (name, unit), values in zip(columns, np.array(rows).T, strict=True)
    }


def loop_kernel(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Block kernel (O, O, N, N) as first written down: a gradient per image and output.

    Theta[o, o', n, n'] = <df_o(x_n)/dtheta, df_o'(x_n')/dtheta> from a loop over images and
    outputs, whose rows of the Jacobian are kept.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    rows = []
    with torch.enable_grad():
        for one in x:
            outputs = functional_call(network, leaves, (one[None],))[0]
            for output in outputs:
                parts = torch.autograd.grad(output, list(leaves.values()), retain_graph=True)
                rows.append(torch.cat([part.flatten() for part in parts]))
    jacobian = torch.stack(rows)
    return _as_block(jacobian @ jacobian.T, len(x))


def vmap_kernel(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    """Block kernel (O, O, N, N) from the Jacobian of all images at once: vmap over jacrev.

    The Jacobian holds N x O x P numbers, P the number of parameters.
    """

    def outputs(p: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(network, p, (one[None],))[0]

    jacobian = vmap(jacrev(outputs), (None, 0))(parameters, x)
    rows = [part.flatten(2).flatten(0, 1) for part in jacobian.values()]
    return _as_block(sum(row @ row.T for row in rows), len(x))


def _as_block(gram: Tensor, count: int) -> Tensor:
    """From rows image by image to (O, O, N, N)."""
    return gram.reshape(count, -1, count, len(gram) // count).permute(1, 3, 0, 2)


def _layerwise(network: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    return empirical_ntk(network, x, parameters=parameters).values
