"""What training does to an utterance before the model sees it: speed perturbation and SpecAugment.

All chance is drawn with numpy from a generator keyed by (seed, epoch, utterance id), and all arithmetic on
features happens later for a whole batch: a plan of integers travels between the two.
"""

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor

from hyperconformer.nn.masks import padding_mask


def keyed_rng(*key: int | str) -> np.random.Generator:
    """Make a random generator from a key: the same key gives the same numbers in any process.

    Keying by (seed, epoch, utterance id) makes an epoch repeatable whatever the number of workers, the order
    of utterances or how often training was resumed.

    Parameters
    ----------
    *key : int or str
        Parts of the key; their types and order count, so (1, 23), (12, 3) and ("1", 23) all differ.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    ValueError
        If the key is empty.

    Examples
    --------
    >>> keyed_rng(7775, 1, "1272-128104-0000").integers(100, size=4)
    array([29, 80, 57, 93])
    """
    if not key:
        raise ValueError("a key needs at least one part, for instance (seed, epoch, utterance id)")
    digest = hashlib.blake2b(digest_size=16)
    for part in key:
        text = f"str:{part}" if isinstance(part, str) else f"int:{operator.index(part)}"
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    entropy = int.from_bytes(digest.digest(), "little")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def sped_up_samples(samples: int, percent: int) -> int:
    """Count the samples of an utterance after a change of speed, without changing it.

    Parameters
    ----------
    samples : int
        Samples before.
    percent : int
        Speed in percent.

    Returns
    -------
    int
        Samples after, rounded to the nearest (halves up).

    Raises
    ------
    ValueError
        If ``percent`` is not positive.

    Examples
    --------
    >>> sped_up_samples(21, 105), sped_up_samples(19, 95)
    (20, 20)
    """
    if percent < 1:
        raise ValueError(f"a speed must be at least 1 percent, got {percent}")
    return (100 * samples + percent // 2) // percent


def change_speed(samples: npt.NDArray[np.float32], percent: int) -> npt.NDArray[np.float32]:
    """Play an utterance faster or slower by resampling, which shifts its pitch by the same factor.

    Parameters
    ----------
    samples : ndarray, shape (samples,), float32
        Mono audio.
    percent : int
        Speed in percent: 105 is shorter and higher, 95 longer and lower, 100 the very same array.

    Returns
    -------
    ndarray, shape (sped_up_samples(samples, percent),), float32

    Raises
    ------
    ValueError
        If ``percent`` is not positive.

    References
    ----------
    Ko et al., Audio augmentation for speech recognition, Interspeech 2015.

    Examples
    --------
    >>> change_speed(np.zeros(2_100, dtype=np.float32), 105).shape
    (2000,)
    """
    wanted = sped_up_samples(len(samples), percent)
    if percent == 100:
        return samples
    changed: npt.NDArray[np.float32] = soxr.resample(samples, percent, 100)
    # Where the exact length ends in one half, the resampler may round the other way.
    return np.pad(changed[:wanted], (0, max(0, wanted - len(changed))))


@dataclass(frozen=True)
class SpecAugment:
    """Warp normalised features in time and hide bands and stretches of frames.

    ``draw`` throws the dice for one utterance and ``apply`` carries out the plans of a whole batch. A plan of
    zeros leaves its utterance alone.

    Attributes
    ----------
    time_warp : int
        Most frames by which the warp's centre moves; 0 turns warping off.
    freq_masks : int
        Number of frequency masks.
    freq_mask_width : int
        Widest frequency mask in bands.
    time_masks : int
        Number of time masks.
    time_mask_width : int
        Widest time mask in frames.
    max_time_share : float
        Largest share of an utterance that one time mask may hide; protects short utterances.

    Raises
    ------
    ValueError
        If a number or width is negative, or if ``max_time_share`` is not between 0 and 1.

    References
    ----------
    Park et al., SpecAugment, arXiv 1904.08779.

    Examples
    --------
    >>> augment = SpecAugment(time_warp=0, freq_masks=1, time_masks=1)
    >>> plan = augment.draw(keyed_rng(0), frames=100, n_mels=80)
    >>> plan.shape
    (6,)
    >>> features_bfm = torch.ones(1, 3, 4)
    >>> augment.apply(features_bfm, torch.tensor([3]), torch.tensor([[0, 0, 3, 1, 0, 1]]))
    tensor([[[0., 0., 0., 0.],
             [1., 1., 1., 0.],
             [1., 1., 1., 0.]]])
    """

    time_warp: int = 5
    freq_masks: int = 2
    freq_mask_width: int = 30
    time_masks: int = 2
    time_mask_width: int = 40
    max_time_share: float = 0.2

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        for name in ("time_warp", "freq_masks", "freq_mask_width", "time_masks", "time_mask_width"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0.0 <= self.max_time_share <= 1.0:
            raise ValueError(f"max_time_share must lie between 0 and 1, got {self.max_time_share}")

    @property
    def plan_size(self) -> int:
        """Numbers in a plan: the warp's centre and target, then a start and a width for every mask.

        Examples
        --------
        >>> SpecAugment(freq_masks=2, time_masks=2).plan_size
        10
        """
        return 2 + 2 * (self.freq_masks + self.time_masks)

    def draw(self, rng: np.random.Generator, frames: int, n_mels: int = 80) -> npt.NDArray[np.int64]:
        """Draw the plan of one utterance.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of chance, see `keyed_rng`.
        frames : int
            Frames of the utterance.
        n_mels : int
            Bands of its features.

        Returns
        -------
        ndarray, shape (plan_size,), int64
            Centre and target of the warp, then start and width of each frequency and of each time mask.

        Raises
        ------
        ValueError
            If ``frames`` or ``n_mels`` is below one.

        Examples
        --------
        >>> plan = SpecAugment().draw(keyed_rng(0), frames=1, n_mels=80)
        >>> plan[:2], plan[6:]
        (array([0, 0]), array([0, 0, 0, 0]))
        """
        if min(frames, n_mels) < 1:
            raise ValueError(
                f"nothing to augment: frames and n_mels must be positive, got {frames} and {n_mels}"
            )
        longest = min(self.time_mask_width, int(self.max_time_share * frames))
        plan = [*self._draw_warp(rng, frames)]
        for _ in range(self.freq_masks):
            plan += _draw_mask(rng, n_mels, min(self.freq_mask_width, n_mels))
        for _ in range(self.time_masks):
            plan += _draw_mask(rng, frames, longest)
        return np.array(plan, dtype=np.int64)

    def _draw_warp(self, rng: np.random.Generator, frames: int) -> tuple[int, int]:
        """Centre and target, both strictly inside the utterance; (0, 0) where it is too short to warp."""
        first, last = self.time_warp + 1, frames - 2 - self.time_warp
        if self.time_warp == 0 or first > last:
            return 0, 0
        centre = int(rng.integers(first, last + 1))
        return centre, centre + int(rng.integers(-self.time_warp, self.time_warp + 1))

    def draw_views(
        self, key: Sequence[int | str], frames: int, n_mels: int = 80, *, views: int = 1
    ) -> npt.NDArray[np.int64]:
        """Draw the plans of an utterance that is seen in several ways at once.

        The masks of each view are its own; the warp is the same in all, so that a frame of one view is the
        same moment in the others.

        Parameters
        ----------
        key : sequence of int or str
            Of chance, see `keyed_rng`; every view but the first adds its number.
        frames : int
            Frames of the utterance.
        n_mels : int
            Bands of its features.
        views : int
            Number of views V.

        Returns
        -------
        ndarray, shape (V plan_size,), int64
            A plan after the other.

        References
        ----------
        Yao et al., CR-CTC, arXiv 2410.05101: one warp for both views.

        Examples
        --------
        >>> augment = SpecAugment(freq_masks=1, time_masks=0)
        >>> augment.draw_views((7775, 1, "a"), frames=100, views=2).reshape(2, 4)[:, :2]
        array([[49, 47],
               [49, 47]])
        """
        numbers: list[tuple[int, ...]] = [(), *((view,) for view in range(1, views))]
        plans = np.stack([self.draw(keyed_rng(*key, *number), frames, n_mels) for number in numbers])
        plans[1:, :2] = plans[0, :2]
        return plans.reshape(-1)

    def apply_views(self, features_bfm: Tensor, lengths_b: Tensor, plans_bp: Tensor) -> Tensor:
        """Carry out plans of `draw_views`.

        Parameters
        ----------
        features_bfm : Tensor, shape (B, F, n_mels)
        lengths_b : Tensor, shape (B,), long
        plans_bp : Tensor, shape (B, V plan_size), long

        Returns
        -------
        Tensor, shape (V B, F, n_mels)
            All utterances in the first view, then all in the next.

        Examples
        --------
        >>> augment = SpecAugment(time_warp=0, freq_masks=0, time_masks=1)
        >>> plans_bp = torch.tensor([[0, 0, 1, 1, 0, 0, 2, 1]])
        >>> augment.apply_views(torch.ones(1, 3, 1), torch.tensor([3]), plans_bp).squeeze(2)
        tensor([[1., 0., 1.],
                [1., 1., 0.]])
        """
        plans = plans_bp.split(self.plan_size, dim=1)
        if len(plans) == 1:
            return self.apply(features_bfm, lengths_b, plans_bp)
        return torch.cat([self.apply(features_bfm, lengths_b, plan_bp) for plan_bp in plans])

    def apply(self, features_bfm: Tensor, lengths_b: Tensor, plans_bp: Tensor) -> Tensor:
        """Carry out the plans of a batch.

        Parameters
        ----------
        features_bfm : Tensor, shape (B, F, n_mels)
            Normalised features, so that the zero of a masked cell is the mean.
        lengths_b : Tensor, shape (B,), long
            Frames of each utterance.
        plans_bp : Tensor, shape (B, plan_size), long
            What `draw` returned for each utterance, stacked.

        Returns
        -------
        Tensor, shape (B, F, n_mels)
            Augmented features; zero at padded frames.

        Examples
        --------
        >>> ramp_bfm = torch.arange(5.0).view(1, 5, 1)
        >>> augment = SpecAugment(freq_masks=0, time_masks=0)
        >>> augment.apply(ramp_bfm, torch.tensor([5]), torch.tensor([[2, 1]])).flatten()
        tensor([0.0000, 2.0000, 2.6667, 3.3333, 4.0000])
        """
        assert plans_bp.shape[1] == self.plan_size, (
            f"expected plans of {self.plan_size} numbers, got {plans_bp.shape[1]}"
        )
        _, frames, n_mels = features_bfm.shape
        if self.time_warp > 0:
            features_bfm = _warp(features_bfm, lengths_b, plans_bp[:, 0], plans_bp[:, 1])
        first_time = 2 + 2 * self.freq_masks
        bands_bm = _covered(plans_bp[:, 2:first_time], n_mels)
        frames_bf = _covered(plans_bp[:, first_time:], frames) | padding_mask(lengths_b, frames)
        return features_bfm.masked_fill(frames_bf.unsqueeze(2) | bands_bm.unsqueeze(1), 0.0)


def _draw_mask(rng: np.random.Generator, size: int, widest: int) -> tuple[int, int]:
    """Start and width of a mask that lies inside ``size``; a width of 0 covers nothing."""
    width = int(rng.integers(widest + 1))
    return int(rng.integers(size - max(width, 1) + 1)), width


def _covered(masks_bk: Tensor, size: int) -> Tensor:
    """(B, 2 masks) starts and widths in turn -> (B, size) bool, True where any mask lies."""
    starts_bn1, widths_bn1 = masks_bk[:, 0::2].unsqueeze(2), masks_bk[:, 1::2].unsqueeze(2)
    positions = torch.arange(size, device=masks_bk.device)
    return ((positions >= starts_bn1) & (positions < starts_bn1 + widths_bn1)).any(dim=1)


def _warp(features_bfm: Tensor, lengths_b: Tensor, centres_b: Tensor, targets_b: Tensor) -> Tensor:
    """Move each centre frame to its target and stretch both sides; the first and last frame stay.

    Source positions are divided out in integers, so a warp from a frame to itself is exactly the identity
    and long utterances lose no precision.
    """
    last_b1 = (lengths_b - 1).unsqueeze(1)
    centres_b1, targets_b1 = centres_b.unsqueeze(1), targets_b.unsqueeze(1)
    frames_bf = torch.minimum(torch.arange(features_bfm.shape[1], device=lengths_b.device), last_b1)
    before_bf = frames_bf <= targets_b1
    source_run_bf = torch.where(before_bf, centres_b1, last_b1 - centres_b1)
    target_run_bf = torch.where(before_bf, targets_b1, last_b1 - targets_b1).clamp(min=1)
    scaled_bf = torch.where(before_bf, frames_bf, frames_bf - targets_b1) * source_run_bf
    lower_bf = torch.where(before_bf, 0, centres_b1) + scaled_bf // target_run_bf
    upper_bf = torch.minimum(lower_bf + 1, last_b1)
    weights_bf = (scaled_bf % target_run_bf).to(features_bfm.dtype) / target_run_bf
    rows_b1 = torch.arange(len(features_bfm), device=features_bfm.device).unsqueeze(1)
    return torch.lerp(
        features_bfm[rows_b1, lower_bf], features_bfm[rows_b1, upper_bf], weights_bf.unsqueeze(2)
    )
