"""Embeddings of tokens in NTK parameterization."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..checks import as_whole
from .scaled import ScaledLayer


class Embedding(ScaledLayer):
    """Embedding of tokens in NTK parameterization: h = sigma_w W[token] with W ~ N(0, 1).

    That is a dense layer without bias on one-hot inputs, of which one is not zero: its fan-in is 1.
    Source: Jacot et al. 2018 (arXiv:1806.07572), section 2.

    Args:
        num_embeddings: number of tokens.
        features: size of the last axis of the output.
        sigma_w: standard deviation of the weights, >= 0.
        padding_idx: a token whose row is zero and gets no gradient; default: none.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if the scale is negative or `padding_idx` is no token.

    Examples:
        >>> ntkflow.Embedding(10, 4)(torch.tensor([[1, 2, 3], [4, 5, 1]])).shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        num_embeddings: int,
        features: int,
        *,
        sigma_w: float = 1.0,
        padding_idx: int | None = None,
        device=None,
        dtype=None,
    ):
        if padding_idx is not None:
            last = num_embeddings - 1
            padding_idx = as_whole("padding_idx", padding_idx, -num_embeddings, last)
            padding_idx %= num_embeddings
        self.num_embeddings, self.padding_idx = num_embeddings, padding_idx
        self.embedding_dim = self.features = features
        options = dict(sigma_b=0.0, bias="normal", device=device, dtype=dtype)
        super().__init__((num_embeddings, features), sigma_w=sigma_w, **options)

    @property
    def fan_in(self) -> int:
        """The one input of a one-hot vector that is not zero."""
        return 1

    def reset_parameters(self) -> None:
        """Draw the parameters anew from torch's current random state."""
        super().reset_parameters()
        if self.padding_idx is not None and not self.weight.is_meta:
            with torch.no_grad():
                self.weight[self.padding_idx].zero_()

    def forward(self, tokens: Int[Tensor, "*n"]) -> Float[Tensor, "*n d"]:
        """Rows of the tokens, on a new last axis."""
        return F.embedding(tokens, self.weight, self.padding_idx) * self.weight_scale

    def extra_repr(self) -> str:
        """Sizes and scale, for printing."""
        return f"{self.num_embeddings}, {self.features}, sigma_w={self.sigma_w}"
