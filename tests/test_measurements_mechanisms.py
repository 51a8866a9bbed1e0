"""What eigenvalues and eigenvectors of kernels do in training."""

import numpy as np
import torch
from scipy.stats import spearmanr
from study_cases import in_float64, mean_kernel, measured
from torch.func import functional_call

from ntkflow.networks import member


def test_steps_above_the_stable_one_raise_the_loss(networks, data):
    options = dict(factors=[0.95, 1.1, 4.5], steps=60, output_scale=1e4)
    found = measured("stability", networks, data, **options)
    # The softmax of three equal outputs weights the kernel by 1/3, and training bends networks.
    grows = {
        "mse": [False, True, True], "cross_entropy": [False, True, True],
        "unweighted": [False, False, True], "network": [False, False, True],
    }  # fmt: skip
    for case, expected in grows.items():
        assert found[case].shape == (3, 3)
        for growth in found[case]:
            assert (growth > 100).tolist() == expected, case
            np.testing.assert_array_equal(growth[~np.array(expected)], 1, err_msg=case)


def test_permuted_eigenvectors_begin_at_the_same_loss(networks, data):
    found = measured("permuted_eigenvectors", networks, data, steps=[0, 1, 50])
    np.testing.assert_allclose(found["ratio"][:, 0], 1, rtol=1e-10)
    assert (np.abs(found["ratio"][:, 1:] - 1) > 1e-3).all()
    matrix = torch.as_tensor(mean_kernel(networks.network, member(networks.parameters, 1), data))
    x, y, *_ = in_float64(data)
    residual = functional_call(networks.network, member(networks.parameters, 1), (x,)) - y
    step = torch.eye(8) - matrix / torch.linalg.eigvalsh(matrix)[-1]
    left = torch.linalg.matrix_power(step, 50) @ residual
    np.testing.assert_allclose(found["loss"][1, 2], left.square().sum().item() / 8, rtol=1e-9)


def test_residual_modes(networks, data):
    at_start = measured("residual_modes", networks.at(0, networks.start), data, eigenvectors=4)
    np.testing.assert_allclose(at_start["left"], 1)
    np.testing.assert_allclose(at_start["expected"], 1)
    later = measured("residual_modes", networks, data, eigenvectors=4)
    rate = 2 * 0.5 / 8 * later["eigenvalue"]
    np.testing.assert_allclose(later["expected"], (1 - rate) ** 12)
    expected = [
        spearmanr(*pair).statistic for pair in zip(later["eigenvalue"], -later["left"], strict=True)
    ]
    np.testing.assert_allclose(later["order"], expected)


def test_order_of_a_diverged_network_is_unknown(networks, data):
    lost = {name: p.clone() for name, p in networks.parameters.items()}
    for p in lost.values():
        p[1] = torch.nan
    found = measured("residual_modes", networks.at(12, lost), data, eigenvectors=4)["order"]
    assert np.isnan(found).tolist() == [False, True, False]
