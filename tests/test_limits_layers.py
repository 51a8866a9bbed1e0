"""Limit kernels of further layers, attention and recurrence against references."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from limit_layers import Recurrent, network_of

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
