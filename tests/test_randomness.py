import numpy as np
import pytest

from ntkflow.randomness import STREAMS, generator, torch_seed


def test_streams_and_seeds_are_independent():
    keys = [(seed, stream) for seed in range(50) for stream in STREAMS]
    assert len({torch_seed(*key) for key in keys}) == len(keys)
    draws = np.array([generator(*key).standard_normal(200) for key in keys[:40]])
    correlations = np.corrcoef(draws) - np.eye(40)
    assert np.abs(correlations).max() < 0.35


def test_streams_never_change():
    assert STREAMS == {"data": 0, "labels": 1, "init": 2, "split": 3, "dropout": 4}
    assert torch_seed(0, "init") == 8597659618385908031
    assert generator(0, "data").standard_normal() == pytest.approx(0.1257302210933933)


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_torch_seeds_are_63_bit(seed):
    assert 0 <= torch_seed(seed, "init") < 2**63


def test_unknown_streams_are_errors():
    with pytest.raises(KeyError):
        generator(0, "noise")
