"""What a network's kernels learn where the network learned: kernel machines on one data set."""

from dataclasses import dataclass, field
from typing import Annotated

from ..needs import LABELS, LAYERS_WITH_LIMIT, WIDTH, Need
from ..options import Rule
from ..registry import measurement


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """Which machines are fitted, and how."""

    fits: Annotated[
        list[
            Annotated[
                str,
                Rule(
                    "'initial|trained|sample|average block|mean random|zero|ridge', or "
                    "'limit mean ...'",
                    pattern="^((initial|trained|sample|average) (block|mean)|limit mean) "
                    "(random|zero|ridge)$",
                ),
            ]
        ],
        Rule(
            "kernel machines: whose kernel; for all pairs of outputs or the mean over outputs; "
            "start of Adam, or ridge",
            minItems=1,
            uniqueItems=True,
        ),
    ]
    sample_width: Annotated[
        int, Rule("width of the untrained networks of sample and average", minimum=1)
    ] = 200
    samples: Annotated[int, Rule("networks of an average", minimum=1)] = 10
    starts: Annotated[int, Rule("random starts, whose accuracies are averaged", minimum=1)] = 2
    learning_rate: Annotated[float, Rule("of Adam on the coefficients", exclusiveMinimum=0)] = 1e-3
    steps: Annotated[int, Rule("most updates of the coefficients", minimum=1)] = 8000
    tolerance: Annotated[float, Rule("loss below which Adam stops", minimum=0)] = 1e-6
    ridges: Annotated[
        list[Annotated[float, Rule(exclusiveMinimum=0)]],
        Rule("candidates, over the mean of the kernel's diagonal", minItems=1),
    ] = field(default_factory=lambda: [1e-3, 1e-2, 1e-1, 1.0])
    held_out: Annotated[
        float,
        Rule(
            "share of the training images that chooses the ridge",
            exclusiveMinimum=0,
            exclusiveMaximum=1,
        ),
    ] = 0.2


def _asks(options: ClassifierOptions) -> tuple[Need, ...]:
    """Of a fit on the limit kernel."""
    return (LAYERS_WITH_LIMIT,) if any(fit.startswith("limit") for fit in options.fits) else ()


@measurement(
    "kernel_classifiers",
    when="machines",
    options=ClassifierOptions,
    axes=("fit",),
    needs=(LABELS, WIDTH),
    each=True,
    kernel="block",
    asks=_asks,
)
def kernel_classifiers(options, network, data):
    """Accuracy of the trained network and of every fit on the same images.

    A fit has a name of three words, such as "sample block ridge":

    - whose kernel: "initial" and "trained", the network's own before and after training; "sample",
      one other network at initialisation; "average", the mean over many such; "limit", infinite
      width;
    - "block", all pairs of outputs, or "mean", the mean over outputs, shared by them;
    - "random" (several starts, their scores averaged) or "zero", the start of Adam on
      cross-entropy, or "ridge".
    """
    from ..subjects.fits import kernel_classifiers

    return kernel_classifiers(options, network, data)
