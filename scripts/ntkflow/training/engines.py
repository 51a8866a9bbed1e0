"""Engines: ways to the gradients of all seeds, and the choice among them."""

from torch import Tensor, nn

from ..checks import check_choice
from ..errors import ConfigurationError
from .arcs import ArcEngine
from .dense import DenseEngine
from .general import GeneralEngine, LoopEngine
from .optimizers import Optimizer

Engine = ArcEngine | DenseEngine | GeneralEngine

# In the order in which they are tried.
ENGINES: dict[str, type[Engine]] = {
    "arcs": ArcEngine,
    "dense": DenseEngine,
    "general": GeneralEngine,
    "loop": LoopEngine,
}


def choose_engine(
    name: str, network: nn.Module, parameters: dict[str, Tensor], x: Tensor, optimizer: Optimizer
) -> type[Engine]:
    """The engine of this name, or for "auto" the first that fits.

    Raises:
        ConfigurationError: if the name is unknown, or the engine does not fit.
    """
    check_choice("engine", name, ["auto", *ENGINES])
    training = (network, parameters, x, optimizer)
    if name == "auto":
        return next(engine for engine in ENGINES.values() if engine.misfit(*training) is None)
    reason = ENGINES[name].misfit(*training)
    if reason is not None:
        raise ConfigurationError(f"engine: {name!r} does not fit the network: {reason}; use 'auto'")
    return ENGINES[name]
