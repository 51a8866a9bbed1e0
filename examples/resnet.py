"""The tangent kernel of a residual network as torchvision builds it, and one step of its training.

    python examples/resnet.py

The kernel is that of the network as it stands, batch normalisation with its running averages.
A small step of gradient descent moves the outputs by -eta Theta dL/df, whatever the network is
(Jacot et al. 2018, arXiv:1806.07572, section 4); how far the real step is from that tells how
linear the network is at this step size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import ntkflow

IMAGES, CLASSES, WIDTH = 10, 3, 8


class Block(nn.Module):
    """Two convolutions beside a shortcut: the basic block of He et al. 2015 (arXiv:1512.03385)."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential()
        if stride != 1 or inside != outside:
            self.downsample.append(nn.Conv2d(inside, outside, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to (N, C', H', W')."""
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + self.downsample(x))


class ResNet(nn.Module):
    """ResNet-18 for images of 32 x 32 pixels: four stages of two blocks."""

    def __init__(self, width: int = WIDTH, classes: int = CLASSES):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages, inside = [], width
        for outside, stride in ((width, 1), (2 * width, 2), (4 * width, 2), (8 * width, 2)):
            stages.append(nn.Sequential(Block(inside, outside, stride), Block(outside, outside, 1)))
            inside = outside
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, 32, 32) to scores (N, O)."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


def make_network(x: Tensor) -> ResNet:
    """The same network at every call, in evaluation mode, its averages those of the images."""
    torch.manual_seed(1)
    network = ResNet()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain average over batches
    with torch.no_grad():
        network(x)
    return network.eval()


def step(network: nn.Module, x: Tensor, labels: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    """Change of the outputs (N, O) in one step of gradient descent: real, and by the kernel."""
    kernel = ntkflow.empirical_ntk(network, x).values
    before = network(x)
    loss = F.cross_entropy(before, labels)
    slopes = torch.autograd.grad(loss, before, retain_graph=True)[0]
    linear = -rate * torch.einsum("opnm,mp->no", kernel, slopes)
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=rate).step()
    with torch.no_grad():
        return network(x) - before, linear


def main() -> None:
    """Print how the kernel is computed, which stage it comes from, and how a step goes."""
    torch.manual_seed(0)
    x, labels = torch.randn(IMAGES, 3, 32, 32), torch.arange(IMAGES) % CLASSES
    network = make_network(x)
    print("\n".join(str(ntkflow.explain(network, x)).splitlines()[:3]))
    kernel = ntkflow.empirical_ntk(network, x, outputs="trace", by_layer=True)
    total, shares = kernel.values.trace(), {}
    for name, part in kernel.by_layer.items():
        stage = name.split(".")[0]
        shares[stage] = shares.get(stage, 0) + (part.trace() / total).item()
    for stage, share in shares.items():
        print(f"{stage:8} {share:6.1%} of the trace")
    for rate in (1e-4, 1e-2):
        real, linear = step(make_network(x), x, labels, rate)
        print(
            f"step {rate:g}: off the linear change by {(real - linear).norm() / linear.norm():.1%}"
        )


if __name__ == "__main__":
    main()
