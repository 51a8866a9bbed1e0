"""Images as sequences of patches, in NTK parameterization."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import as_whole
from ..errors import ConfigurationError
from .layers import Dense

SEED = 0  # of the directions of a code, the same for every network


class PatchEmbedding(nn.Module):
    """Square patches of images as tokens, each by the same dense layer, with codes of positions.

    h_t = sigma_w W x_t / p + sigma_b b + e_t for patch t of p p pixels, with W and b ~ N(0, 1) and
    fixed codes e_t, see `position_code`. Source: Dosovitskiy et al. 2020 (arXiv:2010.11929),
    section 3.1.

    Args:
        features: size of the last axis of the tokens (N, T, features), more than T.
        image_size: H of images (N, H, H) of one channel.
        patch_size: side p of a patch; divides H, so that T = (H / p)^2.
        sigma_w: standard deviation of the weights, >= 0.
        sigma_b: standard deviation of the biases, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if the patches do not divide the images, there are too few features for
            a code, or a scale is negative.

    Examples:
        >>> from ntkflow.networks.patches import PatchEmbedding
        >>> PatchEmbedding(32, image_size=8, patch_size=4)(torch.ones(5, 8, 8)).shape
        torch.Size([5, 4, 32])
    """

    def __init__(
        self,
        features: int,
        *,
        image_size: int,
        patch_size: int,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        device=None,
        dtype=None,
    ):
        super().__init__()
        if image_size % as_whole("patch_size", patch_size, 1):
            raise ConfigurationError(
                f"patch_size: {patch_size} does not divide the image size {image_size}"
            )
        scales = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
        self.patch_size = patch_size
        # A dense layer, not a convolution, so that networks of several seeds train together.
        self.embed = Dense(patch_size**2, features, **scales)
        tokens = (image_size // patch_size) ** 2
        self.register_buffer("code", position_code(tokens, features), persistent=False)

    def forward(self, x: Float[Tensor, "n h h"]) -> Float[Tensor, "n t d"]:
        """Tokens, row by row of patches."""
        rows = x.unflatten(-1, (-1, self.patch_size)).unflatten(-3, (-1, self.patch_size))
        h = self.embed(rows.transpose(-3, -2).flatten(-2).flatten(-3, -2))
        # What reads a network's limit has no numbers on a device.
        return h + (self.code if h.is_meta else self.code.to(h))


def position_code(tokens: int, features: int) -> Float[Tensor, "t d"]:
    """Codes of positions with a known limit: random directions, the same in every network.

    Rows e_t are orthogonal to each other and to (1, ..., 1), and have squared norm `features`: as
    independent N(0, 1) entries would at infinite width, but exactly at every width, so that the
    limit of a network with a code does not depend on the width that it is read from.

    Args:
        tokens: T, number of rows.
        features: their length, more than T.

    Returns:
        Codes in float64.

    Raises:
        ConfigurationError: if there are too few features for orthogonal rows.

    Examples:
        >>> from ntkflow.networks.patches import position_code
        >>> code = position_code(2, 8)
        >>> torch.allclose(code @ code.T / 8, torch.eye(2).double())
        True
    """
    if features <= tokens:
        raise ConfigurationError(
            f"features: {features} is not allowed with {tokens} tokens, whose codes are "
            f"orthogonal; use at least {tokens + 1}"
        )
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(features, tokens + 1, generator=generator, dtype=torch.float64)
    drawn[:, 0] = 1.0  # all directions are made orthogonal to the first
    directions = torch.linalg.qr(drawn).Q
    return features**0.5 * directions.mT[1:].contiguous()
