"""The calls of docs/neural_tangents.md on the same weights: how far theirs and ours are apart.

    .venv-bench/bin/python benchmarks/same_as_neural_tangents.py

Prints the largest relative difference of each pair, in float64.
"""

import jax
import neural_tangents as nt
import numpy as np
import torch
from neural_tangents import stax

import ntkflow

SCALES = {"sigma_w": 2**0.5, "sigma_b": 0.1}
WIDTH, OUTPUTS, RIDGE, RATE, TIME = 512, 2, 1e-3, 0.3, 50.0


def networks(x):
    """Their functions and weights, and our network with the same ones."""
    dense = [stax.Dense(width, SCALES["sigma_w"], SCALES["sigma_b"]) for width in (WIDTH, OUTPUTS)]
    initialise, apply, kernel = stax.serial(dense[0], stax.Relu(), dense[1])
    _, weights = initialise(jax.random.PRNGKey(0), x.shape)
    network = ntkflow.mlp(x.shape[1], [WIDTH], OUTPUTS, dtype=torch.float64, **SCALES)
    theirs = [np.array(each) for layer in weights for each in layer]
    with torch.no_grad():
        for ours, values in zip(network.parameters(), theirs, strict=True):
            ours.copy_(torch.from_numpy(values.T).reshape(ours.shape))
    return apply, kernel, weights, network


def pairs():
    """Name, their result and ours."""
    rng = np.random.default_rng(0)
    x, x_test, y = (rng.standard_normal(shape) for shape in ((6, 3), (4, 3), (6, OUTPUTS)))
    apply, kernel, weights, network = networks(x)
    rows, test_rows, targets = map(torch.from_numpy, (x, x_test, y))
    k_train, k_test = (ntkflow.limit_kernels(network, each, rows) for each in (rows, test_rows))
    theirs = kernel(x_test, x, ("nngp", "ntk"))
    yield "nngp", theirs.nngp, k_test.nngp
    yield "ntk", theirs.ntk, k_test.ntk
    block = nt.empirical_ntk_fn(apply, trace_axes=())(x_test, x, weights)
    yield (
        "block",
        block.transpose(2, 3, 0, 1),
        ntkflow.empirical_ntk(network, test_rows, rows).values,
    )
    mean = ntkflow.empirical_ntk(network, test_rows, rows, outputs="mean").values
    yield "mean", nt.empirical_ntk_fn(apply)(x_test, x, weights), mean
    diagonal = nt.empirical_ntk_fn(apply, trace_axes=(), diagonal_axes=(-1,))(x_test, x, weights)
    ours = ntkflow.empirical_ntk(network, test_rows, rows, outputs="diagonal").values
    yield "diagonal", diagonal.transpose(2, 0, 1), ours
    yield from trained(kernel, (x, x_test, y), (k_train, k_test, targets))
    covariance = ntkflow.limit_kernels(network, test_rows).nngp
    found = nt.predict.gradient_descent_mse_ensemble(kernel, x, y, diag_reg=RIDGE)(
        x_test=x_test, get="nngp", compute_cov=True
    )
    ridge = RIDGE * k_train.nngp.diagonal().mean().item()
    process = ntkflow.gaussian_process(k_train.nngp, k_test.nngp, covariance, targets, ridge=ridge)
    yield "process: mean", found.mean, process[0]
    yield "process: covariance", found.covariance, process[1]


def trained(kernel, theirs, ours):
    """Training in closed form, and its end with a ridge."""
    (x, x_test, y), (k_train, k_test, targets) = theirs, ours
    gram, cross = (np.array(each.ntk) for each in (k_train, k_test))
    predict = nt.predict.gradient_descent_mse(gram, y, learning_rate=RATE)
    train, test = predict(TIME, np.zeros_like(y), np.zeros((len(x_test), OUTPUTS)), cross)
    options = {"loss": "half_mse", "divisor": y.size, "learning_rate": RATE}
    flow = ntkflow.TrainingDynamics(k_train.ntk, method="gradient_flow", **options)
    yield "flow, training rows", train, flow.train_mean(targets, TIME)
    yield "flow, test rows", test, flow.mean(k_test.ntk, targets, TIME)
    step = ntkflow.TrainingDynamics(k_train.ntk, **options).largest_stable_step()
    yield "largest step", nt.predict.max_learning_rate(gram, y.size), step
    ensemble = nt.predict.gradient_descent_mse_ensemble(kernel, x, y, diag_reg=RIDGE)
    ridge = RIDGE * k_train.ntk.diagonal().mean().item()
    ridged = ntkflow.ridge_regression(k_train.ntk, k_test.ntk, targets, ridge=ridge)
    yield "ridge", ensemble(x_test=x_test, get="ntk"), ridged


def main() -> None:
    """Print the differences."""
    jax.config.update("jax_enable_x64", True)
    for name, theirs, ours in pairs():
        theirs = np.asarray(theirs)
        difference = np.abs(theirs - np.asarray(torch.as_tensor(ours).detach())).max()
        print(f"{name:20} {difference / np.abs(theirs).max():.1e}")


if __name__ == "__main__":
    main()
