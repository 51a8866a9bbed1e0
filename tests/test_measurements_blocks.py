"""Block kernels, and distances of networks from their limit, on small images of digits."""

import numpy as np
import pytest
import torch
from descents import descent
from study_cases import digits_data, digits_networks, measured

from ntkflow.empirical import empirical_ntk
from ntkflow.limits import limit_kernels
from ntkflow.training import Objective, train_ensemble

LAZY = {"parameterization": "ntk", "activation_first": None}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    with digits_data(tmp_path_factory.mktemp("digits")) as data:
        yield data


def test_coupling_is_that_of_the_blocks(data):
    one = digits_networks()
    x = data.training_set(**one.where)[0][:12]
    block = empirical_ntk(one.network, x, parameters=one.weights).values.double()
    off = sum(block[o, p].square().sum() for o in range(10) for p in range(10) if o != p)
    on = sum(block[o, o].square().sum() for o in range(10))
    found = measured("block_structure", one, data, images=12)
    assert found["coupling"] == pytest.approx([float((off / on).sqrt())], rel=1e-9)
    assert found["largest"] == pytest.approx([float(block[..., :10, :10].max())])
    assert found["norm"] == pytest.approx([float((off + on).sqrt())])
    assert found["parameters"] == 49 * 12 + 12 + 12 * 12 + 12 + 12 * 10 + 10
    corner = measured("kernel_corner", one, data, images=12)["entry"][0]
    assert corner[3 * 10 + 4, 5 * 10 + 6] == pytest.approx(float(block[4, 6, 3, 5]))


def test_distance_from_the_limit_falls_with_the_width(data):
    narrow, wide = (
        measured(
            "limit_distance",
            digits_networks(8, width=width, **LAZY),
            data,
            "initialization",
            images=10,
        )
        for width in (8, 512)
    )
    for name in ("sample", "mean_square"):
        assert abs(wide[name].mean()) < abs(narrow[name].mean())
    assert wide["sample"].max() < 0.5
    np.testing.assert_allclose(wide["sample_square"], wide["sample"] ** 2, rtol=1e-12)


@pytest.fixture
def lazily_trained(data):
    """Centred networks before and after 20 steps."""
    training = {"learning_rate": 0.1, "steps": 20, "centred": True, "output_scale": 1.0}
    networks = digits_networks(2, training, **LAZY, width=4000, depth=1).before
    how = descent(0.1, 20) | {"objective": Objective(centred=True)}
    x, y = data.training_set(**networks.where)
    run = train_ensemble(networks.network, networks.start, x, y, **how)
    return networks, networks.at(20, run.parameters)


def test_wide_networks_are_near_their_limit_after_training(data, lazily_trained):
    before, after = (measured("limit_gap", networks, data) for networks in lazily_trained)
    assert np.isnan(before["gap"]).all()
    assert (after["gap"] < 0.1).all()


def test_gap_is_relative_to_the_infinitely_wide_network(data, lazily_trained):
    after = lazily_trained[1]
    where = dict(dtype=torch.float64, device="cpu")
    (x, y), test_x = data.training_set(**where), data.probe(**where)
    limit = limit_kernels(after.network, x).ntk
    coefficients = torch.zeros_like(y)
    for _ in range(20):
        coefficients = coefficients - 2 * 0.1 / len(x) * (limit @ coefficients - y)
    f_inf = limit_kernels(after.network, test_x, x).ntk @ coefficients
    found = measured("limit_gap", after, data)
    for index, one in enumerate(after):
        f = one.outputs(test_x.float()).double()
        assert found["gap"][index] == pytest.approx(float((f - f_inf).norm() / f_inf.norm()))
        differs = (f.argmax(1) != f_inf.argmax(1)).double().mean()
        assert found["disagreement"][index] == pytest.approx(float(differs))
