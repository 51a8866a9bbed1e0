import numpy as np
import pytest
import torch

from ntkflow.randomness import STREAMS, generator, seeded, torch_seed


def test_streams_and_seeds_are_independent():
    keys = [(seed, stream) for seed in range(50) for stream in STREAMS]
    assert len({torch_seed(*key) for key in keys}) == len(keys)
    draws = np.array([generator(*key).standard_normal(200) for key in keys[:40]])
    correlations = np.corrcoef(draws) - np.eye(40)
    assert np.abs(correlations).max() < 0.35


def test_streams_never_change():
    assert dict(data=0, labels=1, init=2, split=3, dropout=4, scores=5) == STREAMS
    assert torch_seed(0, "init") == 8597659618385908031
    assert generator(0, "data").standard_normal() == pytest.approx(0.1257302210933933)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_torch_seeds_are_63_bit(seed):
    assert 0 <= torch_seed(seed, "init") < 2**63


def test_unknown_streams_are_errors():
    with pytest.raises(KeyError):
        generator(0, "noise")


def test_torch_draws_under_a_seed_and_forgets_it(monkeypatch):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    monkeypatch.setattr("traceback.format_stack", lambda *_: pytest.fail("formats a stack"))
    with seeded(1):
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.random.get_rng_state(), before)
