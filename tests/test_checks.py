"""Arguments that are no tensors: every function of the library names them."""

import numpy as np
import pytest
import torch
from descents import descent

import ntkflow
from ntkflow.errors import ConfigurationError

pytestmark = pytest.mark.usefixtures("unchecked_types")

NETWORK, X = ntkflow.mlp(3, [4]), torch.ones(2, 3)
START = ntkflow.draw_parameters(NETWORK, seeds=[0])
ARRAY, GRAM = np.ones((2, 3)), torch.eye(2)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("x1", lambda: ntkflow.empirical_ntk(NETWORK, ARRAY)),
        ("x2", lambda: ntkflow.empirical_ntk(NETWORK, X, ARRAY)),
        ("x1", lambda: ntkflow.ntk_operator(NETWORK, ARRAY)),
        ("x1", lambda: ntkflow.limit_kernels(NETWORK, ARRAY)),
        ("x2", lambda: ntkflow.limit_kernels(NETWORK, X, ARRAY)),
        ("x1", lambda: ntkflow.monte_carlo_kernels(lambda width: NETWORK, ARRAY)),
        (
            "y",
            lambda: ntkflow.train_ensemble(NETWORK, START, X, ARRAY, **descent(0.1, 1)),
        ),
        ("kernel", lambda: ntkflow.TrainingDynamics(ARRAY, learning_rate=0.1)),
        ("cross_gram", lambda: ntkflow.ridge_regression(GRAM, ARRAY, X)),
        ("targets", lambda: ntkflow.ridge_regression(GRAM, GRAM, ARRAY)),
    ],
)
def test_arrays_are_named(name, call):
    with pytest.raises(ConfigurationError, match=f"^{name}: ndarray .* a torch.Tensor$"):
        call()


def test_a_kernel_has_its_matrix_in_values():
    kernel = ntkflow.empirical_ntk(NETWORK, X)
    with pytest.raises(ConfigurationError, match=r"kernel: Kernel is .* torch.Tensor, its values$"):
        ntkflow.TrainingDynamics(kernel, learning_rate=0.1)
    assert ntkflow.TrainingDynamics(kernel.values[0, 0], learning_rate=0.1).rates.shape == (2,)


@pytest.mark.parametrize("value", ["1e-3", None, [1.0], True])
@pytest.mark.parametrize(("name", "allowed"), [("ridge", ">= 0"), ("tolerance", "> 0")])
def test_numbers_that_are_none_are_named(name, allowed, value):
    options = {"ridge": 1.0, "tolerance": 1e-6, name: value}
    with pytest.raises(ConfigurationError) as error:
        ntkflow.kernel_ridge(GRAM, torch.ones(2), **options)
    assert str(error.value) == f"{name}: {value!r} is not allowed; use a number {allowed}"


def test_numbers_of_other_libraries_are_numbers():
    for one in (1, 1.0, np.float32(1), np.int64(1), torch.tensor(1.0)):
        fit = ntkflow.kernel_ridge(GRAM, torch.ones(2), one)
        assert torch.allclose(fit.coefficients, torch.full((2,), 0.5, dtype=torch.float64))
