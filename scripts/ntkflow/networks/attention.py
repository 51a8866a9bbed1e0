"""Attention of several heads in NTK parameterization."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import as_whole, check_choice, check_not_negative
from ..errors import ConfigurationError
from .layers import Dense

SCALINGS = ("tied 1/d", "many heads", "1/sqrt(d)")
SCORES = ("softmax", "identity")


class MultiheadAttention(nn.Module):
    """Attention of several heads in NTK parameterization.

    Head h has queries q = sigma_qk W_q x / sqrt(features), keys k and values v alike, with
    d = features / heads entries each; out = sigma_o W_o concat_h(A_h v) / sqrt(features) + sigma_b
    b, where A_h = score(c q k^T) and every weight is N(0, 1). The scaling says what c is, and in
    which limit the kernels are deterministic:

    - "tied 1/d": c = 1 / d, and queries and keys have the same weights; d grows, heads need not;
    - "many heads": c = 1 / sqrt(d), weights of their own; d and the number of heads grow;
    - "1/sqrt(d)": the same forward pass with a fixed number of heads, as in torch: the scores stay
      random however large d is, so that there is no deterministic limit.

    Inputs are (N, T, features), or one sequence (T, features). Source: Hron et al. 2020
    (arXiv:2006.10540), section 3; with the first two it is neural-tangents' GlobalSelfAttention.

    Args:
        features: size of the last axis of queries and outputs.
        heads: number of heads; divides `features`.
        scaling: "tied 1/d", "many heads" or "1/sqrt(d)".
        score: "softmax" over the keys, "identity", or a module applied elementwise.
        sigma_qk: standard deviation of the weights of queries and of keys, >= 0.
        sigma_v: that of the values, >= 0.
        sigma_o: that of the outputs, >= 0.
        sigma_b: standard deviation of the biases of the outputs, >= 0.
        sigma_b_v: that of the values, >= 0.
        sigma_b_qk: that of queries and keys, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        kdim: size of the last axis of the keys; default: `features`. Not with tied weights.
        vdim: that of the values; default: `features`.
        dropout: share of A that is dropped in training mode.
        batch_first: whether inputs are (N, T, features) rather than (T, N, features).
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, a word unknown, or sizes do not fit each other.

    Examples:
        >>> attention, x = ntkflow.MultiheadAttention(8, heads=2), torch.randn(5, 3, 8)
        >>> output, weights = attention(x, x, x)
        >>> output.shape, weights.shape
        (torch.Size([5, 3, 8]), torch.Size([5, 3, 3]))
    """

    def __init__(
        self,
        features: int,
        heads: int = 1,
        *,
        scaling: str = "tied 1/d",
        score: str | nn.Module = "softmax",
        sigma_qk: float = 1.0,
        sigma_v: float = 1.0,
        sigma_o: float = 1.0,
        sigma_b: float = 0.0,
        sigma_b_v: float = 0.0,
        sigma_b_qk: float = 0.0,
        bias: str = "normal",
        kdim: int | None = None,
        vdim: int | None = None,
        dropout: float = 0.0,
        batch_first: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        _check(features, heads, scaling, score, kdim)
        _check_scales(sigma_qk=sigma_qk, sigma_v=sigma_v, sigma_o=sigma_o)
        _check_scales(sigma_b=sigma_b, sigma_b_v=sigma_b_v, sigma_b_qk=sigma_b_qk)
        self.embed_dim = self.features = features
        self.num_heads = self.heads = heads
        self.head_dim, self.scaling, self.batch_first = features // heads, scaling, batch_first
        self.score, self.dropout = score, nn.Dropout(dropout)
        options = dict(bias=bias, device=device, dtype=dtype)
        scores = dict(sigma_w=sigma_qk, sigma_b=sigma_b_qk, **options)
        self.query = Dense(features, features, **scores)
        if scaling == "tied 1/d":
            # Not a second name of a submodule: functional_call would not put its weights back.
            object.__setattr__(self, "key", self.query)
        else:
            self.key = Dense(kdim or features, features, **scores)
        values = dict(sigma_w=sigma_v, sigma_b=sigma_b_v, **options)
        self.value = Dense(vdim or features, features, **values)
        self.out = Dense(features, features, sigma_w=sigma_o, sigma_b=sigma_b, **options)

    @property
    def score_scale(self) -> float:
        """Factor c in front of the products of queries and keys."""
        return self.head_dim ** (-1.0 if self.scaling == "tied 1/d" else -0.5)

    def forward(
        self,
        query: Float[Tensor, "*a e"],
        key: Float[Tensor, "*b k"],
        value: Float[Tensor, "*b v"],
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Float[Tensor, "*a e"], Tensor | None]:
        """Outputs and attention weights, with the arguments of `torch.nn.MultiheadAttention`.

        Masks are true where a key is not looked at, or are added to the scores; `is_causal` without
        `attn_mask` lets every position look at itself and those before it. Under another score than
        softmax a masked weight is zero.
        """
        q = self._split(self.query(query))
        k, v = self._split(self.key(key)), self._split(self.value(value))
        scores = self.score_scale * (q @ k.mT)
        if is_causal and attn_mask is None:
            attn_mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        mask = self._mask(scores, attn_mask, key_padding_mask)
        weights = self.dropout(self._score(scores, mask))
        output = self.out(self._join(weights @ v))
        if not need_weights:
            return output, None
        return output, weights.mean(-3) if average_attn_weights else weights

    def _split(self, x: Tensor) -> Tensor:
        """(N, T, features) or (T, N, features) to (N, heads, T, d)."""
        x = x if self.batch_first or x.ndim == 2 else x.transpose(0, 1)
        return x.unflatten(-1, (self.heads, self.head_dim)).transpose(-3, -2)

    def _join(self, x: Tensor) -> Tensor:
        """The other way round."""
        x = x.transpose(-3, -2).flatten(-2)
        return x if self.batch_first or x.ndim == 2 else x.transpose(0, 1)

    def _mask(self, scores: Tensor, attention: Tensor | None, keys: Tensor | None) -> Tensor | None:
        """Sum of both masks, to be added to the scores (N, heads, T, S)."""
        masks = []
        if attention is not None:
            per_head = attention.ndim == 3 and scores.ndim == 4
            shaped = attention.unflatten(0, (-1, self.heads)) if per_head else attention
            masks.append(_additive("attn_mask", shaped, scores))
        if keys is not None:
            masks.append(_additive("key_padding_mask", keys[..., None, None, :], scores))
        return sum(masks[1:], masks[0]) if masks else None

    def _score(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        if self.score == "softmax":
            return torch.softmax(scores if mask is None else scores + mask, -1)
        function = self.score if isinstance(self.score, nn.Module) else nn.Identity()
        if mask is None:
            return function(scores)
        hidden = mask == -torch.inf
        return function(scores + mask.masked_fill(hidden, 0)).masked_fill(hidden, 0)

    def extra_repr(self) -> str:
        """Sizes and scaling, for printing."""
        score = "" if isinstance(self.score, nn.Module) else f", score={self.score!r}"
        return f"{self.features}, heads={self.heads}, scaling={self.scaling!r}{score}"


def _additive(name: str, mask: Tensor, like: Tensor) -> Tensor:
    """A mask of truths as one that is added: minus infinity where it is true."""
    if mask.is_floating_point():
        return mask
    if mask.dtype != torch.bool:
        raise ConfigurationError(
            f"{name}: type {mask.dtype} is not allowed; use torch.bool or a floating-point type"
        )
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)


def _check(
    features: int, heads: int, scaling: str, score: str | nn.Module, kdim: int | None
) -> None:
    check_choice("scaling", scaling, SCALINGS)
    if not isinstance(score, nn.Module):
        check_choice("score", score, SCORES)
    if features % as_whole("heads", heads, 1):
        raise ConfigurationError(f"heads: {heads} does not divide {features} features")
    if scaling == "tied 1/d" and kdim not in (None, features):
        raise ConfigurationError(
            f"kdim: {kdim} is not allowed with scaling 'tied 1/d', whose queries and keys have the "
            f"same weights; use {features}"
        )


def _check_scales(**scales: float) -> None:
    for name, value in scales.items():
        check_not_negative(name, value)
