"""Operations that take what index tensors choose: when they are known to leave rows in place."""

import pytest
import torch
from never_wrong_networks import Net
from proved_networks import is_right, rows, sorted_inside
from torch import nn

from ntkflow.empirical import layerwise


def taking_places(net, x):
    """Places in the order in which a list names them."""
    return net.b(torch.tanh(net.a(x))[:, net.order])


@pytest.fixture
def order_checks(monkeypatch):
    """How often a whole backward pass looked at the order of rows."""
    made, check = [], layerwise._check_order
    monkeypatch.setattr(layerwise, "_check_order", lambda *a: made.append(a) or check(*a))
    return made


def test_places_taken_as_before_need_no_look_at_the_order_of_rows(order_checks):
    network = Net(taking_places, a=nn.Linear(3, 6), b=nn.Linear(2, 2)).double().eval()
    network.order = [4, 1]
    for seed in range(3):
        assert is_right(network, rows(seed=seed))
    assert len(order_checks) == 1


def test_rows_taken_as_their_numbers_say_are_looked_at_every_time(order_checks):
    network = Net(sorted_inside, a=nn.Linear(3, 6), read=nn.Linear(6, 2)).double().eval()
    network.sorts = True
    x = rows(7)
    sorted_rows = x[x[:, 0].argsort()]
    for each in (sorted_rows, sorted_rows + 1, sorted_rows[[1, 0, *range(2, 7)]], x):
        assert is_right(network, each)
    assert len(order_checks) >= 3
