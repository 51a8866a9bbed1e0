"""Toy networks on sequences and on integer ids: recurrent, transformers, language models."""

import torch
from never_wrong_networks import Net
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

VOCABULARY, WIDTH = 11, 8


class Logits(nn.Module):
    """Three logits of a language model: at the last place, or of the whole sequence.

    Whole numbers are ids, others embeddings.
    """

    def __init__(self, model, padded=False):
        super().__init__()
        self.model, self.padded = model, padded

    def forward(self, x):
        given = {"inputs_embeds" if x.is_floating_point() else "input_ids": x}
        if self.padded:
            given["attention_mask"] = x != 0
        logits = self.model(**given).logits
        return logits[:, -1, :3] if logits.ndim == 3 else logits


def gpt2(kind=GPT2LMHeadModel, padded=False, **options):
    """Its readout is its embedding."""
    sizes = dict(vocab_size=VOCABULARY, n_positions=8, n_embd=WIDTH, n_layer=2, n_head=2)
    return Logits(kind(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **options)), padded)


def gpt2_classifier():
    return gpt2(GPT2ForSequenceClassification, True, num_labels=3, pad_token_id=0)


def bert():
    sizes = dict(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2)
    config = dict(num_attention_heads=2, intermediate_size=12, max_position_embeddings=8)
    return Logits(BertForSequenceClassification(BertConfig(**sizes, **config, num_labels=3)))


def llama():
    sizes = dict(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, intermediate_size=12)
    ends = dict(bos_token_id=0, eos_token_id=0)
    return Logits(LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ends)))


def llama_in_one_type():
    """Its own normalisation computes in float32 whatever the type, torch's does not."""
    network = llama()
    body = network.model.model
    body.norm = nn.RMSNorm(WIDTH, eps=1e-6)
    for layer in body.layers:
        layer.input_layernorm = nn.RMSNorm(WIDTH, eps=1e-6)
        layer.post_attention_layernorm = nn.RMSNorm(WIDTH, eps=1e-6)
    return network


def recurrent(kind, embed=False, **options):
    """Output of the last step of a recurrent layer."""
    net = Net(
        lambda net, x: net.read(net.body(net.embed(x))[0][:, -1]),
        embed=nn.Embedding(VOCABULARY, WIDTH) if embed else nn.Identity(),
        body=kind(WIDTH, 5, batch_first=True, **options),
    )
    net.read = nn.Linear(10 if options.get("bidirectional") else 5, 3)
    return net


def lstm_cell(net, x):
    state = None
    for step in x.unbind(1):
        state = net.cell(step, state)
    return net.read(state[0])


def of_lstm_cell():
    return Net(lstm_cell, cell=nn.LSTMCell(WIDTH, 5), read=nn.Linear(5, 3))


def with_encoder(forward, **options):
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, **options)
    body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    embed = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
    return Net(forward, body=body, embed=embed, read=nn.Linear(WIDTH, 3))


def encoder(**options):
    net = with_encoder(lambda net, x: net.read(net.body(x).mean(1)), batch_first=True, **options)
    del net.embed
    return net


def sequence_first():
    return with_encoder(lambda net, x: net.read(net.body(net.embed(x).transpose(0, 1)).mean(0)))


def masked(net, ids):
    padding = ids == 0
    h = net.body(net.embed(ids), src_key_padding_mask=padding)
    return net.read((h * ~padding[..., None]).sum(1) / (~padding).sum(1, keepdim=True))


def padding_mask():
    return with_encoder(masked, batch_first=True)


class EncoderDecoder(nn.Module):
    """Queries that are learnt attend to the sequence; what is read out is tied to them."""

    def __init__(self):
        super().__init__()
        options = dict(dim_feedforward=10, num_encoder_layers=1, num_decoder_layers=1)
        self.body = nn.Transformer(WIDTH, 2, **options, batch_first=True)
        self.queries = nn.Parameter(torch.randn(2, WIDTH))

    def forward(self, x):
        h = self.body(x, self.queries.expand(len(x), -1, -1))
        return torch.einsum("nqc,qc->nq", h, self.queries)


def linear_attention(net, x):
    """Causal attention with positive features, as a running sum. Katharopoulos et al. 2020."""
    q, k, v = net.qkv(x).chunk(3, -1)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    sums = torch.einsum("ntc,ntd->ntcd", k, v).cumsum(1)
    h = torch.einsum("ntc,ntcd->ntd", q, sums) / (q * k.cumsum(1)).sum(-1, keepdim=True)
    return net.read(h[:, -1])


def of_linear_attention():
    return Net(linear_attention, qkv=nn.Linear(WIDTH, 12), read=nn.Linear(4, 3))


def state_space(net, x):
    """A diagonal linear recurrence with input gates, as in Gu and Dao 2023 (arXiv:2312.00752)."""
    state, decay = x.new_zeros(len(x), 5), torch.exp(-F.softplus(net.decay.weight[0]))
    for step in x.unbind(1):
        state = decay * state + net.drive(step) * torch.sigmoid(net.gate(step))
    return net.read(state * F.silu(net.gate(x[:, -1])))


def of_state_space():
    layers = dict(drive=nn.Linear(WIDTH, 5), gate=nn.Linear(WIDTH, 5), decay=nn.Linear(5, 1))
    return Net(state_space, **layers, read=nn.Linear(5, 3))


def temporal():
    """Dilated causal convolutions with gates. van den Oord et al. 2016 (arXiv:1609.03499)."""
    wide = [nn.ConstantPad1d((d, 0), 0.0) for d in (1, 2)]
    layers = [(wide[i], nn.Conv1d(6, 12, 2, dilation=i + 1), nn.GLU(1)) for i in (0, 1)]
    return nn.Sequential(*layers[0], *layers[1], nn.Flatten(), nn.Linear(48, 3))
