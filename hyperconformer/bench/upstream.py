"""SpeechBrain's modules, built and called as its LibriSpeech recipes do: what ours is measured against."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet.attention import RelPosEncXL, RelPosMHAXL, RoPEMHA
from speechbrain.nnet.hypermixing import HyperMixing
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import ctc_loss, kldiv_loss
from speechbrain.processing.features import InputNormalization
from torch import Tensor, nn

from hyperconformer.bench.cases import Case, Kind, Sizes
from hyperconformer.bench.workload import BETAS, CTC_WEIGHT, EPS, LEARNING_RATE, Workload, noise, speech
from hyperconformer.constants import BLANK

N_MELS = 80

MODULES: dict[str, Callable[[Sizes, int], nn.Module]] = {
    "hypermixing": lambda s, frames: HyperMixing(
        s.d_model, s.d_ffn, tied=False, num_heads=s.heads, max_length=max(3000, frames)
    ),
    "RelPosMHAXL": lambda s, _: RelPosMHAXL(s.d_model, s.heads, dropout=s.dropout),
    "RoPEMHA": lambda s, _: RoPEMHA(s.d_model, s.heads, dropout=s.dropout),
}


def _mixer(case: Case) -> Workload:
    """One mixer, called as the Conformer's layer calls it."""
    mixer = MODULES[case.mixer](case.sizes, case.frames).to(case.device)
    x_btd = noise(case, case.batch_size, case.frames, case.sizes.d_model).requires_grad_()
    padding = torch.zeros(x_btd.shape[:2], dtype=torch.bool, device=case.device)
    positions = None
    if case.mixer == "RelPosMHAXL":
        # The encoder computes them once for all its layers.
        positions = RelPosEncXL(case.sizes.d_model).to(case.device)(x_btd.detach())

    def forward() -> Tensor:
        mixed, _ = mixer(x_btd, x_btd, x_btd, attn_mask=None, key_padding_mask=padding, pos_embs=positions)
        return cast(Tensor, mixed)

    return Workload(mixer, (x_btd,), forward)


def _front_end() -> nn.Module:
    front_end: nn.Module = ConvolutionFrontEnd(
        input_shape=(8, 10, N_MELS),
        num_blocks=2,
        num_layers_per_block=1,
        out_channels=(64, 32),
        kernel_sizes=(3, 3),
        strides=(2, 2),
        residuals=(False, False),
    )
    return front_end


def _transformer(case: Case, decoder_layers: int) -> TransformerASR:
    sizes = case.sizes
    return TransformerASR(
        tgt_vocab=sizes.output_neurons,
        input_size=N_MELS // 4 * 32,
        d_model=sizes.d_model,
        nhead=sizes.heads,
        num_encoder_layers=sizes.layers,
        num_decoder_layers=decoder_layers,
        d_ffn=sizes.d_ffn,
        dropout=sizes.dropout,
        activation=nn.GELU,
        normalize_before=True,
        encoder_module="conformer",
        attention_type=case.mixer,
        causal=False,
    )


def _encoder(case: Case) -> Workload:
    """Front-end and encoder, without the decoder."""
    front_end, transformer = _front_end(), _transformer(case, decoder_layers=0)
    measured = nn.ModuleList([front_end, transformer]).to(case.device)
    features_bfm = noise(case, case.batch_size, case.features, N_MELS)

    def forward() -> Tensor:
        # Without lengths: nothing is padded, and ours drops its masks then too.
        return cast(Tensor, transformer.encode(front_end(features_bfm)))

    return Workload(measured, (features_bfm,), forward)


def recogniser(case: Case) -> nn.ModuleList:
    """Build what a checkpoint of the recipe holds.

    Parameters
    ----------
    case : Case

    Returns
    -------
    ModuleList
        Front-end, Transformer, decoder head and CTC head.

    Examples
    --------
    >>> small = Sizes(d_model=16, heads=2, layers=1, decoder_layers=1, output_neurons=50)
    >>> case = Case("step", "upstream:RoPEMHA", "step", seconds=1.0, batch_size=1, sizes=small)
    >>> len(recogniser(case))
    4
    """
    sizes = case.sizes
    heads = [Linear(input_size=sizes.d_model, n_neurons=sizes.output_neurons) for _ in range(2)]
    modules = [_front_end(), _transformer(case, max(1, sizes.decoder_layers)), *heads]
    return nn.ModuleList(modules).to(case.device)


class _Recogniser(nn.Module):
    """The modules of the recipe, and its loss."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.fbank = Fbank(sample_rate=16_000, n_fft=400, n_mels=N_MELS)
        self.normalize = InputNormalization(norm_type="global", update_until_epoch=1)
        self.epoch = 0
        self.front_end, self.transformer, self.seq_lin, self.ctc_lin = recogniser(case)

    def forward(
        self, samples_bs: Tensor, tokens_bl: Tensor, begun: Tensor, ended: Tensor, full: Tensor
    ) -> Tensor:
        """Samples and tokens, all of full length, -> the joint loss."""
        features = self.fbank(samples_bs)
        # The statistics come from the first batch alone, as if the epochs of updates were over.
        features = self.normalize(features, full, epoch=self.epoch)
        self.epoch = 1
        memory, decoded = self.transformer(self.front_end(features), begun, pad_idx=BLANK)
        ctc = ctc_loss(
            self.ctc_lin(memory).log_softmax(-1), tokens_bl, full, full, BLANK, reduction="batchmean"
        )
        attention = kldiv_loss(
            self.seq_lin(decoded).log_softmax(-1), ended, full, label_smoothing=0.0, reduction="batchmean"
        )
        return cast(Tensor, CTC_WEIGHT * ctc + (1 - CTC_WEIGHT) * attention)


def _step(case: Case) -> Workload:
    model, batch = _Recogniser(case).to(case.device), speech(case)
    begun, ended = batch.begun(), batch.ended()
    full = torch.ones(case.batch_size, device=case.device)

    def loss() -> Tensor:
        return cast(Tensor, model(batch.samples_bs, batch.tokens_bl, begun, ended, full))

    def optimizer(weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, lr=LEARNING_RATE, betas=BETAS, eps=EPS)

    return Workload(model, (batch.samples_bs,), loss, optimizer)


BUILDERS: dict[Kind, Callable[[Case], Workload]] = {"mixer": _mixer, "encoder": _encoder, "step": _step}
