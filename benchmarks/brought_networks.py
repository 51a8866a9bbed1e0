"""Networks that people bring, of torchvision and transformers and recurrent, and their rows."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# torchvision, which transformers imports too, asks for operations that it lacks where it was built
# for another torch than this one, with a GPU or without.
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def images(count: int, channels: int = 3, size: int = 32) -> Tensor:
    """Normal images (N, C, H, H)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, channels, size, size, generator=generator)


def ids(count: int, length: int, vocabulary: int) -> Tensor:
    """Whole numbers below the size of a vocabulary, (N, T)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, vocabulary, (count, length), generator=generator)


def sequences(count: int) -> Tensor:
    """Normal sequences (N, 6, 8)."""
    return torch.randn(count, 6, 8, generator=torch.Generator().manual_seed(0))


def vision():
    """Networks of torchvision."""
    import torchvision.models

    return torchvision.models


def resnet_cifar() -> nn.Module:
    """ResNet-18 whose first layer keeps all 32 x 32 places."""
    network = vision().resnet18(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return network


def vit_tiny() -> nn.Module:
    """12 layers of width 192, 5.4 million weights. Touvron et al. 2021 (arXiv:2012.12877)."""
    sizes = dict(num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768)
    return vision().VisionTransformer(image_size=32, patch_size=4, **sizes, num_classes=10)


def convnext() -> nn.Module:
    """Two stages of width 16 and 32. Liu et al. 2022 (arXiv:2201.03545)."""
    module = vision().convnext
    stages = [module.CNBlockConfig(16, 32, 1), module.CNBlockConfig(32, None, 1)]
    return module.ConvNeXt(stages, num_classes=10)


def swin() -> nn.Module:
    """Two stages of two layers, shifted windows of 4 x 4. Liu et al. 2021 (arXiv:2103.14030)."""
    sizes = dict(embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=[4, 4])
    return vision().SwinTransformer(patch_size=[4, 4], **sizes, num_classes=10)


class Logits(nn.Module):
    """Logits of a language model: of the whole sequence, or at its last place, all or some."""

    def __init__(self, model: nn.Module, chosen: slice | list[int] = slice(None)):
        super().__init__()
        self.model, self.chosen = model, chosen

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ids (N, T)."""
        logits = self.model(input_ids=x).logits
        return logits[:, -1, self.chosen] if logits.ndim == 3 else logits


def gpt2(vocabulary: int, width: int, layers: int, heads: int, **chosen) -> nn.Module:
    """GPT-2, whose readout is its embedding; `chosen` logits of the last place."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = dict(n_positions=64, n_embd=width, n_layer=layers, n_head=heads)
    config = GPT2Config(vocab_size=vocabulary, **sizes, bos_token_id=0, eos_token_id=0)
    return Logits(GPT2LMHeadModel(config), **chosen)


def bert() -> nn.Module:
    """BERT-mini (arXiv:1908.08962), classifying with its real vocabulary."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = dict(hidden_size=256, num_hidden_layers=4, num_attention_heads=4)
    config = BertConfig(**sizes, intermediate_size=1024, num_labels=2)
    return Logits(BertForSequenceClassification(config))


def llama() -> nn.Module:
    """Llama of two layers of width 64 with shared keys."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=32)
    return Logits(LlamaForCausalLM(LlamaConfig(vocab_size=50, **sizes, **heads)))


class UNet(nn.Module):
    """Two levels down and up, 8 channels first. Ronneberger et al. 2015 (arXiv:1505.04597)."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.down, self.lower = _block(1, width), _block(width, 2 * width)
        self.bottom = _block(2 * width, 4 * width)
        self.up = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.rise = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.upper, self.top = _block(4 * width, 2 * width), _block(2 * width, width)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to images (N, 1, H, W); one output for each place."""
        a = self.down(x)
        b = self.lower(F.max_pool2d(a, 2))
        c = self.upper(torch.cat([b, self.up(self.bottom(F.max_pool2d(b, 2)))], 1))
        return self.out(self.top(torch.cat([a, self.rise(c)], 1))).flatten(1)


def _block(fan_in: int, fan_out: int) -> nn.Sequential:
    filters = nn.Conv2d(fan_in, fan_out, 3, padding=1)
    return nn.Sequential(filters, nn.BatchNorm2d(fan_out), nn.ReLU(inplace=True))


class Recurrent(nn.Module):
    """Readout of the last state of a recurrent layer of width 32."""

    def __init__(self, kind: type[nn.RNNBase]):
        super().__init__()
        self.body, self.head = kind(8, 32, batch_first=True), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to sequences (N, T, 8)."""
        return self.head(self.body(x)[0][:, -1])


Rows = Callable[[int], Tensor]

NETWORKS: dict[str, tuple[Callable[[], nn.Module], Rows]] = {
    "ResNet-18": (lambda: vision().resnet18(num_classes=10), images),
    "ResNet-18, CIFAR stem": (resnet_cifar, images),
    "MobileNetV2": (lambda: vision().mobilenet_v2(num_classes=10, width_mult=0.5), images),
    "ViT-Tiny": (vit_tiny, images),
    "GPT-2 tiny, tied": (lambda: gpt2(50, 64, 2, 2), lambda n: ids(n, 6, 50)),
    "GPT-2 4 x 256": (
        lambda: gpt2(50257, 256, 4, 4, chosen=[11, 17]),
        lambda n: ids(n, 32, 50257),
    ),
    "BERT-mini": (bert, lambda n: ids(n, 32, 30000)),
    "Llama tiny": (llama, lambda n: ids(n, 6, 50)),
    "U-Net 8 x 8": (UNet, lambda n: images(n, 1, 8)),
    "ConvNeXt tiny": (convnext, images),
    "Swin tiny": (swin, images),
    "LSTM": (lambda: Recurrent(nn.LSTM), sequences),
    "GRU": (lambda: Recurrent(nn.GRU), sequences),
}


def build(name: str) -> tuple[nn.Module, Rows]:
    """A network in evaluation mode, away from zero heads and unit norms, and its rows."""
    torch.manual_seed(0)
    make, rows = NETWORKS[name]
    network = make().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.03 * torch.randn_like(p))
        for buffer_name, buffer in network.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            if buffer_name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return network, rows
