"""The slow truth: each mixer once more in plain loops, for the tests to hold against."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.mixers.attention import RotaryAttention
from hyperconformer.mixers.base import TokenMixer
from hyperconformer.mixers.fourier import Fourier
from hyperconformer.mixers.hypermixing import HyperMixing
from hyperconformer.mixers.identity import Identity
from hyperconformer.mixers.mlp import GatedMLP, MLPMixer
from hyperconformer.mixers.relative import RelativeAttention
from hyperconformer.mixers.summary import SummaryMixing
from hyperconformer.nn.positions import sinusoids


def _written(mixer: HyperMixing, x_td: Tensor, network: int, h: int) -> Tensor:
    """What one hypernetwork writes for one head, frame by frame: (T, D) -> (T, K)."""
    frames, d_model = x_td.shape
    head = d_model // mixer.num_heads
    columns, inner = slice(h * head, (h + 1) * head), slice(network * head, (network + 1) * head)
    if mixer.positions == "sinusoid":
        x_td = x_td + sinusoids(0, frames, d_model, x_td)
    elif mixer.positions == "convolution":
        x_td = x_td + _convolved(mixer.near, x_td)
    rows = []
    for t in range(frames):
        hidden = F.gelu(x_td[t, columns] @ mixer.weight_in[h][:, inner] + mixer.bias_in[h, 0, inner])
        row = hidden @ mixer.weight_out[network, h]
        rows.append(row if mixer.bias_out is None else row + mixer.bias_out[network, h, 0])
    return torch.stack(rows)


def cross_reference(mixer: HyperMixing, queries_ld: Tensor, keys_td: Tensor) -> Tensor:
    """Compute what ``mixer.cross`` should give for one unpadded pair, slowly.

    Parameters
    ----------
    mixer : HyperMixing
    queries_ld : Tensor, shape (L, D)
    keys_td : Tensor, shape (T, D)

    Returns
    -------
    Tensor, shape (L, D)

    Examples
    --------
    >>> cross_reference(HyperMixing(4, 2), torch.randn(2, 4), torch.randn(3, 4)).shape
    torch.Size([2, 4])
    """
    frames, d_model = keys_td.shape
    head = d_model // mixer.num_heads
    norm = {"sqrt": math.sqrt(frames), "mean": float(frames), "none": 1.0}[mixer.length_norm]
    heads = []
    for h in range(mixer.num_heads):
        write1 = _written(mixer, keys_td, 0, h)
        write2 = _written(mixer, queries_ld, len(mixer.weight_out) - 1, h)
        own = keys_td[:, h * head : (h + 1) * head]
        pooled = torch.stack([torch.outer(write1[t], own[t]) for t in range(frames)]).sum(0)
        heads.append(write2 @ F.gelu(pooled / norm))
    joined: Tensor = mixer.norm(torch.cat(heads, dim=-1))
    if mixer.gated:
        gates = torch.stack([F.silu(mixer.gate(query)) for query in queries_ld])
        return torch.stack([mixer.project(row) for row in joined * gates])
    return joined


def _convolved(near: nn.Conv1d, x_td: Tensor) -> Tensor:
    """A depthwise convolution, frame by frame."""
    width, bias, rows = near.weight.shape[2], near.bias, []
    assert bias is not None
    for t in range(len(x_td)):
        row: Tensor = bias
        for k in range(width):
            if 0 <= t + k - width // 2 < len(x_td):
                row = row + near.weight[:, 0, k] * x_td[t + k - width // 2]
        rows.append(row)
    return torch.stack(rows)


def _hypermixing(mixer: HyperMixing, x_td: Tensor) -> Tensor:
    return cross_reference(mixer, x_td, x_td)


def _turned(vector: Tensor, t: int) -> Tensor:
    """Rotate each pair of features by t / 10000^(2i / E)."""
    turned = []
    for i in range(0, len(vector), 2):
        angle = t / 10_000 ** (i / len(vector))
        turned.append(vector[i] * math.cos(angle) - vector[i + 1] * math.sin(angle))
        turned.append(vector[i] * math.sin(angle) + vector[i + 1] * math.cos(angle))
    return torch.stack(turned)


def _attended(
    mixer: RotaryAttention | RelativeAttention,
    x_td: Tensor,
    score: Callable[[int, Tensor, Tensor, int, int], Tensor],
) -> Tensor:
    """Self-attention whose score of head h, query and key at frames t and s is given."""
    frames, d_model = x_td.shape
    head = d_model // mixer.num_heads
    projected = mixer.query_key_value(x_td)
    heads = []
    for h in range(mixer.num_heads):
        query, key, value = (projected[:, n * d_model + h * head :][:, :head] for n in range(3))
        rows = []
        for t in range(frames):
            scores = [score(h, query[t], key[s], t, s) for s in range(frames)]
            rows.append(torch.stack(scores).softmax(0) @ value)
        heads.append(torch.stack(rows))
    joined: Tensor = mixer.out(torch.cat(heads, dim=-1))
    return joined


def _attention(mixer: RotaryAttention, x_td: Tensor) -> Tensor:
    def score(_: int, query: Tensor, key: Tensor, t: int, s: int) -> Tensor:
        return _turned(query, t) @ _turned(key, s) / math.sqrt(len(query))

    return _attended(mixer, x_td, score)


def _distance(frames: int, dim: int, like: Tensor) -> Tensor:
    """Sines and cosines of frames / 10000^(2i / D), in turns."""
    angles = [frames / 10_000 ** (i / dim) for i in range(0, dim, 2)]
    return like.new_tensor([f(angle) for angle in angles for f in (math.sin, math.cos)])


def _relative(mixer: RelativeAttention, x_td: Tensor) -> Tensor:
    d_model = x_td.shape[1]

    def score(h: int, query: Tensor, key: Tensor, t: int, s: int) -> Tensor:
        head = len(query)
        apart = mixer.position(_distance(abs(t - s), d_model, x_td))[h * head : (h + 1) * head]
        content = (query + mixer.content_bias[h]) @ key
        position = (query + mixer.position_bias[h]) @ apart
        scaled: Tensor = (content + position) / math.sqrt(d_model)
        return scaled

    return _attended(mixer, x_td, score)


def _summary(mixer: SummaryMixing, x_td: Tensor) -> Tensor:
    frames, d_model = x_td.shape
    head = d_model // mixer.num_heads

    def transformed(t: int, second: bool) -> Tensor:
        part = slice(head, 2 * head) if second else slice(0, head)
        heads = []
        for h in range(mixer.num_heads):
            x = x_td[t, h * head : (h + 1) * head]
            heads.append(F.gelu(x @ mixer.weight[h][:, part] + mixer.bias[h, 0, part]))
        return torch.cat(heads)

    mean = torch.stack([transformed(t, second=True) for t in range(frames)]).mean(0)
    rows = [F.gelu(mixer.combine(torch.cat((transformed(t, second=False), mean)))) for t in range(frames)]
    return torch.stack(rows)


def _fourier(mixer: Fourier, x_td: Tensor) -> Tensor:
    frames, d_model = x_td.shape
    rows = []
    for f in range(frames):
        cells = []
        for d in range(d_model):
            turns = [[f * t / frames + d * e / d_model for e in range(d_model)] for t in range(frames)]
            waves = (2 * math.pi * torch.tensor(turns, dtype=x_td.dtype)).cos()
            cells.append((x_td * waves).sum())
        rows.append(torch.stack(cells))
    return torch.stack(rows)


def _mlp(mixer: MLPMixer, x_td: Tensor) -> Tensor:
    frames, d_model = x_td.shape
    columns = []
    for d in range(d_model):
        heard = torch.stack([x_td[t, d] * mixer.weight_in[t] for t in range(frames)]).sum(0)
        hidden = F.gelu(heard + mixer.bias_in)
        cells = [hidden @ mixer.weight_out[:, t] + mixer.bias_out[t] for t in range(frames)]
        columns.append(torch.stack(cells))
    return torch.stack(columns, dim=-1)


def _gmlp(mixer: GatedMLP, x_td: Tensor) -> Tensor:
    frames, d_model = x_td.shape
    expanded = F.gelu(mixer.expand(x_td))
    kept, gate = expanded[:, :d_model], mixer.norm(expanded[:, d_model:])
    rows = []
    for t in range(frames):
        heard = torch.stack([mixer.weight[t, s] * gate[s] for s in range(frames)]).sum(0) + mixer.bias[t]
        rows.append(mixer.project(kept[t] * heard))
    return torch.stack(rows)


def _identity(mixer: Identity, x_td: Tensor) -> Tensor:
    return x_td


REFERENCES: dict[type[TokenMixer], Callable[..., Tensor]] = {
    HyperMixing: _hypermixing,
    RotaryAttention: _attention,
    RelativeAttention: _relative,
    SummaryMixing: _summary,
    Fourier: _fourier,
    MLPMixer: _mlp,
    GatedMLP: _gmlp,
    Identity: _identity,
}


def reference(mixer: TokenMixer, x_td: Tensor) -> Tensor:
    """Compute what a mixer should give for one unpadded utterance, slowly.

    Parameters
    ----------
    mixer : TokenMixer
        Its weights are used; its ``forward`` is not.
    x_td : Tensor, shape (T, D)
        One utterance; float64 for a sharp comparison.

    Returns
    -------
    Tensor, shape (T, D)

    Examples
    --------
    >>> mixer = HyperMixing(4, 2).double()
    >>> x = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    >>> torch.allclose(reference(mixer, x), mixer(x.unsqueeze(0))[0])
    True
    """
    return REFERENCES[type(mixer)](mixer, x_td)
