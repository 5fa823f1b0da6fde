"""From samples to the log-probabilities of two heads: the whole recogniser as one module."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hyperconformer.features import LogMel, Normalizer
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.decoder import Decoder
from hyperconformer.models.encoder import Encoder
from hyperconformer.nn.initialise import initialise
from hyperconformer.nn.log_probs import log_probs
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.subsampling import Subsampling


class Outputs(NamedTuple):
    """What one forward pass gives the loss.

    Attributes
    ----------
    ctc_btv : Tensor, shape (B, T, V)
        CTC logits.
    attention_blv : Tensor, shape (B, L, V)
        Decoder logits of the next token.
    lengths_b : Tensor, shape (B,)
        Valid encoder frames.
    inter_ctc : tuple of Tensor, each of shape (B, T, V)
        CTC logits of layers on the way.

    Examples
    --------
    >>> Outputs(torch.zeros(1, 2, 3), torch.zeros(1, 1, 3), torch.tensor([2])).lengths_b
    tensor([2])
    """

    ctc_btv: Tensor
    attention_blv: Tensor
    lengths_b: Tensor
    inter_ctc: tuple[Tensor, ...] = ()


class ASR(nn.Module):
    """Features, front-end, encoder, CTC head and attention decoder.

    Parameters
    ----------
    config : ModelConfig
        Sizes and dials.

    References
    ----------
    Mai et al., HyperConformer, arXiv 2305.18281.

    Examples
    --------
    >>> config = ModelConfig(output_neurons=30, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=1,
    ...                      num_decoder_layers=1)
    >>> model = ASR(config).eval()
    >>> memory, padding = model.encode(torch.zeros(1, 16_000), torch.tensor([16_000]))
    >>> memory.shape, model.ctc_log_probs(memory).shape
    (torch.Size([1, 26, 16]), torch.Size([1, 26, 30]))
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d_model, nhead, dropout = config.d_model, config.nhead, config.transformer_dropout
        self.log_mel = LogMel(n_mels=config.n_mels, n_fft=config.n_fft)
        self.normalizer = Normalizer(config.n_mels)
        self.front_end = Subsampling(
            config.n_mels, d_model, channels=config.frontend_channels, dropout=dropout
        )
        self.encoder = Encoder(
            config.num_encoder_layers,
            d_model,
            nhead,
            config.d_ffn,
            config.kernel_size,
            mixer=config.mixer,
            mixer_options=config.mixer_options,
            dropout=dropout,
            half_rate_layers=config.half_rate_layers,
        )
        self.ctc_head = nn.Linear(d_model, config.output_neurons)
        self.decoder = Decoder(
            config.output_neurons, config.num_decoder_layers, d_model, nhead, config.d_ffn, dropout=dropout
        )
        self.apply(initialise)
        self.front_end.centre_projection()
        self.encoder.quieten(config.branch_start)

    def features(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, S) and their number (B,) -> normalised features (B, F, M) and their frames (B,)."""
        features_bfm, frames_b = self.log_mel(samples_bs, lengths_b)
        return self.normalizer(features_bfm, frames_b), frames_b

    def encode_features(self, features_bfm: Tensor, frames_b: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, F, M) and their frames (B,) -> encoder output (B, T, D) and its frames (B,)."""
        memory_btd, lengths_b, _ = self._encode(features_bfm, frames_b, ())
        return memory_btd, lengths_b

    def _encode(
        self, features_bfm: Tensor, frames_b: Tensor, taps: Collection[int]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        x_btd, lengths_b = self.front_end(features_bfm, frames_b)
        padding = padding_mask(lengths_b, x_btd.shape[1])
        # Looking costs nothing here; elsewhere it would wait for the device.
        looks = x_btd.device.type == "cpu" and not torch.compiler.is_compiling()
        whole = looks and not padding.any()
        memory_btd, tapped = self.encoder.tapped(x_btd, None if whole else padding, taps)
        return memory_btd, lengths_b, tapped

    def encode(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, S) and their number (B,) -> encoder output (B, T, D) and its padding (B, T)."""
        memory_btd, frames_b = self.encode_features(*self.features(samples_bs, lengths_b))
        return memory_btd, padding_mask(frames_b, memory_btd.shape[1])

    def ctc_log_probs(self, memory_btd: Tensor) -> Tensor:
        """Encoder output (B, T, D) -> CTC log-probabilities (B, T, V) in float32 or better."""
        return log_probs(self.ctc_head(memory_btd))

    def forward(
        self, features_bfm: Tensor, frames_b: Tensor, tokens_bl: Tensor, taps: Collection[int] = ()
    ) -> Outputs:
        """Features and the tokens so far (begin symbol first) -> logits of both heads.

        The encoder layers that ``taps`` names, the first one is 1, are read through the final norm and the
        CTC head too.
        """
        memory_btd, lengths_b, tapped = self._encode(features_bfm, frames_b, taps)
        padding = padding_mask(lengths_b, memory_btd.shape[1])
        return Outputs(
            self.ctc_head(memory_btd),
            self.decoder(tokens_bl, memory_btd, padding),
            lengths_b,
            tuple(self.ctc_head(x_btd) for x_btd in tapped),
        )
