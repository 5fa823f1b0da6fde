"""SpeechBrain's modules, built and called as its LibriSpeech recipes do: what ours is measured against."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import speechbrain as sb
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop, Warping
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.nnet.attention import RelPosEncXL, RelPosMHAXL, RoPEMHA
from speechbrain.nnet.hypermixing import HyperMixing
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import ctc_loss, kldiv_loss
from speechbrain.nnet.schedulers import NoamScheduler
from speechbrain.processing.features import InputNormalization
from torch import Tensor, nn

from hyperconformer.bench.cases import Case, Kind, Sizes
from hyperconformer.bench.workload import BETAS, CTC_WEIGHT, EPS, LEARNING_RATE, Workload, noise, speech
from hyperconformer.constants import BLANK, SAMPLE_RATE
from hyperconformer.data.augment import SpecAugment
from hyperconformer.data.pipeline import IGNORE, Batch
from hyperconformer.models.config import ModelConfig
from hyperconformer.training.settings import Settings

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


def _front_end(config: ModelConfig) -> nn.Module:
    front_end: nn.Module = ConvolutionFrontEnd(
        input_shape=(8, 10, config.n_mels),
        num_blocks=2,
        num_layers_per_block=1,
        out_channels=config.frontend_channels,
        kernel_sizes=(3, 3),
        strides=(2, 2),
        residuals=(False, False),
    )
    return front_end


def _transformer(config: ModelConfig, attention_type: str, decoder_layers: int) -> TransformerASR:
    return TransformerASR(
        tgt_vocab=config.output_neurons,
        input_size=-(-config.n_mels // 4) * config.frontend_channels[1],
        d_model=config.d_model,
        nhead=config.nhead,
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=decoder_layers,
        d_ffn=config.d_ffn,
        dropout=config.transformer_dropout,
        activation=nn.GELU,
        kernel_size=config.kernel_size,
        normalize_before=True,
        encoder_module="conformer",
        attention_type=attention_type,
        causal=False,
    )


def _encoder(case: Case) -> Workload:
    """Front-end and encoder, without the decoder."""
    config = case.config()
    front_end, transformer = _front_end(config), _transformer(config, case.mixer, decoder_layers=0)
    measured = nn.ModuleList([front_end, transformer]).to(case.device)
    features_bfm = noise(case, case.batch_size, case.features, config.n_mels)

    def forward() -> Tensor:
        # Without lengths: nothing is padded, and ours drops its masks then too.
        return cast(Tensor, transformer.encode(front_end(features_bfm)))

    return Workload(measured, (features_bfm,), forward)


def recogniser(config: ModelConfig, mixer: str) -> nn.ModuleList:
    """Build what a checkpoint of the recipe holds.

    Parameters
    ----------
    config : ModelConfig
        The sizes.
    mixer : str
        SpeechBrain's name of the attention.

    Returns
    -------
    ModuleList
        Front-end, Transformer, decoder head and CTC head.

    Examples
    --------
    >>> len(recogniser(ModelConfig(output_neurons=50, d_model=16, nhead=2, num_encoder_layers=1), "RoPEMHA"))
    4
    """
    heads = [Linear(input_size=config.d_model, n_neurons=config.output_neurons) for _ in range(2)]
    transformer = _transformer(config, mixer, max(1, config.num_decoder_layers))
    return nn.ModuleList([_front_end(config), transformer, *heads])


def spec_augment(settings: SpecAugment) -> Augmenter | None:
    """Mask features by SpeechBrain's own means, as often and as widely.

    Parameters
    ----------
    settings : SpecAugment

    Returns
    -------
    Augmenter or None
        None where nothing is masked or warped.

    Examples
    --------
    >>> list(spec_augment(SpecAugment(time_warp=0)).augmentations)
    ['SpectrogramDrop0', 'SpectrogramDrop1']
    """
    steps: list[nn.Module] = [Warping(warp_window=settings.time_warp)] if settings.time_warp else []
    for dim, count, width in (
        (2, settings.freq_masks, settings.freq_mask_width),
        (1, settings.time_masks, settings.time_mask_width),
    ):
        if count and width:
            # Lengths are drawn below the upper bound.
            steps.append(SpectrogramDrop(0, width + 1, drop_count_low=count, drop_count_high=count, dim=dim))
    count = len(steps)
    return Augmenter(min_augmentations=count, max_augmentations=count, augmentations=steps) if steps else None


class Labelled(NamedTuple):
    """Padded utterances as SpeechBrain's modules take them: lengths are shares of the longest.

    Attributes
    ----------
    samples_bs : Tensor, shape (B, S)
    shares_b : Tensor, shape (B,)
        Of the samples.
    tokens_bl : Tensor, shape (B, L), long
    token_shares_b : Tensor, shape (B,)
    begun, ended : Tensor, shape (B, L + 1), long
        The tokens behind a begin and before an end symbol.
    ended_shares_b : Tensor, shape (B,)

    Examples
    --------
    >>> Labelled._fields[:2]
    ('samples_bs', 'shares_b')
    """

    samples_bs: Tensor
    shares_b: Tensor
    tokens_bl: Tensor
    token_shares_b: Tensor
    begun: Tensor
    ended: Tensor
    ended_shares_b: Tensor

    @classmethod
    def of(cls, batch: Batch, device: str | torch.device) -> "Labelled":
        """Take over one of our batches."""
        ended = batch.decoder_target()
        tokens = batch.token_lengths_b
        tensors = (
            batch.samples_bs,
            batch.lengths_b / batch.samples_bs.shape[1],
            batch.tokens_bl,
            tokens / max(1, batch.tokens_bl.shape[1]),
            batch.decoder_input(),
            ended.masked_fill(ended == IGNORE, BLANK),
            (tokens + 1) / ended.shape[1],
        )
        return cls(*(tensor.to(device, non_blocking=True) for tensor in tensors))


class Recogniser(nn.Module):
    """The modules of the recipe, and its loss.

    Parameters
    ----------
    config : ModelConfig
        The sizes.
    mixer : str
        SpeechBrain's name of the attention.
    ctc_weight, label_smoothing : float
    augment : Augmenter or None
        In training.
    masked : bool
        Whether the modules hear of the lengths.

    Examples
    --------
    >>> config = ModelConfig(output_neurons=50, d_model=16, nhead=2, num_encoder_layers=1)
    >>> len(Recogniser(config, "hypermixing").parts)
    4
    """

    def __init__(
        self,
        config: ModelConfig,
        mixer: str,
        *,
        ctc_weight: float = CTC_WEIGHT,
        label_smoothing: float = 0.0,
        augment: Augmenter | None = None,
        masked: bool = True,
    ) -> None:
        super().__init__()
        self.fbank = Fbank(sample_rate=SAMPLE_RATE, n_fft=config.n_fft, n_mels=config.n_mels)
        self.normalize = InputNormalization(norm_type="global", update_until_epoch=1)
        self.epoch = 0
        self.parts = recogniser(config, mixer)
        self.ctc_weight, self.label_smoothing = ctc_weight, label_smoothing
        self.augment, self.masked = augment, masked

    def forward(self, batch: Labelled) -> Tensor:
        """Samples and tokens -> the joint loss, the mean over utterances."""
        features = self.fbank(batch.samples_bs)
        # The statistics come from the first batch alone, as if the epochs of updates were over.
        features = self.normalize(features, batch.shares_b, epoch=self.epoch)
        self.epoch = 1
        if self.training and self.augment is not None:
            features, _ = self.augment(features, batch.shares_b)
        front_end, transformer, seq_lin, ctc_lin = self.parts
        shares_b = batch.shares_b if self.masked else None
        memory, decoded = transformer(front_end(features), batch.begun, shares_b, pad_idx=BLANK)
        ctc = ctc_loss(
            ctc_lin(memory).log_softmax(-1),
            batch.tokens_bl,
            batch.shares_b,
            batch.token_shares_b,
            BLANK,
            reduction="batchmean",
        )
        attention = kldiv_loss(
            seq_lin(decoded).log_softmax(-1),
            batch.ended,
            batch.ended_shares_b,
            label_smoothing=self.label_smoothing if self.training else 0.0,
            reduction="batchmean",
        )
        return cast(Tensor, self.ctc_weight * ctc + (1 - self.ctc_weight) * attention)


def _step(case: Case) -> Workload:
    model, batch = Recogniser(case.config(), case.mixer, masked=False).to(case.device), speech(case)
    full = torch.ones(case.batch_size, device=case.device)
    given = Labelled(batch.samples_bs, full, batch.tokens_bl, full, batch.begun(), batch.ended(), full)

    def loss() -> Tensor:
        return cast(Tensor, model(given))

    def optimizer(weights: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(weights, lr=LEARNING_RATE, betas=BETAS, eps=EPS)

    return Workload(model, (batch.samples_bs,), loss, optimizer)


class RecipeBrain(sb.Brain):  # type: ignore[misc]  # SpeechBrain has no types
    """SpeechBrain's own training steps, given our batches.

    Parameters
    ----------
    settings : Settings
    mixer : str
        SpeechBrain's name of the attention.
    run_options : mapping
        Of SpeechBrain's Brain.

    Examples
    --------
    >>> issubclass(RecipeBrain, sb.Brain)
    True
    """

    avg_train_loss: float

    def __init__(self, settings: Settings, mixer: str, run_options: Mapping[str, Any]) -> None:
        model = Recogniser(
            settings.model,
            mixer,
            ctc_weight=settings.ctc_weight,
            label_smoothing=settings.label_smoothing,
            augment=spec_augment(settings.augment),
        )
        adam = partial(
            torch.optim.Adam,
            lr=settings.lr,
            betas=settings.adam_betas,
            eps=settings.adam_eps,
            weight_decay=settings.weight_decay,
        )
        options = {**run_options, "max_grad_norm": settings.max_grad_norm}
        super().__init__({"model": model}, opt_class=adam, run_opts=options)
        self.anneal = NoamScheduler(settings.lr, settings.n_warmup_steps)
        self.on_fit_start()
        self.modules.train()

    @property
    def model(self) -> nn.Module:
        """What learns."""
        return cast(nn.Module, self.modules["model"])

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> Tensor:
        """A batch to its loss."""
        return cast(Tensor, self.model(Labelled.of(batch, self.device)))

    def compute_objectives(self, predictions: Tensor, batch: Batch, stage: sb.Stage) -> Tensor:
        """The loss is there already."""
        return predictions

    def on_fit_batch_end(self, batch: Batch, outputs: Tensor, loss: Tensor, should_step: bool) -> None:
        """Set the next learning rate."""
        if should_step:
            self.anneal(self.optimizer)

    def take(self, pieces: Sequence[Batch], epoch: int, step: int, size: int) -> None:
        """Learn from one batch, as SpeechBrain's loop does."""
        self.grad_accumulation_factor, self.step = len(pieces), 0
        for piece in pieces:
            self.step += 1
            loss = self.fit_batch(piece)
            self.avg_train_loss = self.update_average(loss, self.avg_train_loss)


BUILDERS: dict[Kind, Callable[[Case], Workload]] = {"mixer": _mixer, "encoder": _encoder, "step": _step}
