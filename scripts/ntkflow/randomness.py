"""Independent random streams, one per seed and purpose, the same on every machine and device."""

import numpy as np

STREAMS = {"data": 0, "labels": 1, "init": 2, "split": 3, "dropout": 4}


def generator(seed: int, stream: str) -> np.random.Generator:
    """NumPy generator of `SeedSequence([seed, stream])`, `stream` being a key of `STREAMS`."""
    return np.random.default_rng(np.random.SeedSequence([seed, STREAMS[stream]]))


def torch_seed(seed: int, stream: str, *counters: int) -> int:
    """63-bit seed for `torch.manual_seed`, from `SeedSequence([seed, stream, *counters])`."""
    state = np.random.SeedSequence([seed, STREAMS[stream], *counters]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
