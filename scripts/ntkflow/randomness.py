"""Independent random streams, one per seed and purpose, the same on every machine and device."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

STREAMS = {"data": 0, "labels": 1, "init": 2, "split": 3, "dropout": 4, "scores": 5}


def generator(seed: int, stream: str) -> np.random.Generator:
    """NumPy generator of `SeedSequence([seed, stream])`, `stream` being a key of `STREAMS`."""
    return np.random.default_rng(np.random.SeedSequence([seed, STREAMS[stream]]))


def torch_seed(seed: int, stream: str, *counters: int) -> int:
    """63-bit seed of a torch generator, from `SeedSequence([seed, stream, *counters])`."""
    state = np.random.SeedSequence([seed, STREAMS[stream], *counters]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, device="cpu") -> Iterator[None]:
    """Let torch draw under a seed, on the CPU and this device; afterwards its state is as before.

    As `torch.manual_seed` in `torch.random.fork_rng`. That one also seeds every other backend and,
    for each that is not in use, formats a stack trace: longer work than drawing a small network.
    """
    import torch

    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
