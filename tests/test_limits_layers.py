"""Limit kernels of further layers, attention and recurrence against references."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from limit_layers import Recurrent, network_of
from limit_networks import Net, dense, vectors
from torch import nn

from ntkflow import Dense
from ntkflow.limits import limit_kernels

ORACLE = Path(__file__).parent / "data" / "oracle"
FILES = sorted(path.name for path in ORACLE.glob("layers_*.npz"))


@pytest.mark.parametrize("name", FILES)
def test_reference_kernels(name):
    data = np.load(ORACLE / name)
    spec = json.loads(str(data["spec"]))
    x1, x2 = torch.tensor(data["x1"]), torch.tensor(data["x2"])
    recurrent = spec["kind"] == "rnn"
    network = Recurrent(spec, x1.shape[-1]) if recurrent else network_of(spec)
    own, cross = limit_kernels(network, x1), limit_kernels(network, x2, x1)
    off_diagonal = ~torch.eye(len(x1), dtype=torch.bool)
    tolerances = dict(rtol=1e-9, atol=1e-12)
    for kernel in ("nngp", "ntk"):
        value, expected = getattr(own, kernel), torch.tensor(data[f"{kernel}_11"])
        torch.testing.assert_close(value[off_diagonal], expected[off_diagonal], **tolerances)
        torch.testing.assert_close(value.diagonal(), expected.diagonal(), rtol=2e-8, atol=0)
        torch.testing.assert_close(
            getattr(cross, kernel), torch.tensor(data[f"{kernel}_21"]), **tolerances
        )


def test_shared_weights_on_values_without_common_ones_are_like_two_layers():
    def limit(count):
        layers = [Dense(16, 16, sigma_w=1.3, dtype=torch.float64) for _ in range(count)]
        network = Net(
            lambda m, x: m.last(
                torch.relu(layers[0](m.first(x))) + torch.relu(layers[-1](m.other(x)))
            ),
            first=dense(6, 16),
            other=dense(6, 16),
            last=dense(16, 1),
            layers=nn.ModuleList(layers),
        )
        return limit_kernels(network, vectors())

    for shared, apart in zip(limit(1), limit(2), strict=True):
        torch.testing.assert_close(shared, apart)
