"""Networks of sequences, of any width, whose limits are checked against wide finite ones."""

import math

import torch
from limit_networks import OUTPUTS, Net, conv, dense, sequences, tokens
from torch import nn

import ntkflow
from ntkflow import Conv1d


class Code(nn.Module):
    """A position code that is added, fixed or learnt."""

    def __init__(self, t, w, learnt):
        super().__init__()
        self.code = nn.Parameter(torch.randn(t, w, dtype=torch.float64), requires_grad=learnt)

    def forward(self, x):
        return x + self.code


def attention(w, scaling="tied 1/d", score="softmax", heads=1, **options):
    return ntkflow.MultiheadAttention(
        w,
        heads,
        scaling=scaling,
        score=score,
        sigma_qk=1.2,
        sigma_v=1.1,
        sigma_o=1.3,
        sigma_b=0.1,
        dtype=torch.float64,
        **options,
    )


def attend(m, x, **options):
    h = m.embed(x)
    return m.last(torch.relu(m.attention(h, h, h, need_weights=False, **options)[0]).mean(1))


def causal(m, x):
    return attend(m, x, is_causal=True)


def attend_states(m, x):
    """Attention to states that are layers of their own, the first left out, backwards."""
    h = [m.embed(x[:, 0])]
    for t in range(1, x.shape[1]):
        h.append(m.hidden(torch.relu(h[-1])) + m.embed(x[:, t]))
    h = torch.stack(h[1:], 1).flip(1)
    return m.last(torch.relu(m.attention(h, h, h, need_weights=False)[0]).mean(1))


def seq(function, d=4, extra=None):
    return lambda w: Net(
        function, embed=dense(d, w), **(extra(w) if extra else {}), last=dense(w, OUTPUTS)
    )


def cell(m, x):
    """A gated cell with the same weights at every step."""
    h = torch.relu(m.embed(x[:, 0]))
    for t in range(1, x.shape[1]):
        h = torch.erf(m.hidden(h) + m.embed(x[:, t])) * torch.sigmoid(m.gate(h))
    return m.last(h)


def both_ways(m, x):
    forward = backward = None
    steps = x.shape[1]
    for t in range(steps):
        h, g = m.embed(x[:, t]), m.embed(x[:, steps - 1 - t])
        forward = torch.relu(h if forward is None else h + m.hidden(forward))
        backward = torch.relu(g if backward is None else g + m.hidden(backward))
    return m.last(torch.cat([forward, backward], -1))


# Name: width to network, inputs.
SEQUENCES = {
    "recurrent, gated": (
        lambda w: Net(
            cell,
            embed=dense(4, w),
            hidden=dense(w, w, 1.3, 0.0),
            gate=dense(w, w),
            last=dense(w, OUTPUTS),
        ),
        lambda: sequences(t=3),
    ),
    "both ways, one cell": (
        lambda w: Net(
            both_ways, embed=dense(4, w), hidden=dense(w, w, 1.0, 0.0), last=dense(2 * w, OUTPUTS)
        ),
        lambda: sequences(t=3),
    ),
    "torch's rnn": (
        lambda w: Net(
            lambda m, x: m.last(m.rnn(x)[0].mean(1)),
            rnn=ntkflow.RNN(
                4, w, num_layers=2, bidirectional=True, sigma_w=1.0, dtype=torch.float64
            ),
            last=dense(2 * w, OUTPUTS),
        ),
        lambda: sequences(t=3),
    ),
    "convolution of states": (
        lambda w: Net(
            lambda m, x: m.last(
                torch.relu(
                    m.conv(torch.stack([torch.relu(m.embed(x[:, t])) for t in range(5)], -1))
                ).mean(-1)
            ),
            embed=dense(4, w),
            conv=conv(Conv1d, w, w, 3),
            last=dense(w, OUTPUTS),
        ),
        sequences,
    ),
    "one token": (seq(lambda m, x: m.last(torch.relu(m.embed(x))[:, 2])), sequences),
    "tokens of a table": (
        lambda w: Net(
            lambda m, x: m.last(torch.relu(m.a(m.table(x))).mean(1)),
            table=ntkflow.Embedding(7, w, sigma_w=1.2, padding_idx=0, dtype=torch.float64),
            a=dense(w, w),
            last=dense(w, OUTPUTS),
        ),
        tokens,
    ),
    "fixed code": (
        seq(
            lambda m, x: m.last(torch.relu(m.a(m.code(m.embed(x)))).mean(1)),
            extra=lambda w: dict(code=Code(5, w, False), a=dense(w, w)),
        ),
        sequences,
    ),
    "learnt code": (
        seq(
            lambda m, x: m.last(torch.relu(m.a(m.code(m.embed(x)))).mean(1)),
            extra=lambda w: dict(code=Code(5, w, True), a=dense(w, w)),
        ),
        sequences,
    ),
    "attention": (seq(attend, extra=lambda w: dict(attention=attention(w))), sequences),
    "causal attention": (seq(causal, extra=lambda w: dict(attention=attention(w))), sequences),
    "attention to the states of a recurrence": (
        seq(attend_states, extra=lambda w: dict(attention=attention(w), hidden=dense(w, w, 0.8))),
        sequences,
    ),
    "many heads": (
        lambda w: Net(
            lambda m, x: m.last(
                m.attention(*[m.embed(x)] * 3, is_causal=True, need_weights=False)[0].flatten(1)
            ),
            embed=dense(4, w),
            attention=attention(w, "many heads", "identity", 2 ** round(math.log2(w) / 2)),
            last=dense(5 * w, OUTPUTS),
        ),
        sequences,
    ),
}
