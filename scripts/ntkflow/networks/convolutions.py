"""Convolutions and transposed convolutions of one to three axes in NTK parameterization."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..checks import as_whole, check_choice
from ..errors import ConfigurationError
from .scaled import ScaledLayer

Sizes = int | tuple[int, ...] | list[int]
PADDING_MODES = ("zeros", "circular", "reflect", "replicate")


def as_sizes(name: str, value: Sizes, axes: int, least: int = 1) -> tuple[int, ...]:
    """One whole number per axis, of one for all or of a tuple.

    Raises:
        ConfigurationError: if they are too small, no whole numbers, or of another count.
    """
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    if len(values) != axes:
        raise ConfigurationError(
            f"{name}: {value!r} is not allowed; use a whole number, or {axes} for {axes} axes"
        )
    return tuple(as_whole(name, each, least) for each in values)


def _check_groups(groups: int, *channels: int) -> None:
    as_whole("groups", groups, 1)
    for count in channels:
        if count % groups:
            raise ConfigurationError(f"groups: {groups} does not divide {count} channels")


class _Filters(ScaledLayer):
    """Weights of filters, and the numbers that say where they act."""

    axes: int

    def __init__(self, weight_shape, in_channels, out_channels, kernel_size, groups, **options):
        super().__init__((*weight_shape, *kernel_size), outputs=out_channels, **options)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.groups = kernel_size, groups

    def _add_bias(self, h: Tensor) -> Tensor:
        if self.bias is None:
            return h
        return h + self.sigma_b * self.bias.view(-1, *[1] * self.axes)

    def extra_repr(self) -> str:
        """Sizes and scales, for printing."""
        sizes = f"{self.in_channels}, {self.out_channels}, {self.kernel_size}"
        places = f"stride={self.stride}, padding={self.padding!r}"
        return f"{sizes}, {places}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}"


class _Convolution(_Filters):
    """Convolution over some axes; subclasses say over how many."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: str | Sizes = "same",
        dilation: Sizes = 1,
        groups: int = 1,
        padding_mode: str = "zeros",
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        device=None,
        dtype=None,
    ):
        options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
        sizes = as_sizes("kernel_size", kernel_size, self.axes)
        stride = as_sizes("stride", stride, self.axes)
        check_choice("padding_mode", padding_mode, PADDING_MODES)
        _check_padding(padding, kernel_size, sizes, stride)
        _check_groups(groups, in_channels, out_channels)
        shape = (out_channels, in_channels // groups)
        super().__init__(shape, in_channels, out_channels, sizes, groups, **options)
        self.stride, self.padding, self.padding_mode = stride, padding, padding_mode
        self.dilation = as_sizes("dilation", dilation, self.axes)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Layers that were pickled when there was one side and no stride are read, too."""
        once = (1,) * self.axes
        before = dict(stride=once, dilation=once, groups=1, padding_mode="zeros")
        sizes = as_sizes("kernel_size", state["kernel_size"], self.axes)
        super().__setstate__(before | state | {"kernel_size": sizes})

    @property
    def margins(self) -> tuple[int, ...]:
        """Entries that padding adds on either side, axis by axis."""
        if self.padding == "valid":
            return (0,) * self.axes
        if self.padding == "same":
            spans = zip(self.dilation, self.kernel_size, strict=True)
            return tuple(dilation * (size - 1) // 2 for dilation, size in spans)
        return as_sizes("padding", self.padding, self.axes, 0)

    def _convolve(self, x: Tensor) -> Tensor:
        convolution = (F.conv1d, F.conv2d, F.conv3d)[self.axes - 1]
        margins = self.margins
        if self.padding_mode != "zeros" and any(margins):
            both = [margin for margin in reversed(margins) for _ in range(2)]
            x, margins = F.pad(x, both, mode=self.padding_mode), (0,) * self.axes
        # The weights are fewer than the outputs, so scaling them is the cheaper order.
        weight = self.weight * self.weight_scale
        places = dict(stride=self.stride, padding=margins, dilation=self.dilation)
        return self._add_bias(convolution(x, weight, groups=self.groups, **places))


def _check_padding(
    padding: str | Sizes, given: Sizes, sizes: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    if not isinstance(padding, str):
        as_sizes("padding", padding, len(sizes), 0)
        return
    check_choice("padding", padding, ("same", "valid"))
    if padding == "same" and any(size % 2 == 0 for size in sizes):
        raise ConfigurationError(
            f"kernel_size: {given} is even; padding 'same' needs an odd filter"
        )
    if padding == "same" and any(step > 1 for step in stride):
        raise ConfigurationError(
            f"padding: 'same' is not allowed with stride {stride}; use 'valid' or numbers"
        )


class Conv2d(_Convolution):
    """Two-dimensional convolution in NTK parameterization.

    h[c, p] = sigma_w sum_{c', d} W[c, c', d] x[c', s p + r d] / sqrt(fan_in) + sigma_b b[c] with
    W, b ~ N(0, 1), stride s and dilation r; fan_in = k1 k2 in_channels / groups, where the padding
    counts as inputs. Source: Arora et al. 2019 (arXiv:1904.11955), section 4, up to scales.

    Args:
        in_channels: channels of the input (N, C, H, W).
        out_channels: channels of the output.
        kernel_size: sides (k1, k2) of the filter, or one for both; odd where `padding` is "same".
        stride: steps from one place of the filter to the next; 1 where `padding` is "same".
        padding: "same" (output as large as the input), "valid" (no padding), or the number of
            entries added on either side, of each axis or of all.
        dilation: steps from one entry of the filter to the next.
        groups: number of groups of channels that do not see each other.
        padding_mode: what is added: "zeros", "circular", "reflect" or "replicate".
        sigma_w: standard deviation of the weights, >= 0.
        sigma_b: standard deviation of the biases, >= 0; with 0 there is no bias parameter.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, a word unknown, or sizes do not fit each other.

    Examples:
        >>> ntkflow.Conv2d(1, 4, kernel_size=3)(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 4, 8, 8])
        >>> layer = ntkflow.Conv2d(1, 4, (3, 5), stride=2, padding=(1, 2), padding_mode="circular")
        >>> layer(torch.ones(5, 1, 8, 8)).shape
        torch.Size([5, 4, 4, 4])
    """

    axes = 2

    def forward(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n out h2 w2"]:
        """Apply the convolution to images (N, C, H, W) or one image (C, H, W)."""
        return self._convolve(x)


class Conv1d(_Convolution):
    """Convolution along one axis in NTK parameterization: `Conv2d` for sequences (N, C, T).

    h[c, t] = sigma_w sum_{c', d} W[c, c', d] x[c', s t + r d] / sqrt(fan_in) + sigma_b b[c],
    fan_in = k in_channels / groups. Arguments, errors and source are those of `Conv2d`.

    Examples:
        >>> ntkflow.Conv1d(3, 4, 5, stride=2, padding="valid")(torch.ones(5, 3, 11)).shape
        torch.Size([5, 4, 4])
    """

    axes = 1

    def forward(self, x: Float[Tensor, "*n c t"]) -> Float[Tensor, "*n out t2"]:
        """Apply the convolution to sequences (N, C, T) or one sequence (C, T)."""
        return self._convolve(x)


class Conv3d(_Convolution):
    """Three-dimensional convolution in NTK parameterization: `Conv2d` for (N, C, D, H, W).

    h[c, p] = sigma_w sum_{c', d} W[c, c', d] x[c', s p + r d] / sqrt(fan_in) + sigma_b b[c],
    fan_in = k1 k2 k3 in_channels / groups. Arguments, errors and source are those of `Conv2d`.

    Examples:
        >>> ntkflow.Conv3d(1, 4, (1, 3, 3))(torch.ones(5, 1, 2, 6, 6)).shape
        torch.Size([5, 4, 2, 6, 6])
    """

    axes = 3

    def forward(self, x: Float[Tensor, "*n c d h w"]) -> Float[Tensor, "*n out d2 h2 w2"]:
        """Apply the convolution to volumes (N, C, D, H, W) or one volume (C, D, H, W)."""
        return self._convolve(x)


class _ConvolutionTranspose(_Filters):
    """Transposed convolution over some axes; subclasses say over how many."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        *,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        sigma_w: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        device=None,
        dtype=None,
    ):
        options = dict(sigma_w=sigma_w, sigma_b=sigma_b, bias=bias, device=device, dtype=dtype)
        sizes = as_sizes("kernel_size", kernel_size, self.axes)
        _check_groups(groups, in_channels, out_channels)
        shape = (in_channels, out_channels // groups)
        super().__init__(shape, in_channels, out_channels, sizes, groups, **options)
        self.stride = as_sizes("stride", stride, self.axes)
        self.padding = as_sizes("padding", padding, self.axes, 0)
        self.output_padding = as_sizes("output_padding", output_padding, self.axes, 0)
        self.dilation = as_sizes("dilation", dilation, self.axes)

    @property
    def fan_in(self) -> float:
        """Inputs that an output sums over, on average over the places far from any edge."""
        each = self.in_channels // self.groups * math.prod(self.kernel_size)
        return each / math.prod(self.stride)

    def _convolve(self, x: Tensor) -> Tensor:
        convolution = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self.axes - 1]
        places = dict(stride=self.stride, padding=self.padding, dilation=self.dilation)
        places |= dict(output_padding=self.output_padding, groups=self.groups)
        return self._add_bias(convolution(x, self.weight * self.weight_scale, **places))


class ConvTranspose2d(_ConvolutionTranspose):
    """Transposed two-dimensional convolution in NTK parameterization.

    h[c, s p + r d] is the sum of sigma_w W[c', c, d] x[c', p] / sqrt(fan_in) over all c', p and d
    that meet there, and of sigma_b b[c], with W, b ~ N(0, 1), stride s and dilation r. How many
    they are differs from pixel to pixel, so fan_in = k1 k2 in_channels / (groups s1 s2) is their
    mean number far from the edges; the variance is that of a dense layer on average over pixels,
    and everywhere if the stride divides the sides and the dilation is 1. Source: Dumoulin, Visin
    2016 (arXiv:1603.07285), chapter 4; Jacot et al. 2018 (arXiv:1806.07572) for the scales.

    Args:
        in_channels: channels of the input (N, C, H, W).
        out_channels: channels of the output.
        kernel_size: sides (k1, k2) of the filter, or one for both.
        stride: steps in the output from one input to the next.
        padding: entries taken off the output on either side.
        output_padding: entries added to the output on the right and below.
        dilation: steps from one entry of the filter to the next.
        groups: number of groups of channels that do not see each other.
        sigma_w: standard deviation of the weights, >= 0.
        sigma_b: standard deviation of the biases, >= 0; with 0 there is no bias parameter.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, or sizes do not fit each other.

    Examples:
        >>> ntkflow.ConvTranspose2d(3, 4, 2, stride=2)(torch.ones(5, 3, 4, 4)).shape
        torch.Size([5, 4, 8, 8])
    """

    axes = 2

    def forward(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n out h2 w2"]:
        """Apply the layer to images (N, C, H, W) or one image (C, H, W)."""
        return self._convolve(x)


class ConvTranspose1d(_ConvolutionTranspose):
    """Transposed convolution along one axis in NTK parameterization.

    h[c, s t + r d] sums sigma_w W[c', c, d] x[c', t] / sqrt(fan_in), and sigma_b b[c], with
    fan_in = k in_channels / (groups s). Arguments, errors and source are those of
    `ConvTranspose2d`.

    Examples:
        >>> ntkflow.ConvTranspose1d(3, 4, 4, stride=2, padding=1)(torch.ones(5, 3, 6)).shape
        torch.Size([5, 4, 12])
    """

    axes = 1

    def forward(self, x: Float[Tensor, "*n c t"]) -> Float[Tensor, "*n out t2"]:
        """Apply the layer to sequences (N, C, T) or one sequence (C, T)."""
        return self._convolve(x)


class ConvTranspose3d(_ConvolutionTranspose):
    """Transposed three-dimensional convolution in NTK parameterization.

    h[c, s p + r d] sums sigma_w W[c', c, d] x[c', p] / sqrt(fan_in), and sigma_b b[c], with
    fan_in = k1 k2 k3 in_channels / (groups s1 s2 s3). Arguments, errors and source are those of
    `ConvTranspose2d`.

    Examples:
        >>> ntkflow.ConvTranspose3d(1, 4, 2, stride=2)(torch.ones(5, 1, 2, 3, 3)).shape
        torch.Size([5, 4, 4, 6, 6])
    """

    axes = 3

    def forward(self, x: Float[Tensor, "*n c d h w"]) -> Float[Tensor, "*n out d2 h2 w2"]:
        """Apply the layer to volumes (N, C, D, H, W) or one volume (C, D, H, W)."""
        return self._convolve(x)
