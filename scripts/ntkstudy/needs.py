"""What a measurement or a network may ask of the cell that it is used in, each with its words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sizes:
    """Rows of a data set to train and to evaluate on, input dimension n0, number of outputs O."""

    train: int
    probe: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Facts:
    """A cell as needs see it: its task, network and training, with their options read.

    Attributes:
        task: entry of the registry.
        task_options: options of the task.
        sizes: of its data set.
        network: entry of the registry.
        options: options of the network.
        training: block of the configuration, empty without training.
        tiles: block of the configuration, empty without a kernel in tiles.
    """

    task: Any
    task_options: Any
    sizes: Sizes
    network: Any
    options: Any
    training: Mapping[str, Any] = field(default_factory=dict)
    tiles: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> bool:
        """Whether targets are one-hot."""
        return self.task.labels(self.task_options)

    @property
    def modes(self) -> list[str]:
        """Keys of the network that make it another function in training than in evaluation."""
        found = {
            "normalization": getattr(self.options, "normalization", "none") == "batch",
            "dropout": getattr(self.options, "dropout", 0.0) > 0,
        }
        return [key for key, on in found.items() if on]


@dataclass(frozen=True)
class Need:
    """A condition: `text` completes the sentence "it needs ..."."""

    text: str
    met: Callable[[Facts], bool]


def _has_limit(options: Any) -> bool:
    """By its parameterization, or what it says itself; else a width says that it has one."""
    if hasattr(options, "parameterization"):
        return options.parameterization == "ntk"
    return getattr(options, "has_limit", hasattr(options, "width"))


def _trained(key: str, *values: Any) -> Callable[[Facts], bool]:
    return lambda facts: facts.training.get(key) in values


PLANE = Need("evaluation inputs on the unit circle", lambda facts: facts.task.axis == "gamma")
CIRCLE = Need("training inputs on the unit circle", lambda facts: facts.task.on_circle)
TARGETS = Need("targets at the evaluation inputs", lambda facts: facts.task.known)
LABELS = Need("labels as targets", lambda facts: facts.labels)
ONE_OUTPUT = Need("a task with one output", lambda facts: facts.sizes.outputs == 1)
ONE_POINT = Need("one training point", lambda facts: facts.sizes.train == 1)
TWO_POINTS = Need("two training points or more", lambda facts: facts.sizes.train >= 2)
HIDDEN_LAYER = Need(
    "a hidden layer (network.depth 1 or more)",
    lambda facts: getattr(facts.options, "depth", 1) >= 1,
)
LINE = Need("a task with one input and one output",
            lambda facts: (facts.sizes.inputs, facts.sizes.outputs) == (1, 1))  # fmt: skip
SQUARE = Need("square images as inputs",
              lambda facts: round(facts.sizes.inputs**0.5) ** 2 == facts.sizes.inputs)  # fmt: skip
FITS_FILTERS = Need(
    "images that are larger than what the filters take away (padding same, or fewer layers)",
    lambda facts: (
        facts.options.padding == "same"
        or facts.options.depth * (facts.options.kernel_size - 1) < facts.sizes.inputs**0.5
    ),
)
SQUARED_LOSS = Need("training.loss mse", _trained("loss", "mse"))
DESCENT = Need(
    "plain gradient descent (training.optimizer sgd, l1 0, l2 0)",
    lambda facts: (
        facts.training.get("optimizer") == "sgd"
        and not facts.training.get("l1")
        and not facts.training.get("l2")
    ),
)
CENTRED = Need("training.centred true", _trained("centred", True))
TRAINING = Need("a training block", lambda facts: bool(facts.training))
TILES = Need("a tiles block", lambda facts: bool(facts.tiles))
ONE_MODE = Need("a network without dropout and batch normalisation", lambda facts: not facts.modes)
MLP = Need("network.kind mlp", lambda facts: facts.network.name == "mlp")
LAYERS = Need("network.kind mlp or cnn", lambda facts: facts.network.name in ("mlp", "cnn"))
ONE_PARAMETER = Need(
    "network.kind one_parameter", lambda facts: facts.network.name == "one_parameter"
)
WIDTH = Need("a network with a width", lambda facts: hasattr(facts.options, "width"))
NTK = Need(
    "a known infinite width (network.parameterization ntk, or network.has_limit of a module; not "
    "lstm or gru)",
    lambda facts: _has_limit(facts.options),
)
LAYERS_WITH_LIMIT = Need(
    "layers whose infinite width is known in NTK parameterization (not lstm or gru)",
    lambda facts: hasattr(facts.options, "parameterization") or _has_limit(facts.options),
)
RELU = Need(
    "network.kind mlp with ReLU activations and sigma_w 1",
    lambda facts: (
        facts.network.name == "mlp"
        and facts.options.activation == "relu"
        and facts.options.activation_first in (None, "relu")
        and facts.options.sigma_w == 1
        and facts.options.sigma_w_last in (None, 1)
    ),
)
ONE_HIDDEN_LAYER = Need(
    "one hidden layer without output bias (network.kind mlp, depth 1, sigma_b 0, "
    "parameterization ntk or standard)",
    lambda facts: (
        facts.network.name == "mlp"
        and facts.options.depth == 1
        and facts.options.sigma_b == 0
        and facts.options.parameterization != "pytorch"
    ),
)
