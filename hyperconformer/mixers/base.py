"""The contract that every token mixer keeps."""

from abc import abstractmethod

from torch import Tensor, nn


class TokenMixer(nn.Module):
    """Let every frame of an utterance hear of the others.

    A mixer is built from ``d_model`` and ``num_heads`` and may take further keyword options.
    What it promises: padded frames are never heard (an utterance gives the same output alone and in
    a batch) as long as what they hold is finite, and the output there is zero. There is no query/key/value
    triple and there are no attention weights.

    Examples
    --------
    >>> from hyperconformer.mixers import MIXERS
    >>> all(issubclass(mixer, TokenMixer) for mixer in MIXERS.values())
    True
    """

    @abstractmethod
    def forward(self, x_btd: Tensor, padding: Tensor | None = None) -> Tensor:
        """Mix.

        Parameters
        ----------
        x_btd : Tensor, shape (B, T, D)
            Normalised features.
        padding : Tensor, shape (B, T), bool, or None
            True at padded frames.

        Returns
        -------
        Tensor, shape (B, T, D)
            Zero at padded frames.
        """

    def quieten(self, share: float) -> None:
        """Let the mixer say little before it has learnt anything, by scaling the weights it ends in.

        Parameters
        ----------
        share : float
            Of what it would say, at most; a mixer without such weights (identity, Fourier) stays as it is.

        Examples
        --------
        >>> from hyperconformer.mixers import make_mixer
        >>> mixer = make_mixer("hypermixing", 8, 2, {})
        >>> mixer.quieten(0.25)
        >>> mixer.norm.weight[0].item()
        0.25
        """
