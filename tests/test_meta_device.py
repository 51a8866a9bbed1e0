"""Every public name on the meta device: tensors are made where the inputs are, and none is read."""

import pytest
import torch
from descents import descent
from public_names import CHOICES, RESULTS
from torch import nn

import ntkflow
from ntkflow import TrainingDynamics

M = {"device": "meta"}
NETWORK = ntkflow.mlp(3, [4], 2, sigma_b=0.1, **M)
X, Y, IMAGES = torch.empty(5, 3, **M), torch.empty(5, 2, **M), torch.empty(5, 1, 6, 6, **M)
GRAM = torch.empty(5, 5, **M)
DYNAMICS = TrainingDynamics(GRAM, learning_rate=0.1)
BATCH = ntkflow.mlp(3, [4], 2, normalization="batch", **M)
GRAMS = ntkflow.KernelPair(GRAM, GRAM)
SCALAR = ntkflow.mlp(3, [4], **M)
BLOCK = torch.empty(2, 2, 5, 5, **M)
STARTS = ntkflow.draw_parameters(ntkflow.mlp(3, [4], 2), [0, 1], **M)
LABELS = torch.empty(5, dtype=torch.int64, **M)

RUNS = {
    "Abs": lambda: ntkflow.Abs()(X),
    "Conv1d": lambda: ntkflow.Conv1d(6, 2, 3, **M)(IMAGES[:, 0]),
    "Conv2d": lambda: ntkflow.Conv2d(1, 2, 3, **M)(IMAGES),
    "Conv3d": lambda: ntkflow.Conv3d(1, 2, 3, **M)(IMAGES[:, None]),
    "ConvTranspose1d": lambda: ntkflow.ConvTranspose1d(6, 2, 3, **M)(IMAGES[:, 0]),
    "ConvTranspose2d": lambda: ntkflow.ConvTranspose2d(1, 2, 3, **M)(IMAGES),
    "ConvTranspose3d": lambda: ntkflow.ConvTranspose3d(1, 2, 3, **M)(IMAGES[:, None]),
    "Dense": lambda: ntkflow.Dense(3, 2, **M)(X),
    "Erf": lambda: ntkflow.Erf()(X),
    "Embedding": lambda: ntkflow.Embedding(9, 2, padding_idx=0, **M)(LABELS),
    "GRU": lambda: ntkflow.GRU(6, 2, **M)(IMAGES[:, 0])[0],
    "GRUCell": lambda: ntkflow.GRUCell(3, 2, **M)(X),
    "GlobalAveragePool": lambda: ntkflow.GlobalAveragePool()(IMAGES),
    "LSTM": lambda: ntkflow.LSTM(6, 2, **M)(IMAGES[:, 0])[0],
    "LSTMCell": lambda: ntkflow.LSTMCell(3, 2, **M)(X)[1],
    "Linearized": lambda: ntkflow.Linearized(NETWORK)(X),
    "LinearizedTraining": lambda: ntkflow.LinearizedTraining(
        NETWORK, X, Y, learning_rate=0.1
    ).weights(3)["0.weight"],
    "MultiheadAttention": lambda: ntkflow.MultiheadAttention(6, **M)(*[IMAGES[:, 0]] * 3)[0],
    "RNN": lambda: ntkflow.RNN(6, 2, **M)(IMAGES[:, 0])[0],
    "RNNCell": lambda: ntkflow.RNNCell(3, 2, **M)(X),
    "Residual": lambda: ntkflow.Residual(ntkflow.Dense(3, 3, **M))(X),
    "ScaledOutput": lambda: ntkflow.ScaledOutput(NETWORK, 10.0)(X),
    "Sin": lambda: ntkflow.Sin()(X),
    "StandardConv2d": lambda: ntkflow.StandardConv2d(1, 2, 3, **M)(IMAGES),
    "StandardLinear": lambda: ntkflow.StandardLinear(3, 2, **M)(X),
    "TransformerEncoder": lambda: ntkflow.TransformerEncoder(
        [ntkflow.TransformerEncoderLayer(6, 2, 4, **M)]
    )(IMAGES[:, 0]),
    "TransformerEncoderLayer": lambda: ntkflow.TransformerEncoderLayer(6, 2, 4, **M)(IMAGES[:, 0]),
    "TrainingDynamics": lambda: DYNAMICS.train_mean(Y, t=3),
    "sketched_features": lambda: ntkflow.sketched_features(NETWORK, X, 7).values,
    "spectral_density": lambda: ntkflow.spectral_density(GRAM, steps=3).nodes,
    "block_matrix": lambda: ntkflow.block_matrix(BLOCK),
    "cnn": lambda: ntkflow.cnn(1, [2], 3, image_size=6, **M)(IMAGES),
    "cross_entropies": lambda: ntkflow.cross_entropies(torch.empty(3, 5, 2, **M), LABELS),
    "cross_entropy_classifiers": lambda: (
        ntkflow.cross_entropy_classifiers(
            GRAMS, Y, {"zero": torch.zeros(1, 2, 5, **M)}, learning_rate=0.1, steps=2
        )["zero"].test
    ),
    "cross_entropy_descent": lambda: (
        ntkflow.cross_entropy_descent(NETWORK, STARTS, X, LABELS).rates
    ),
    "diagonal_kernel": lambda: ntkflow.diagonal_kernel(
        SCALAR, {name: p.detach()[None] for name, p in SCALAR.named_parameters()}, X[:1]
    )[1],
    "draw_parameters": lambda: STARTS["0.weight"],
    "empirical_ntk": lambda: ntkflow.empirical_ntk(NETWORK, X).values,
    "ensemble_outputs": lambda: ntkflow.ensemble_outputs(NETWORK, STARTS, X),
    "evaluated": lambda: ntkflow.evaluated(BATCH, dict(BATCH.named_parameters()), X)(X),
    "expected_test_error": lambda: ntkflow.expected_test_error(
        DYNAMICS, GRAM, Y, Y, 3, noise_std=0.1
    ),
    "gaussian_process": lambda: ntkflow.gaussian_process(GRAM, GRAM, GRAM, Y, ridge=0.1)[0],
    "gradient": lambda: ntkflow.gradient(NETWORK, X),
    "gradient_norms": lambda: ntkflow.gradient_norms(NETWORK, X),
    "laplacian": lambda: ntkflow.laplacian(NETWORK, X),
    "learning_curve": lambda: ntkflow.learning_curve(GRAM[0], Y, [1, 2], 0.1).error,
    "limit_kernels": lambda: ntkflow.limit_kernels(NETWORK, X).ntk,
    "linear_losses": lambda: ntkflow.linear_losses(GRAM[0], GRAM, Y, [1, 2], learning_rate=0.1),
    "loss_growth": lambda: ntkflow.loss_growth(
        ntkflow.mlp(3, [4], 2), STARTS, X, Y, learning_rate=0.1, steps=2
    ),
    "mlp": lambda: NETWORK(X),
    "ntk_operator": lambda: ntkflow.ntk_operator(NETWORK, X) @ torch.empty(10, **M),
    "ntk_parameterization": lambda: ntkflow.ntk_parameterization(nn.Linear(3, 2, **M))(X),
    "output_coupling": lambda: ntkflow.output_coupling(BLOCK),
    "parameter_distances": lambda: ntkflow.parameter_distances(STARTS, STARTS).relative,
    "relative_distances": lambda: ntkflow.relative_distances(BLOCK[0], GRAM).mean_square,
    "residual_modes": lambda: (
        ntkflow.residual_modes(GRAM[0], GRAM, Y, Y, learning_rate=0.1, steps=1).order
    ),
    "ridge_regression": lambda: ntkflow.ridge_regression(GRAM, GRAM, Y, ridge=0.1),
    "train_ensemble": lambda: ntkflow.train_ensemble(
        ntkflow.mlp(3, [4], 2), STARTS, X, Y, **descent(0.1, 2)
    ).parameters["0.weight"],
}

# Their result is a number, a file or a NumPy array, which needs values.
NEED_VALUES = {
    "alignment": lambda: ntkflow.alignment(GRAM, Y),
    "circle_modes": lambda: ntkflow.circle_modes(X[0]),
    "classifier_scores": lambda: ntkflow.classifier_scores(
        ntkflow.ClassifierFit(Y.T[None], Y.T[None]), LABELS, LABELS, Y.T
    ),
    "cumulative_distribution": lambda: ntkflow.cumulative_distribution(X[0]),
    "early_stopping_time": lambda: ntkflow.early_stopping_time(DYNAMICS, GRAM, Y, Y, noise_std=0.1),
    "effective_rank": lambda: ntkflow.effective_rank(X[0]),
    "gauss_newton_sharpness": lambda: ntkflow.gauss_newton_sharpness(BLOCK),
    "held_out_ridge_classifier": lambda: ntkflow.held_out_ridge_classifier(
        GRAMS, Y, [0.1], held_out=0.4
    ),
    "jacobian_norm": lambda: ntkflow.jacobian_norm(NETWORK, X),
    "kappa": lambda: ntkflow.kappa(NETWORK, X, Y),
    "kernel_ridge": lambda: ntkflow.kernel_ridge(GRAM, Y, 0.1),
    "monte_carlo_kernels": lambda: ntkflow.monte_carlo_kernels(
        lambda width: ntkflow.mlp(3, [width], **M), X
    ),
    "second_derivative_norm": lambda: ntkflow.second_derivative_norm(NETWORK, X),
    "kernel_distance": lambda: ntkflow.kernel_distance(GRAM, GRAM),
    "kernel_drift": lambda: ntkflow.kernel_drift(GRAM, GRAM),
    "participation_ratio": lambda: ntkflow.participation_ratio(X[0]),
    "Tracker": lambda: ntkflow.Tracker(NETWORK, X).step(0),
    "top_eigenpairs": lambda: ntkflow.top_eigenpairs(ntkflow.ntk_operator(NETWORK, X), 2),
    "total_learnability": lambda: ntkflow.total_learnability(GRAM, ridge=0.1),
}

# Read the structure of a network alone; what they return or do is not a tensor of its device.
STRUCTURE = {"circle_eigenvalues", "explain", "register_activation"}
FILES = {"assemble_kernel_tiles", "write_kernel_tile", "write_kernel_tiles"}


def test_every_public_name_is_here():
    assert sorted([*RUNS, *NEED_VALUES, *STRUCTURE, *FILES, *CHOICES, *RESULTS]) == ntkflow.__all__


@pytest.mark.parametrize("name", RUNS)
def test_runs(name):
    assert RUNS[name]().is_meta


@pytest.mark.parametrize("name", NEED_VALUES)
def test_says_that_it_needs_values(name):
    with pytest.raises((NotImplementedError, RuntimeError, TypeError), match=r"(?i)meta"):
        NEED_VALUES[name]()


def test_structure_of_a_network_without_parameters():
    network = ntkflow.mlp(2, [1], device="meta")
    assert ntkflow.circle_eigenvalues(network, [1]).item() == pytest.approx(1 / 8)


def test_costs_of_a_network_that_takes_no_memory():
    network = ntkflow.mlp(3, [4], 2, sigma_b=0.1)
    assert ntkflow.explain(NETWORK, X) == ntkflow.explain(network, torch.randn(5, 3))


def test_methods_where_rows_might_move():
    layers = nn.Linear(3, 4), nn.Mish(), nn.Linear(4, 2)
    x, found = torch.randn(5, 3), []
    for device in ("cpu", "meta"):
        found.append(ntkflow.explain(nn.Sequential(*layers).to(device), x.to(device)))
    assert found[0].method == found[1].method == "layerwise"
    assert found[0].parameters == found[1].parameters
