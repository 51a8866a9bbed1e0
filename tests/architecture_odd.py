"""Toy networks that reach their outputs in unusual ways."""

import torch
from architecture_images import Vit
from never_wrong_networks import Net, differentiated, slope, tanh_mlp, two
from torch import nn
from torch.autograd.function import once_differentiable as once
from torch.nn import functional as F
from torch.nn.utils import parametrizations


def last_layer_of(make):
    """Gradients of the last layer only."""

    def build():
        network = make().requires_grad_(False)
        network[-1].requires_grad_(True)
        return network

    return build


class Lora(nn.Linear):
    """A fixed dense layer and a correction of rank two. Hu et al. 2021 (arXiv:2106.09685)."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.requires_grad_(False)
        self.down = nn.Linear(inputs, 2, bias=False)
        self.up = nn.Linear(2, outputs, bias=False)

    def forward(self, x):
        return super().forward(x) + self.up(self.down(x))


def lora_in_vit():
    """With an activation for which torch has no fused layer, which would leave corrections out."""
    network = Vit(activation=F.silu).requires_grad_(False)
    for layer in network.body.layers:
        layer.linear1, layer.linear2 = Lora(8, 16), Lora(16, 8)
    return network


def deep_set():
    """Zaheer et al. 2017 (arXiv:1703.06114)."""
    return Net(
        lambda net, x: net.read(net.each(x).sum(1)), each=tanh_mlp(8, 5), read=tanh_mlp(5, 3)
    )


def graph_convolution():
    """Neighbours on a ring of four nodes. Kipf and Welling 2017 (arXiv:1609.02907)."""
    net = Net(
        lambda net, x: net.b(net.ring @ net.a(net.ring @ x).relu()).mean(1),
        a=nn.Linear(8, 5),
        b=nn.Linear(5, 3),
    )
    eye = torch.eye(4)
    net.register_buffer("ring", (eye + eye.roll(1, 0) + eye.roll(-1, 0)) / 3)
    return net


class TiedEmbedding(nn.Module):
    """Scores are products with the embedding itself."""

    def __init__(self):
        super().__init__()
        self.embed, self.dense = nn.Embedding(11, 5), nn.Linear(5, 5)
        self.read = nn.Linear(5, 11)
        self.read.weight = self.embed.weight

    def forward(self, ids):
        return self.read(self.dense(self.embed(ids).mean(1)).tanh())[:, :3]


def embedding(**options):
    return Net(
        lambda net, ids: net.read(net.embed(ids).mean(1).tanh()),
        embed=nn.Embedding(11, 4, **options),
        read=nn.Linear(4, 3),
    )


def bag():
    return nn.Sequential(nn.EmbeddingBag(11, 4, mode="max"), nn.Tanh(), nn.Linear(4, 3))


def poisson():
    """Residual of a second-order equation, for solutions that vanish on an edge."""

    def residual(x, u):
        g = slope(x[:, :1] * u, x)
        return sum(slope(g[:, i], x)[:, i : i + 1] for i in (0, 1)) - x.prod(1, keepdim=True).sin()

    return differentiated(nn.Sequential(tanh_mlp(2, 4), nn.Tanh(), nn.Linear(4, 1)), residual)


def advection():
    """Residual and boundary value together, as they are trained on."""
    return differentiated(
        tanh_mlp(2, 1), lambda x, u: torch.cat([slope(u, x) @ x.new_ones(2, 1), u - x[:, :1]], 1)
    )


def deep_operator():
    """Product of a network of the first input and one of the second. Lu et al. 2021."""
    return Net(
        lambda net, x: (net.branch(x[:, :1]) * net.trunk(x[:, 1:])).unflatten(1, (3, 2)).sum(2),
        branch=tanh_mlp(1, 6),
        trunk=tanh_mlp(1, 6),
    )


def top_two(net, x):
    """Rows go to two of three experts, and what they give is added in place."""
    shares, chosen = net.gate(x).softmax(1).topk(2)
    out = x.new_zeros(len(x), 2)
    for index, expert in enumerate(net.experts):
        rows, slot = (chosen == index).nonzero(as_tuple=True)
        if len(rows):
            out.index_add_(0, rows, shares[rows, slot, None] * expert(x[rows]))
    return out


def top_two_experts():
    return Net(top_two, gate=nn.Linear(4, 3), experts=nn.ModuleList(tanh_mlp(4, 2) for _ in "abc"))


def soft_experts():
    """All experts for every row, with weights that stand in one tensor."""
    net = Net(
        lambda net, x: torch.einsum(
            "ne,neo->no", net.gate(x).softmax(1), torch.einsum("ni,eoi->neo", x, net.weights).tanh()
        ),
        gate=nn.Linear(4, 3),
    )
    net.weights = nn.Parameter(torch.randn(3, 2, 4))
    return net


def forward_hooks():
    """One hook changes what a layer returns, another what it is given."""
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    net[0].register_forward_hook(lambda layer, given, out: out + 0.5 * out.sin())
    net[2].register_forward_pre_hook(lambda layer, given: given[0] ** 2)
    return net


class Cube(torch.autograd.Function):
    """A function whose derivative has none."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once
    def backward(ctx, gradient):
        return 3 * gradient * ctx.saved_tensors[0] ** 2


def once_differentiable():
    return two(lambda net, x: net.b(Cube.apply(net.a(x))))


def straight_through():
    """Weights rounded to quarters, with the gradient of weights that are not."""

    def forward(net, x):
        weight = net.a.weight
        weight = weight + ((weight * 4).round() / 4 - weight).detach()
        return net.b(F.linear(x, weight, net.a.bias).tanh())

    return two(forward)


class Branching(nn.Module):
    """What a script compiles: a loop over shared layers."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in range(3):
            x = x + self.a(x).tanh() if step > 0 else self.a(x)
        return self.b(x)


def scripted():
    return torch.jit.script(Branching())


def shared():
    """A layer used three times, whose transposed weight also acts."""

    def forward(net, x):
        for _ in range(3):
            x = net.a(x).tanh() + F.linear(x, net.a.weight.T)
        return net.b(x)

    return two(forward, width=4)


def neural_ode():
    """Classical Runge-Kutta steps of one vector field."""

    def forward(net, x):
        for _ in range(2):
            k1 = net.body(x)
            k2 = net.body(x + 0.25 * k1)
            x = x + 0.5 * k2
        return net.read(x)

    return Net(forward, body=tanh_mlp(4, 4), read=nn.Linear(4, 3))


def fixed_point():
    """A fixed number of steps towards an equilibrium. Bai et al. 2019 (arXiv:1909.01377)."""

    def forward(net, x):
        z = torch.zeros_like(x)
        for _ in range(6):
            z = 0.5 * (net.a(z) + x).tanh()
        return net.b(z)

    return two(forward, width=4)


def hypernetwork():
    """Weights of a layer are computed from the row itself."""
    return Net(
        lambda net, x: torch.bmm(net.make(x).unflatten(1, (3, 4)), x[:, :, None].tanh())[..., 0],
        make=tanh_mlp(4, 12),
    )


def sine_layers():
    """Sitzmann et al. 2020 (arXiv:2006.09661)."""
    return Net(
        lambda net, x: net.c(torch.sin(3 * net.b(torch.sin(3 * net.a(x))))),
        a=nn.Linear(4, 6),
        b=nn.Linear(6, 6),
        c=nn.Linear(6, 3),
    )


def normed(norm):
    return lambda: nn.Sequential(nn.Linear(4, 6), norm(), nn.SiLU(), nn.Linear(6, 3))


def normalised_weights():
    first, second = nn.Linear(4, 6), nn.Linear(6, 6)
    layers = parametrizations.weight_norm(first), nn.ReLU(), parametrizations.weight_norm(second)
    return nn.Sequential(*layers, nn.ReLU(), nn.Linear(6, 3))


def spectral_norm():
    first, second = nn.Linear(4, 6), nn.Linear(6, 6)
    layers = (
        parametrizations.spectral_norm(first),
        nn.Tanh(),
        parametrizations.spectral_norm(second),
    )
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(6, 3))


def batch_mean():
    return two(lambda net, x: net.b(net.a(x) - net.a(x).mean(0)))


def noise():
    return two(lambda net, x: net.b(F.dropout(net.a(x), 0.5, training=True)))


def shortened_embedding():
    return embedding(max_norm=0.5)


def over_rows():
    """Attention whose sequence is on the first axis, given rows on the first."""
    return Net(
        lambda net, x: net.read(net.body(x).mean(1)),
        body=nn.TransformerEncoderLayer(8, 2, 12),
        read=nn.Linear(8, 3),
    )
