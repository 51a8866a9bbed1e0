"""Networks as subjects of measurements, and how results of several are put together."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from study_cases import task_data
from torch.func import functional_call

from ntkflow.errors import ConfigurationError
from ntkflow.networks import draw_parameters, member, mlp
from ntkstudy.data.storage import Array
from ntkstudy.registry import MEASUREMENTS, measurement
from ntkstudy.subjects.measuring import add_steps, drop_seed, join, measure, stack
from ntkstudy.subjects.members import Members

TASK = {"kind": "circle_product", "train_points": 6, "probe_points": 12}
X = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2)


@pytest.fixture
def data(tmp_path):
    with task_data(tmp_path, TASK) as data:
        yield data


@pytest.fixture
def networks():
    network = mlp(2, [16], 1)
    now, start = (draw_parameters(network, s, dtype=torch.float64) for s in ([0, 1], [2, 3]))
    return Members(network, now, start, [0, 1])


@pytest.mark.parametrize("index", [0, 1])
def test_outputs_are_scaled_and_centred(networks, index):
    pair = (networks.parameters, networks.start)
    h, h0 = (functional_call(networks.network, member(p, index), (X,)) for p in pair)
    for training, expected in (
        ({}, h),
        ({"output_scale": 2.0, "centred": False}, 2 * h),
        ({"output_scale": 2.0, "centred": True}, 2 * (h - h0)),
    ):
        both = Members(networks.network, *pair, [5, 7], training=training)
        one = list(both)[index]
        torch.testing.assert_close(one.outputs(X), expected)
        assert (len(one), one.seeds) == (1, [[5], [7]][index])
        assert (one.before.outputs(X) == 0).all() == bool(training.get("centred"))


def test_what_is_made_once_belongs_to_one_network_at_all_its_steps(networks):
    for index, one in enumerate(networks):
        assert one.once("number", lambda: index) == index  # noqa: B023
    later = networks.at(9, networks.start)
    assert [one.once("number", lambda: None) for one in later] == [0, 1]
    assert later.once("number", lambda: "all") == "all"


def test_stacking_keeps_coordinates_once(networks, data):
    each = [drop_seed(measure([{"kind": "function"}], "trained", one, data)) for one in networks]
    assert each[0]["function/f"].dims == ["gamma", "output"]
    stacked = stack(each, "seed")
    assert stacked["function/f"].values.shape == (2, 12, 1)
    assert stacked["function/f"].dims == ["seed", "gamma", "output"]
    assert stacked["function/gamma"].values.shape == (12,)
    together = measure([{"kind": "function"}], "trained", networks, data)
    np.testing.assert_array_equal(together["function/f"].values, stacked["function/f"].values)


def test_joined_ensembles_keep_coordinates_once():
    parts = [
        {"k/v": Array(torch.ones(n).numpy(), ["seed"]), "k/g": Array(torch.zeros(3).numpy(), ["g"])}
        for n in (2, 3)
    ]
    joined = join(parts)
    assert joined["k/v"].values.shape == (5,)
    assert joined["k/g"].values.shape == (3,)
    assert math.isclose(joined["k/v"].values.sum(), 5)


def test_steps_are_a_coordinate_of_every_measurement():
    arrays = add_steps({}, [{"kind": "gram"}, {"kind": "movement"}], [0, 4])
    assert {name: array.values.tolist() for name, array in arrays.items()} == {
        "gram/step": [0, 4],
        "movement/step": [0, 4],
    }


def test_axes_that_are_not_declared_are_an_error(data):
    try:

        @measurement("undeclared", when="limit", axes=("mode",))
        def undeclared(options, limit, data):
            """A quantity of another axis than it says."""
            return {"value": Array(np.zeros(2), ["rank"])}

        message = (
            r"measurement 'undeclared' \(limit\) has the axes \['rank'\], but declares \['mode'\]"
        )
        with pytest.raises(ConfigurationError, match=message):
            measure([{"kind": "undeclared"}], "limit", SimpleNamespace(), data)
    finally:
        MEASUREMENTS.forget(__name__)
