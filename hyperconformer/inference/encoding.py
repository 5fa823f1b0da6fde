"""Audio files to encoder output, batch by batch, while the next ones are read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hyperconformer.inference.clock import Clock
from hyperconformer.inference.reading import AudioBatch, Portion, read_batches
from hyperconformer.models.asr import ASR

NO_SCORES = (
    "gives no finite scores: its samples are far too large, or the model's precision is too short for them"
)
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Encoded:
    """A batch, heard.

    Attributes
    ----------
    batch : AudioBatch
        What was heard.
    memory_btd : Tensor, shape (B, T, D), float32
        Encoder output, finite, and zero at padded frames.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.

    Examples
    --------
    >>> batch = AudioBatch({}, torch.zeros(0, 0), torch.zeros(0).long(), {0: "no such file"})
    >>> Encoded(batch, torch.zeros(0, 0, 8), torch.zeros(0).long()).batch.faults
    {0: 'no such file'}
    """

    batch: AudioBatch
    memory_btd: Tensor
    lengths_b: Tensor


def set_precision(model: ASR, precision: str) -> ASR:
    """Let front-end and encoder compute in a shorter type; features, heads and searches stay in float32.

    Parameters
    ----------
    model : ASR
        Is changed.
    precision : {"fp32", "bf16", "fp16"}

    Returns
    -------
    ASR
        The same.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = set_precision(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)), "bf16")
    >>> model.front_end.project.weight.dtype, model.ctc_head.weight.dtype
    (torch.bfloat16, torch.float32)
    """
    for part in (model.front_end, model.encoder):
        part.to(PRECISIONS[precision])
    return model


@torch.inference_mode()
def encode(model: ASR, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
    """Hear a padded batch.

    Parameters
    ----------
    model : ASR
        In evaluation mode, in any precision of :func:`set_precision`.
    samples_bs : Tensor, shape (B, S), float32
    lengths_b : Tensor, shape (B,), long
        Samples of each recording.

    Returns
    -------
    Tensor, shape (B, T, D), float32
        Encoder output, zero at padded frames.
    Tensor, shape (B,), long
        Its valid frames.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)).eval()
    >>> encode(model, torch.zeros(1, 16_000), torch.tensor([16_000]))[0].shape
    torch.Size([1, 26, 8])
    """
    features_bfm, frames_b = model.features(samples_bs, lengths_b)
    dtype = model.front_end.project.weight.dtype
    memory_btd, frames_b = model.encode_features(features_bfm.to(dtype), frames_b)
    return memory_btd.float(), frames_b


def encode_files(model: ASR, portions: Iterable[Portion], *, clock: Clock) -> Iterator[Encoded]:
    """Hear files, batch by batch; the next ones are read meanwhile.

    Parameters
    ----------
    model : ASR
        In evaluation mode.
    portions : iterable of Portion
        As :func:`~hyperconformer.inference.reading.read_batches` takes them.
    clock : Clock
        Is told what time went by waiting for audio (``wait``) and hearing it (``encode``).

    Yields
    ------
    Encoded
        Also where no file of a batch could be read or heard.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)).eval()
    >>> [heard] = encode_files(model, [{0: "no/such.flac"}], clock=Clock())
    >>> heard.memory_btd.shape
    torch.Size([0, 0, 8])
    """
    device = model.ctc_head.weight.device
    for batch in clock.each("wait", read_batches(portions)):
        if not batch.files:
            yield Encoded(batch, torch.zeros(0, 0, model.config.d_model), batch.lengths_b)
            continue
        with clock("encode"):
            memory_btd, lengths_b = encode(model, batch.samples_bs.to(device), batch.lengths_b.to(device))
            heard = finite(Encoded(batch, memory_btd, lengths_b))
        yield heard


def finite(heard: Encoded) -> Encoded:
    """Leave out recordings that the model makes no numbers of, such as samples of 1e24: no search can.

    Parameters
    ----------
    heard : Encoded
        Its encoder output may hold NaN and infinities.

    Returns
    -------
    Encoded
        The others; the faults of its batch name those that were left out.

    Examples
    --------
    >>> batch = AudioBatch({0: "a.wav", 1: "b.wav"}, torch.zeros(2, 640), torch.tensor([640, 640]), {})
    >>> memory_btd = torch.tensor([[[1.0]], [[float("nan")]]])
    >>> heard = finite(Encoded(batch, memory_btd, torch.tensor([1, 1])))
    >>> heard.batch.files, list(heard.batch.faults), heard.memory_btd.shape
    ({0: 'a.wav'}, [1], torch.Size([1, 1, 1]))
    """
    batch, finite_b = heard.batch, heard.memory_btd.isfinite().flatten(1).all(dim=1).cpu()
    if finite_b.all():
        return heard
    rows = list(zip(batch.files.items(), finite_b.tolist(), strict=True))
    faults = {file: f"audio file {path!r} {NO_SCORES}" for (file, path), fine in rows if not fine}
    files = dict(row for row, fine in rows if fine)
    kept = AudioBatch(files, batch.samples_bs[finite_b], batch.lengths_b[finite_b], batch.faults | faults)
    there_b = finite_b.to(heard.memory_btd.device)
    return replace(
        heard, batch=kept, memory_btd=heard.memory_btd[there_b], lengths_b=heard.lengths_b[there_b]
    )
