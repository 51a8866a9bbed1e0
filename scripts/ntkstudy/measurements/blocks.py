"""How block kernels couple the outputs of a network."""

from dataclasses import dataclass
from typing import Annotated

from ..options import Rule
from ..registry import FINITE, measurement
from .common import labelled


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How many training inputs."""

    images: Annotated[int, Rule("how many of the first training images", minimum=10)] = 10


@measurement("block_structure", when=FINITE, options=ImageOptions, each=True, kernel="block")
def block_structure(options, network, data):
    """Size, coupling of outputs and alignment of the block kernel on the first training images."""
    from ntkflow.linalg.block_structure import output_coupling
    from ntkflow.linalg.spectra import alignment, block_matrix

    block, y = _block(options, network, data)
    # The original looked at the first 100 x 100 entries, ten images with ten outputs each.
    corner = block[..., :10, :10]
    target = y.T.reshape(-1, 1).numpy()
    return labelled(
        parameters=(
            float(sum(p.numel() for p in network.weights.values())),
            "number of weights and biases",
        ),
        coupling=(
            output_coupling(block),
            "Frobenius norm of the blocks of different outputs over that of equal ones",
        ),
        largest=(corner.max(), "largest entry for the first ten images"),
        norm=(block.norm(), "Frobenius norm"),
        alignment=(
            alignment(block_matrix(block).numpy(), target),
            "cosine of the block kernel and y y'",
        ),
    )


@measurement(
    "kernel_corner",
    when=FINITE,
    options=ImageOptions,
    axes=("row", "column"),
    each=True,
    kernel="block",
)
def kernel_corner(options, network, data):
    """The block kernel of the first training images as a matrix, image by image, for a picture."""
    from ntkflow.linalg.spectra import block_matrix

    block, _ = _block(options, network, data)
    matrix = block_matrix(block, by_input=True)
    return labelled(("row", "column"), entry=(matrix, "row: image times outputs plus output"))


def _block(options, network, data):
    """Block kernel (O, O, N, N) and targets (N, O) in float64."""
    from ntkflow.empirical import empirical_ntk

    x, y = (tensor[: options.images] for tensor in data.training_set(**network.where))
    kernel = empirical_ntk(network.network, x, parameters=network.weights)
    return kernel.values.double().cpu(), y.double().cpu()
