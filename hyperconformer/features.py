"""From samples to log-mel features, and their normalisation by global statistics: pure torch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.nn.masks import padding_mask
from hyperconformer.nn.pieces import PIECE_VALUES, better_whole

# Ten times the base-10 logarithm of a power is decibels; these two bound its range.
MIN_POWER = 1e-10
DYNAMIC_RANGE_DB = 80.0

# No band of real audio is this constant: below it, dividing would only blow up rounding noise.
MIN_STD_DB = 1e-2


def frames_of(samples: int, hop_ms: float = 10.0) -> int:
    """Count the frames of an utterance without computing them.

    Parameters
    ----------
    samples : int
        Length in samples.
    hop_ms : float
        Distance between frames in milliseconds.

    Returns
    -------
    int
        One frame at the start and one after each whole hop.

    Examples
    --------
    >>> frames_of(0), frames_of(159), frames_of(160)
    (1, 1, 2)
    """
    return samples // round(hop_ms * SAMPLE_RATE / 1000) + 1


def mel_filters(n_fft: int, n_mels: int) -> Tensor:
    """Triangular filters, equally spaced in mel from 0 Hz to half the sampling rate.

    A triangle is symmetric: both its sides are as wide as the distance to the centre on its left. That is
    narrower on the right than the textbook's, and what models trained with SpeechBrain have learnt from.

    Parameters
    ----------
    n_fft : int
        Points of the Fourier transform, even.
    n_mels : int
        Number of filters.

    Returns
    -------
    Tensor, shape (n_fft / 2 + 1, n_mels)
        Weight of each frequency bin (rows) in each mel band (columns), float32.

    Examples
    --------
    >>> filters = mel_filters(n_fft=400, n_mels=80)
    >>> filters.shape
    torch.Size([201, 80])
    >>> bool((filters >= 0).all() and (filters <= 1).all())
    True
    """
    nyquist_hz = SAMPLE_RATE / 2
    edges_mel = torch.linspace(0.0, 2595.0 * math.log10(1.0 + nyquist_hz / 700.0), n_mels + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    centres_hz, widths_hz = edges_hz[1:-1], edges_hz.diff()[:-1]
    bins_hz = torch.linspace(0.0, nyquist_hz, n_fft // 2 + 1)
    return (1.0 - (bins_hz.unsqueeze(1) - centres_hz).abs() / widths_hz).clamp(min=0.0)


class LogMel(nn.Module):
    """Log-mel filterbank energies in decibels.

    Each frame is a Hamming window centred on its hop (zeros beyond the ends of the utterance), then a power
    spectrum, triangular mel filters and ten times the base-10 logarithm. An utterance's features reach at
    most 80 dB below its own loudest cell, so they are the same alone and in a padded batch.

    Parameters
    ----------
    n_fft : int
        Points of the Fourier transform, even and at least as long as the window.
    n_mels : int
        Number of mel bands.
    window_ms : float
        Window length in milliseconds.
    hop_ms : float
        Distance between frames in milliseconds.

    Raises
    ------
    ValueError
        If ``n_fft`` is odd or shorter than the window, or if a size is below one.

    Examples
    --------
    >>> samples_bs = torch.randn(2, 16_000)
    >>> features_bfm, frames_b = LogMel()(samples_bs, torch.tensor([16_000, 8_000]))
    >>> features_bfm.shape, frames_b
    (torch.Size([2, 101, 80]), tensor([101,  51]))
    >>> bool((features_bfm[1, 51:] == 0).all())
    True
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self, n_fft: int = 400, n_mels: int = 80, window_ms: float = 25.0, hop_ms: float = 10.0
    ) -> None:
        super().__init__()
        window_samples = round(window_ms * SAMPLE_RATE / 1000)
        self.n_fft = n_fft
        self.n_mels = n_mels
        self.hop_samples = round(hop_ms * SAMPLE_RATE / 1000)
        if min(window_samples, self.hop_samples, n_mels) < 1:
            raise ValueError(
                f"window_ms, hop_ms and n_mels must be positive, got {window_ms}, {hop_ms} and {n_mels}"
            )
        if n_fft % 2 or n_fft < window_samples:
            raise ValueError(f"n_fft must be even and at least {window_samples} (the window), got {n_fft}")
        # Both follow from the arguments, so no checkpoint needs to hold them, and a module that is built
        # without weights has them.
        with torch.device("cpu"):
            self.register_buffer("window", torch.hamming_window(window_samples), persistent=False)
            self.register_buffer("filters", mel_filters(n_fft, n_mels), persistent=False)

    def forward(self, samples_bs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features of a padded batch, in float32 whatever autocast says.

        Parameters
        ----------
        samples_bs : Tensor, shape (B, samples)
            Mono audio at 16 kHz. What lies beyond an utterance's length counts as silence. In float64 the
            features are computed in float64, in any other type in float32.
        lengths : Tensor, shape (B,), long
            Samples of each utterance.

        Returns
        -------
        features_bfm : Tensor, shape (B, F, n_mels)
            Decibels; zero at padded frames.
        frames : Tensor, shape (B,), long
            Frames of each utterance.

        Examples
        --------
        >>> silence, _ = LogMel(n_mels=4)(torch.zeros(1, 100), torch.tensor([100]))
        >>> silence
        tensor([[[-100., -100., -100., -100.]]])
        """
        assert samples_bs.ndim == 2, f"expected (B, samples), got {tuple(samples_bs.shape)}"
        decibels_bfm = self._decibels(samples_bs, lengths)
        frames_b = lengths // self.hop_samples + 1
        padding_bf1 = padding_mask(frames_b, decibels_bfm.shape[1]).unsqueeze(2)
        # A window centred beyond the last frame may still reach back into the utterance.
        loudest_b11 = decibels_bfm.masked_fill(padding_bf1, -torch.inf).amax(dim=(1, 2), keepdim=True)
        features_bfm = torch.maximum(decibels_bfm, loudest_b11 - DYNAMIC_RANGE_DB)
        return features_bfm.masked_fill(padding_bf1, 0.0), frames_b

    def _decibels(self, samples_bs: Tensor, lengths: Tensor) -> Tensor:
        """(B, S) -> (B, F, n_mels); long recordings some frames at a time, as spectra are large."""
        batch, frames = samples_bs.shape[0], samples_bs.shape[1] // self.hop_samples + 1
        span = max(1, PIECE_VALUES // (max(1, batch) * self.filters.shape[0]))
        if better_whole(samples_bs) or frames <= span:
            return self._mel(samples_bs, lengths, center=True)
        starts = range(0, frames, span)
        return torch.cat([self._piece(samples_bs, lengths, s, min(s + span, frames)) for s in starts], dim=1)

    def _piece(self, samples_bs: Tensor, lengths: Tensor, start: int, stop: int) -> Tensor:
        """Frames ``start`` to ``stop``, from the samples that their windows reach."""
        first = start * self.hop_samples - self.n_fft // 2
        after = (stop - 1) * self.hop_samples + self.n_fft // 2
        beyond = max(0, -first), max(0, after - samples_bs.shape[1])
        own_bs = F.pad(samples_bs[:, max(0, first) : after], beyond)
        return self._mel(own_bs, lengths - first, center=False)

    def _mel(self, samples_bs: Tensor, lengths: Tensor, *, center: bool) -> Tensor:
        """Decibels before the dynamic range is limited: (B, S) -> (B, F, n_mels)."""
        dtype = torch.float64 if samples_bs.dtype == torch.float64 else torch.float32
        own_bs = samples_bs.to(dtype).masked_fill(padding_mask(lengths, samples_bs.shape[1]), 0.0)
        with torch.autocast(samples_bs.device.type, enabled=False):
            mel_bfm = self._power(own_bs, center) @ self.filters.to(dtype)
        return 10.0 * mel_bfm.clamp(min=MIN_POWER).log10()

    def _power(self, samples_bs: Tensor, center: bool) -> Tensor:
        """Power spectrum: (B, samples) -> (B, F, n_fft / 2 + 1); if centred, zeros lie around."""
        spectrum_bnf = torch.stft(
            samples_bs,
            n_fft=self.n_fft,
            hop_length=self.hop_samples,
            win_length=self.window.shape[0],
            window=self.window.to(samples_bs.dtype),
            center=center,
            pad_mode="constant",
            return_complex=True,
        )
        spectrum_bfn = spectrum_bnf.transpose(1, 2)
        # Three times faster on CPU than abs().square() or a sum over view_as_real.
        return torch.addcmul(spectrum_bfn.real.square(), spectrum_bfn.imag, spectrum_bfn.imag)


class Normalizer(nn.Module):
    """Subtract a global mean from every mel band and divide by a global standard deviation.

    A new one leaves features as they are (mean zero, deviation one). The statistics are measured before
    training and then part of the weights, so an utterance never depends on what was heard with or before it.

    Parameters
    ----------
    n_mels : int
        Number of mel bands.

    Examples
    --------
    >>> normalizer = Normalizer(n_mels=1)
    >>> normalizer.set_statistics(torch.tensor([2.0]), torch.tensor([4.0]))
    >>> normalizer(torch.tensor([[[6.0], [6.0]]]), torch.tensor([1]))
    tensor([[[1.],
             [0.]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int = 80) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Take over measured or imported statistics.

        Parameters
        ----------
        mean : Tensor, shape (n_mels,)
            Mean of each band in decibels.
        std : Tensor, shape (n_mels,)
            Standard deviation of each band in decibels.

        Raises
        ------
        ValueError
            If a shape differs from (n_mels,).

        Examples
        --------
        >>> from hyperconformer.feature_statistics import FeatureStatistics
        >>> statistics = FeatureStatistics(n_mels=2)
        >>> statistics.update(torch.tensor([[[1.0, 5.0], [3.0, 5.0]]]), torch.tensor([2]))
        >>> normalizer = Normalizer(n_mels=2)
        >>> normalizer.set_statistics(statistics.mean, statistics.std)
        >>> normalizer.mean, normalizer.std
        (tensor([2., 5.]), tensor([1., 0.]))
        """
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != self.mean.shape:
                raise ValueError(f"{name} must have shape {tuple(self.mean.shape)}, got {tuple(value.shape)}")
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, features_bfm: Tensor, lengths: Tensor) -> Tensor:
        """Normalise a padded batch.

        Parameters
        ----------
        features_bfm : Tensor, shape (B, F, n_mels)
            Decibels.
        lengths : Tensor, shape (B,), long
            Frames of each utterance.

        Returns
        -------
        Tensor, shape (B, F, n_mels)
            Multiples of the standard deviation; zero at padded frames.

        Examples
        --------
        >>> Normalizer(n_mels=2)(torch.ones(1, 1, 2), torch.tensor([1]))
        tensor([[[1., 1.]]])
        """
        normal_bfm = (features_bfm - self.mean) / self.std.clamp(min=MIN_STD_DB)
        return normal_bfm.masked_fill(padding_mask(lengths, features_bfm.shape[1]).unsqueeze(2), 0.0)
