"""Recurrent networks in NTK parameterization, each a loop over dense layers."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import as_whole, check_not_negative, check_tensors
from .activations import activation_layer
from .layers import Dense


class _Cell(nn.Module):
    """One dense layer on the state, without bias, and one on the input, for a number of gates."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        gates: int,
        *,
        sigma_w: float = 1.0,
        sigma_u: float = 1.0,
        sigma_b: float = 0.0,
        bias: str = "normal",
        device=None,
        dtype=None,
    ):
        super().__init__()
        check_not_negative("sigma_u", sigma_u)  # a dense layer would call it sigma_w
        self.input_size, self.hidden_size = input_size, hidden_size
        options = dict(bias=bias, device=device, dtype=dtype)
        wide = gates * hidden_size
        self.hidden = Dense(hidden_size, wide, sigma_w=sigma_w, **options)
        self.input = Dense(input_size, wide, sigma_w=sigma_u, sigma_b=sigma_b, **options)


class RNNCell(_Cell):
    """One step of a recurrent network in NTK parameterization.

    h' = phi(sigma_w W h / sqrt(n) + sigma_u U x / sqrt(d) + sigma_b b) with n = hidden_size,
    d = input_size and W, U, b ~ N(0, 1); without a state h the first term is left out. Source:
    Alemohammad et al. 2021 (arXiv:2006.10246), section 2.

    Args:
        input_size: d, size of the last axis of x.
        hidden_size: n, size of the last axis of the state.
        activation: phi, a name in `ACTIVATIONS` or a module, which is copied.
        sigma_w: standard deviation of the weights of the state, >= 0.
        sigma_u: that of the weights of the input, >= 0.
        sigma_b: that of the biases, >= 0; with 0 there is no bias parameter.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative or a word unknown.

    Examples:
        >>> cell, x = ntkflow.RNNCell(3, 8, "relu"), torch.randn(5, 3)
        >>> cell(x, cell(x)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: str | nn.Module = "tanh",
        **options: Any,
    ):
        super().__init__(input_size, hidden_size, 1, **options)
        self.activation = activation_layer(activation)

    def forward(
        self, x: Float[Tensor, "*n d"], state: Float[Tensor, "*n h"] | None = None
    ) -> Float[Tensor, "*n h"]:
        """The next state."""
        h = self.input(x)
        return self.activation(h if state is None else self.hidden(state) + h)


class LSTMCell(_Cell):
    """One step of an LSTM in NTK parameterization.

    The gates i, f, g, o are the four parts of sigma_w W h / sqrt(n) + sigma_u U x / sqrt(d) +
    sigma_b b with W, U, b ~ N(0, 1); c' = sigmoid(f) c + sigmoid(i) tanh(g) and h' = sigmoid(o)
    tanh(c'); without a state h and c are zero. Source: Hochreiter, Schmidhuber 1997 (Neural
    Computation 9), as in `torch.nn.LSTMCell`. Arguments and errors are those of `RNNCell`, without
    the activation.

    Examples:
        >>> cell, x = ntkflow.LSTMCell(3, 8), torch.randn(5, 3)
        >>> h, c = cell(x, cell(x))
        >>> h.shape, c.shape
        (torch.Size([5, 8]), torch.Size([5, 8]))
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, 4, **options)

    def forward(
        self,
        x: Float[Tensor, "*n d"],
        state: tuple[Float[Tensor, "*n h"], Float[Tensor, "*n h"]] | None = None,
    ) -> tuple[Float[Tensor, "*n h"], Float[Tensor, "*n h"]]:
        """The next state (h, c)."""
        gates = self.input(x)
        gates = gates if state is None else self.hidden(state[0]) + gates
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(i) * torch.tanh(g)
        c = c if state is None else torch.sigmoid(f) * state[1] + c
        return torch.sigmoid(o) * torch.tanh(c), c


class GRUCell(_Cell):
    """One step of a gated recurrent unit in NTK parameterization.

    With the three parts (w_r, w_z, w_n) of sigma_w W h / sqrt(n) and (u_r, u_z, u_n) of
    sigma_u U x / sqrt(d) + sigma_b b, where W, U, b ~ N(0, 1): r = sigmoid(w_r + u_r),
    z = sigmoid(w_z + u_z), m = tanh(r w_n + u_n) and h' = (1 - z) m + z h; without a state h is
    zero. That is `torch.nn.GRUCell` whose bias_hh is zero. Source: Cho et al. 2014
    (arXiv:1406.1078). Arguments and errors are those of `RNNCell`, without the activation.

    Examples:
        >>> cell, x = ntkflow.GRUCell(3, 8), torch.randn(5, 3)
        >>> cell(x, cell(x)).shape
        torch.Size([5, 8])
    """

    def __init__(self, input_size: int, hidden_size: int, **options: Any):
        super().__init__(input_size, hidden_size, 3, **options)

    def forward(
        self, x: Float[Tensor, "*n d"], state: Float[Tensor, "*n h"] | None = None
    ) -> Float[Tensor, "*n h"]:
        """The next state."""
        u_r, u_z, u_n = self.input(x).chunk(3, -1)
        if state is None:
            return (1 - torch.sigmoid(u_z)) * torch.tanh(u_n)
        w_r, w_z, w_n = self.hidden(state).chunk(3, -1)
        z = torch.sigmoid(w_z + u_z)
        m = torch.tanh(torch.sigmoid(w_r + u_r) * w_n + u_n)
        return (1 - z) * m + z * state


class _Recurrent(nn.Module):
    """Cells of every layer and direction, each with the same weights at every step."""

    cell: type[_Cell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        batch_first: bool = True,
        **options: Any,
    ):
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers = as_whole("num_layers", num_layers, 1)
        self.bidirectional, self.batch_first = bidirectional, batch_first
        self.dropout = nn.Dropout(dropout)
        sides = 2 if bidirectional else 1
        sizes = [input_size] + [sides * hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(
            self.cell(size, hidden_size, **options) for size in sizes for _ in range(sides)
        )

    def _run(self, x: Tensor, states: Iterable[Any]) -> tuple[Tensor, list[Any]]:
        """Outputs of the last layer, and the last state of every cell."""
        check_tensors(x=x)
        time = 1 if self.batch_first and x.ndim == 3 else 0
        steps, last, states = list(x.unbind(time)), [], iter(states)
        for layer in range(self.num_layers):
            steps = [self.dropout(step) for step in steps] if layer else steps
            steps, reached = self._layer(layer, steps, states)
            last += reached
        return torch.stack(steps, time), last

    def _layer(self, layer: int, steps: list[Tensor], states: Any) -> tuple[list[Tensor], list]:
        """Outputs of one layer, step by step, and its last states."""
        if not self.bidirectional:
            outputs, last = _passed(self.cells[layer], steps, next(states))
            return outputs, [last]
        forth, first = _passed(self.cells[2 * layer], steps, next(states))
        back, second = _passed(self.cells[2 * layer + 1], steps[::-1], next(states))
        both = zip(forth, back[::-1], strict=True)
        return [torch.cat(pair, -1) for pair in both], [first, second]

    def extra_repr(self) -> str:
        """Sizes, for printing."""
        sizes = f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}"
        return f"{sizes}, bidirectional={self.bidirectional}, batch_first={self.batch_first}"


def _passed(cell: _Cell, steps: list[Tensor], state: Any) -> tuple[list[Tensor], Any]:
    """Outputs of one cell, step by step, and its last state."""
    outputs = []
    for step in steps:
        state = cell(step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return outputs, state


class _OneState(_Recurrent):
    """Recurrent networks whose state is one tensor."""

    def forward(
        self, x: Float[Tensor, "*n d"], state: Float[Tensor, "l *m h"] | None = None
    ) -> tuple[Float[Tensor, "*n out"], Float[Tensor, "l *m h"]]:
        """Outputs of the last layer at every step, and the last state of each cell."""
        starts = [None] * len(self.cells) if state is None else state.unbind(0)
        outputs, last = self._run(x, starts)
        return outputs, torch.stack(last)


class RNN(_OneState):
    """Recurrent network in NTK parameterization.

    h_t = sigma_w W phi(h_{t-1}) / sqrt(n) + sigma_u U x_t / sqrt(d) + sigma_b b with W, U, b ~
    N(0, 1), the same at every step, n = hidden_size and d = input_size; phi(h_t) is returned and
    carried on. Where no state is given the first term is left out at t = 0. Source: Alemohammad et
    al. 2021 (arXiv:2006.10246), section 2.

    Args:
        input_size: d; inputs are (N, T, d), or one sequence (T, d).
        hidden_size: n; outputs are (N, T, n), or (N, T, 2 n) of two directions.
        num_layers: layers, each on the outputs of the one before.
        bidirectional: whether each layer also goes backwards, with weights of its own.
        dropout: share of a layer's outputs that the next does not see in training mode.
        batch_first: whether inputs are (N, T, d) rather than (T, N, d).
        activation: phi, a name in `ACTIVATIONS` or a module, which is copied; default: "tanh".
        sigma_w: standard deviation of the weights of the state, >= 0.
        sigma_u: that of the weights of the input, >= 0.
        sigma_b: that of the biases, >= 0; with 0 there is no bias parameter.
        bias: "normal" or "zero", the biases at initialisation.
        device: where the parameters live.
        dtype: type of the parameters.

    Raises:
        ConfigurationError: if a scale is negative, a word unknown, or x is no tensor.

    Examples:
        >>> outputs, last = ntkflow.RNN(3, 8, activation="erf")(torch.randn(5, 4, 3))
        >>> outputs.shape, last.shape
        (torch.Size([5, 4, 8]), torch.Size([1, 5, 8]))
    """

    cell = RNNCell


class GRU(_OneState):
    """Network of gated recurrent units in NTK parameterization.

    `GRUCell`, which has the formula, its normalisation and its source, at every step of (N, T, d).
    Arguments, shapes and errors are those of `RNN`, without the activation.

    Examples:
        >>> outputs, last = ntkflow.GRU(3, 8, num_layers=2)(torch.randn(5, 4, 3))
        >>> outputs.shape, last.shape
        (torch.Size([5, 4, 8]), torch.Size([2, 5, 8]))
    """

    cell = GRUCell


class LSTM(_Recurrent):
    """Network of LSTM cells in NTK parameterization.

    `LSTMCell`, which has the formula, its normalisation and its source, at every step of (N, T, d).
    Arguments, shapes and errors are those of `RNN`, without the activation; the state is (h, c).

    Examples:
        >>> outputs, (h, c) = ntkflow.LSTM(3, 8, bidirectional=True)(torch.randn(5, 4, 3))
        >>> outputs.shape, h.shape, c.shape
        (torch.Size([5, 4, 16]), torch.Size([2, 5, 8]), torch.Size([2, 5, 8]))
    """

    cell = LSTMCell

    def forward(
        self,
        x: Float[Tensor, "*n d"],
        state: tuple[Float[Tensor, "l *m h"], Float[Tensor, "l *m h"]] | None = None,
    ) -> tuple[Float[Tensor, "*n out"], tuple[Float[Tensor, "l *m h"], Float[Tensor, "l *m h"]]]:
        """Outputs of the last layer at every step, and the last state (h, c) of each cell."""
        starts = [None] * len(self.cells)
        if state is not None:
            starts = list(zip(state[0].unbind(0), state[1].unbind(0), strict=True))
        outputs, last = self._run(x, starts)
        return outputs, tuple(torch.stack(each) for each in zip(*last, strict=True))
