"""SpeechBrain's HyperConformer where our recogniser is expected, trained and tested by the same code."""

from collections.abc import Collection
from typing import cast

import torch
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from torch import Tensor, nn

from hyperconformer.bench.upstream import recogniser
from hyperconformer.constants import BLANK
from hyperconformer.features import LogMel, Normalizer
from hyperconformer.models.asr import ASR, Outputs
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_compat import from_speechbrain
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.subsampling import subsampled


class UpstreamASR(nn.Module):
    """The modules of its recipe, weights as it draws them, with the interface of :class:`ASR`.

    Features and their normalisation are ours, so that all systems of a contest hear the same. Lengths reach
    the modules as in the recipe, and what they let through of the padding, they let through here too.

    Parameters
    ----------
    config : ModelConfig
        The sizes; ``d_ffn`` is the size of the hypernetworks too, and the mixer's options say nothing.

    Examples
    --------
    >>> config = ModelConfig(output_neurons=12, d_model=16, nhead=2, d_ffn=32, num_encoder_layers=1)
    >>> model = UpstreamASR(config).eval()
    >>> memory_btd, lengths_b = model.encode_features(torch.zeros(1, 40, 80), torch.tensor([40]))
    >>> memory_btd.shape, lengths_b
    (torch.Size([1, 10, 16]), tensor([10]))
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.log_mel = LogMel(n_mels=config.n_mels, n_fft=config.n_fft)
        self.normalizer = Normalizer(config.n_mels)
        front_end, transformer, seq_lin, ctc_lin = recogniser(config, "hypermixing")
        self.front_end, self.transformer = front_end, cast(TransformerASR, transformer)
        # As the recipe's layers hold them, without the layer around them.
        self.seq_head, self.ctc_head = cast(nn.Linear, seq_lin.w), cast(nn.Linear, ctc_lin.w)

    def features(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`ASR.features`."""
        features_bfm, frames_b = self.log_mel(samples_bs, lengths_b)
        return self.normalizer(features_bfm, frames_b), frames_b

    def encode_features(self, features_bfm: Tensor, frames_b: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`ASR.encode_features`, zero beyond each utterance's end."""
        maps, lengths_b, shares_b = self._heard(features_bfm, frames_b)
        memory_btd = self.transformer.encode(maps, shares_b)
        return self._masked(memory_btd, lengths_b), lengths_b

    def decoder(self, tokens_bl: Tensor, memory_btd: Tensor, padding: Tensor | None) -> Tensor:
        """Tokens (B, L), encoder output (B, T, D), padding (B, T) -> logits (B, L, V), without gradients."""
        lengths_b = None if padding is None else (~padding).sum(dim=1)
        decoded_bld, _ = self.transformer.decode(tokens_bl, memory_btd, lengths_b)
        return cast(Tensor, self.seq_head(decoded_bld))

    def forward(
        self, features_bfm: Tensor, frames_b: Tensor, tokens_bl: Tensor, taps: Collection[int] = ()
    ) -> Outputs:
        """As :meth:`ASR.forward`; there are no layers on the way to be read."""
        assert not taps, "SpeechBrain's encoder has no taps"
        maps, lengths_b, shares_b = self._heard(features_bfm, frames_b)
        memory_btd, decoded_bld = self.transformer(maps, tokens_bl, shares_b, pad_idx=BLANK)
        return Outputs(self.ctc_head(memory_btd), self.seq_head(decoded_bld), lengths_b)

    def _heard(self, features_bfm: Tensor, frames_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Front-end: its output, its frames, and these as shares of the longest."""
        maps = self.front_end(features_bfm)
        lengths_b = subsampled(frames_b)
        return maps, lengths_b, lengths_b / maps.shape[1]

    @staticmethod
    def _masked(memory_btd: Tensor, lengths_b: Tensor) -> Tensor:
        return memory_btd.masked_fill(padding_mask(lengths_b, memory_btd.shape[1]).unsqueeze(2), 0)

    @torch.no_grad()
    def as_ours(self) -> ASR:
        """Our recogniser with these weights, in evaluation mode: what a beam search asks step by step."""
        heads = (nn.ModuleDict({"w": head}) for head in (self.seq_head, self.ctc_head))
        parts = nn.ModuleList([self.front_end, self.transformer, *heads])
        config, weights = from_speechbrain(parts.state_dict(), n_fft=self.config.n_fft)
        model = ASR(config)
        model.load_state_dict(weights)
        model.normalizer.load_state_dict(self.normalizer.state_dict())
        return model.to(self.ctc_head.weight.device).eval()
