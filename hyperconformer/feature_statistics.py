"""Mean and deviation of every mel band, gathered over a training set."""

import torch
from torch import Tensor

from hyperconformer.nn.masks import padding_mask


class FeatureStatistics:
    """Running mean and standard deviation of every band over the valid frames of many batches.

    Sums of squared deviations are merged pairwise in float64, so the result neither depends on the order of
    the batches nor loses digits when the mean is large.

    Parameters
    ----------
    n_mels : int
        Number of bands.

    References
    ----------
    Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983.

    Examples
    --------
    >>> statistics = FeatureStatistics(n_mels=1)
    >>> statistics.update(torch.tensor([[[1.0], [3.0], [99.0]]]), torch.tensor([2]))
    >>> statistics.count, statistics.mean, statistics.std
    (2, tensor([2.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    def __init__(self, n_mels: int) -> None:
        self.count = 0
        self._mean = torch.zeros(n_mels, dtype=torch.float64)
        self._squares = torch.zeros(n_mels, dtype=torch.float64)

    @property
    def mean(self) -> Tensor:
        """Mean of each band, shape (n_mels,), float64.

        Raises
        ------
        ValueError
            If no frame has been counted.

        Examples
        --------
        >>> FeatureStatistics(n_mels=1).mean
        Traceback (most recent call last):
            ...
        ValueError: statistics of 0 frames: update them with at least one frame first
        """
        self._require_frames()
        return self._mean

    @property
    def std(self) -> Tensor:
        """Standard deviation (divided by the count, not the count less one), shape (n_mels,), float64.

        Raises
        ------
        ValueError
            If no frame has been counted.

        Examples
        --------
        >>> statistics = FeatureStatistics(n_mels=1)
        >>> statistics.update(torch.tensor([[[-2.0], [2.0]]]), torch.tensor([2]))
        >>> statistics.std
        tensor([2.], dtype=torch.float64)
        """
        self._require_frames()
        return (self._squares / self.count).sqrt()

    def update(self, features_bfm: Tensor, lengths: Tensor) -> None:
        """Count the valid frames of one batch.

        Parameters
        ----------
        features_bfm : Tensor, shape (B, F, n_mels)
            Features; padded frames are ignored.
        lengths : Tensor, shape (B,), long
            Frames of each utterance.

        Examples
        --------
        >>> statistics = FeatureStatistics(n_mels=80)
        >>> statistics.update(torch.zeros(2, 10, 80), torch.tensor([10, 4]))
        >>> statistics.count
        14
        """
        own_bf = ~padding_mask(lengths, features_bfm.shape[1])
        frames_nm = features_bfm.detach()[own_bf].to("cpu", torch.float64)
        if len(frames_nm) == 0:
            return
        batch = FeatureStatistics(frames_nm.shape[1])
        batch.count = len(frames_nm)
        batch._mean = frames_nm.mean(dim=0)
        batch._squares = (frames_nm - batch._mean).square().sum(dim=0)
        self.merge(batch)

    def merge(self, other: "FeatureStatistics") -> None:
        """Add the frames that ``other`` has counted.

        Parameters
        ----------
        other : FeatureStatistics
            Statistics of other frames; left as they are.

        Raises
        ------
        ValueError
            If the two differ in their number of bands.

        Examples
        --------
        >>> low, high = FeatureStatistics(n_mels=1), FeatureStatistics(n_mels=1)
        >>> low.update(torch.tensor([[[1.0]]]), torch.tensor([1]))
        >>> high.update(torch.tensor([[[3.0]]]), torch.tensor([1]))
        >>> low.merge(high)
        >>> low.count, low.mean.item(), low.std.item()
        (2, 2.0, 1.0)
        """
        if other._mean.shape != self._mean.shape:
            raise ValueError(f"expected statistics of {len(self._mean)} bands, got {len(other._mean)}")
        count = self.count + other.count
        if count == 0:
            return
        delta = other._mean - self._mean
        self._mean = self._mean + delta * (other.count / count)
        self._squares = self._squares + other._squares + delta.square() * (self.count * other.count / count)
        self.count = count

    def _require_frames(self) -> None:
        if self.count == 0:
            raise ValueError("statistics of 0 frames: update them with at least one frame first")
