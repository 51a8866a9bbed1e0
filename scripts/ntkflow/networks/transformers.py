"""Encoders of transformers in NTK parameterization."""

from collections.abc import Callable, Iterable

from jaxtyping import Float
from torch import Tensor, nn

from .activations import activation_layer
from .attention import MultiheadAttention
from .layers import Dense


class TransformerEncoderLayer(nn.Module):
    """Attention and two dense layers in NTK parameterization, each with a residual sum.

    With `norm_first` x' = x + attention(norm(x)) and x'' = x' + dense(phi(dense(norm(x')))), else
    x' = norm(x + attention(x)) and x'' = norm(x' + dense(phi(dense(x')))). The layers are
    `MultiheadAttention` and `Dense`, whose weights are N(0, 1); norm is (x - mean) / sqrt(variance
    + eps) over the features. Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3; Xiong et
    al. 2020 (arXiv:2002.04745) for `norm_first`.

    Args:
        features: size of the last axis of inputs (N, T, features) and outputs.
        heads: number of heads of the attention.
        hidden: width of the dense layer between.
        activation: phi, a name in `ACTIVATIONS`, a module, which is copied, or a function.
        norm_first: whether branches, rather than sums, are normalised.
        affine: whether the normalisations have gains and shifts, which are trained but not scaled.
        eps: of the normalisations.
        dropout: share of weights of the attention, and of values, that is dropped in training mode.
        scaling: as in `MultiheadAttention`.
        score: as in `MultiheadAttention`.
        sigma_qk: as in `MultiheadAttention`.
        sigma_v: as in `MultiheadAttention`.
        sigma_o: as in `MultiheadAttention`.
        sigma_w: standard deviation of the weights of both dense layers, >= 0.
        sigma_b: that of the biases of the dense layers and of the attention's outputs, >= 0.
        bias: "normal" or "zero", the biases at initialisation.
        batch_first: whether inputs are (N, T, features) rather than (T, N, features).
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, a word unknown, or sizes do not fit each other.

    Examples:
        >>> layer = ntkflow.TransformerEncoderLayer(8, 2, 16, activation="gelu", norm_first=True)
        >>> layer(torch.randn(5, 3, 8)).shape
        torch.Size([5, 3, 8])
    """

    def __init__(
        self,
        features: int,
        heads: int,
        hidden: int,
        *,
        activation: str | nn.Module | Callable[[Tensor], Tensor] = "relu",
        norm_first: bool = False,
        affine: bool = False,
        eps: float = 1e-5,
        dropout: float = 0.0,
        scaling: str = "tied 1/d",
        score: str | nn.Module = "softmax",
        sigma_qk: float = 1.0,
        sigma_v: float = 1.0,
        sigma_o: float = 1.0,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        batch_first: bool = True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        where = dict(device=device, dtype=dtype)
        scales = dict(sigma_qk=sigma_qk, sigma_v=sigma_v, sigma_o=sigma_o, scaling=scaling)
        scales |= dict(score=score, dropout=dropout, batch_first=batch_first)
        biases = dict(sigma_b=sigma_b, bias=bias, **where)
        self.self_attn = MultiheadAttention(features, heads, **scales, **biases)
        self.linear1 = Dense(features, hidden, sigma_w=sigma_w, **biases)
        self.linear2 = Dense(hidden, features, sigma_w=sigma_w, **biases)
        norms = dict(eps=eps, elementwise_affine=affine, **where)
        self.norm1, self.norm2 = (nn.LayerNorm(features, **norms) for _ in range(2))
        self.dropout, self.dropout1, self.dropout2 = (nn.Dropout(dropout) for _ in range(3))
        named = isinstance(activation, str | nn.Module)
        self.activation = activation_layer(activation) if named else activation
        self.norm_first = norm_first

    def forward(
        self,
        src: Float[Tensor, "*n d"],
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "*n d"]:
        """Apply the layer, with the arguments of `torch.nn.TransformerEncoderLayer`."""
        masks = (src_key_padding_mask, False, src_mask, True, is_causal)
        if self.norm_first:
            x = src + self._attend(self.norm1(src), masks)
            return x + self._feed(self.norm2(x))
        x = self.norm1(src + self._attend(src, masks))
        return self.norm2(x + self._feed(x))

    def _attend(self, x: Tensor, masks: tuple) -> Tensor:
        return self.dropout1(self.self_attn(x, x, x, *masks)[0])

    def _feed(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(nn.Module):
    """Layers of a transformer one after the other, and a norm at the end: norm(f_L(... f_1(x))).

    The layers are `TransformerEncoderLayer`, which has formula, normalisation and source. Unlike
    torch's class this one takes layers rather than one to copy, so that each has its own draw.

    Args:
        layers: modules that take (x, mask, key padding mask, is_causal) and keep the shape of x,
            (N, T, features).
        norm: applied at the end; default: nothing.

    Raises:
        TypeError: if a layer is no module.

    Examples:
        >>> layers = [ntkflow.TransformerEncoderLayer(8, 2, 16) for _ in range(3)]
        >>> ntkflow.TransformerEncoder(layers)(torch.randn(5, 3, 8)).shape
        torch.Size([5, 3, 8])
    """

    def __init__(self, layers: Iterable[nn.Module], norm: nn.Module | None = None):
        super().__init__()
        self.layers, self.norm = nn.ModuleList(layers), norm
        self.num_layers = len(self.layers)

    def forward(
        self,
        src: Float[Tensor, "*n d"],
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Float[Tensor, "*n d"]:
        """Apply the layers, with the arguments of `torch.nn.TransformerEncoder`."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)
