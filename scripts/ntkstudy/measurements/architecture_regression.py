"""A network, the kernel of a random one and the limit kernel, on the same images of a pool."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import LABELS, NTK, TRAINING, Need
from ..options import Rule
from ..registry import measurement
from .common import Draws


@dataclass(frozen=True, kw_only=True)
class SplitOptions(Draws):
    """Sizes of the splits, and what the ridge is chosen from."""

    train: Annotated[int, Rule("images of a split that are learned", minimum=2)] = 200
    test: Annotated[int, Rule("images of a split that judge", minimum=1)] = 200
    ridges: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("candidates, over the mean of the kernel's diagonal", minItems=1, uniqueItems=True),
    ] = field(default_factory=lambda: [1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    folds: Annotated[int, Rule("parts of the learned images that choose the ridge", minimum=2)] = 5


def within_pool(options: SplitOptions) -> tuple[Need, ...]:
    """A split has no image twice."""
    text = f"task.train_points of at least train + test ({options.train} + {options.test})"
    return (Need(text, lambda facts: options.train + options.test <= facts.sizes.train),)


@dataclass(frozen=True, kw_only=True)
class ArchitectureRegressionOptions(SplitOptions):
    """Those of the splits, and how many of them have a block kernel."""

    block_draws: Annotated[
        int, Rule("first splits whose kernel of all pairs of outputs is made too", minimum=0)
    ] = 1


@measurement(
    "architecture_regression",
    when="theory",
    options=ArchitectureRegressionOptions,
    axes=("seed",),
    needs=(TRAINING, LABELS, NTK),
    kernel="block",
    asks=within_pool,
    draw_s=10.0,
)
def architecture_regression(options, setting, data):
    """Test accuracy of a trained network, of the kernel of a random one and of the limit kernel.

    Splits are drawn from the training set, the pool, whose limit kernel is made once. In every
    split another network is trained; `random` is regression with its kernel (mean over outputs)
    before training, `limit` with that of its infinitely wide twin, each with a ridge that folds of
    the learned images choose. Differences are paired: the same images for all three. `block` is
    regression with the random network's kernel of all pairs of outputs, in the first splits: it has
    as many times more entries as there are pairs.
    """
    from ..theory.architecture_regression import architecture_regression

    return architecture_regression(options, setting)
