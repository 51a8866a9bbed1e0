"""Networks of every architecture train as they do alone."""

import pytest
import torch
from descents import descent
from torch import nn

from ntkflow.networks import (
    GRU,
    LSTM,
    RNN,
    Dense,
    TransformerEncoder,
    TransformerEncoderLayer,
    cnn,
    draw_parameters,
)
from ntkflow.networks.averaging import TimeAverage, TokenAverage
from ntkflow.networks.patches import PatchEmbedding
from ntkflow.training import train_ensemble

pytestmark = pytest.mark.usefixtures("one_thread")


def attending(dtype):
    scales = dict(sigma_b=0.1, dtype=dtype)
    block = TransformerEncoderLayer(8, 2, 8, norm_first=True, scaling="many heads", **scales)
    patches = PatchEmbedding(8, image_size=4, patch_size=2, **scales)
    return [patches, TransformerEncoder([block]), TokenAverage(), Dense(8, 3, **scales)]


def recurrent(kind, dtype):
    scales = dict(sigma_b=0.1, dtype=dtype)
    return [TimeAverage(kind(4, 9, **scales)), Dense(9, 3, **scales)]


OF_IMAGES = {
    "cnn": lambda dtype: [
        nn.Unflatten(1, (1, 4)), *cnn(1, [5, 5], 3, image_size=4, head="gap", dtype=dtype)
    ],
    "rnn": lambda dtype: recurrent(RNN, dtype),
    "lstm": lambda dtype: recurrent(LSTM, dtype),
    "gru": lambda dtype: recurrent(GRU, dtype),
    "transformer": attending,
}  # fmt: skip


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_seed_alone_is_bitwise_the_same_in_every_architecture(name, dtype):
    network = nn.Sequential(*OF_IMAGES[name](dtype))
    parameters = draw_parameters(network, range(6))
    g = torch.Generator().manual_seed(5)
    x, y = (torch.randn(12, *size, generator=g, dtype=dtype) for size in ((4, 4), (3,)))
    together = train_ensemble(network, parameters, x, y, **descent(0.05, 3))
    looped = train_ensemble(network, parameters, x, y, **descent(0.05, 3), engine="loop")
    torch.testing.assert_close(looped.parameters, together.parameters)
    for s in (0, 5):
        one = {name: p[s : s + 1] for name, p in parameters.items()}
        alone = train_ensemble(network, one, x, y, **descent(0.05, 3))
        for name, p in alone.parameters.items():
            assert torch.equal(p[0], together.parameters[name][s])
            assert not torch.equal(p[0], one[name][0])
        alone = train_ensemble(network, one, x, y, **descent(0.05, 3), engine="loop")
        for name, p in alone.parameters.items():
            assert torch.equal(p[0], looped.parameters[name][s])
            assert not torch.equal(p[0], one[name][0])
