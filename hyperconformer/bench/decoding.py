"""What ``bench decode`` decodes, and what a search must agree in."""

from dataclasses import dataclass

# Two searches sum some hundred float32 terms in another order.
SAME_SCORE, SAME_SHARE = 1e-3, 1e-5


@dataclass(frozen=True)
class Decoding:
    """What is decoded, and how.

    Attributes
    ----------
    beam : int
        Hypotheses that go on after each step.
    steps : int or None
        Exactly so many steps of the decoder, the last one for the end; None: until the search ends by itself.
    ctc : {"flat", "peaked"}
        What a drawn CTC head says: all tokens alike, or, as a trained one, one token for sure here and there.
    ctc_weight, lm_weight : float
    language_model : str
        ``none``, ``random`` (drawn, of the sizes that follow), or the folder of one.
    lm_d_model, lm_heads, lm_layers : int
        As they stand, those of SpeechBrain's for LibriSpeech.
    model : str
        The recogniser's folder; empty: drawn from the seed.
    audio : str
        A recording; empty: noise.
    patience : float
        Seconds: what takes longer is not repeated.

    Examples
    --------
    >>> Decoding(beam=66, steps=40, language_model="random").label
    'beam 66, 40 steps, LM'
    """

    beam: int = 10
    steps: int | None = None
    ctc: str = "flat"
    ctc_weight: float = 0.4
    lm_weight: float = 0.6
    language_model: str = "none"
    lm_d_model: int = 768
    lm_heads: int = 12
    lm_layers: int = 12
    model: str = ""
    audio: str = ""
    patience: float = 60.0

    @property
    def has_language_model(self) -> bool:
        """Whether there is one."""
        return self.language_model != "none"

    @property
    def label(self) -> str:
        """What messages call it."""
        steps = [f"{self.steps} steps"] if self.steps else []
        peaked = ["peaked"] if self.ctc == "peaked" else []
        return ", ".join([f"beam {self.beam}", *steps, *peaked, *(["LM"] if self.has_language_model else [])])

    @property
    def recogniser(self) -> str:
        """What tables call the recogniser."""
        return self.model or ("random, peaked" if self.ctc == "peaked" else "random")

    def ratios(self, frames: int) -> tuple[float, float]:
        """Least tokens before the end and most symbols with it, per frame: both systems round these down."""
        if self.steps is None:
            return 0.0, 1.0
        return (self.steps - 0.5) / frames, (self.steps + 0.5) / frames


@dataclass(frozen=True)
class Found:
    """What a search found, and what it had to do for it.

    Attributes
    ----------
    tokens : tuple of int
        Of the best hypothesis.
    score : float or None
        Its total; None where the search has another one than its fellows.
    pruned, fell_back : float or None
        Share of the candidates that were never scored by CTC, and of the steps that scored them all.

    Examples
    --------
    >>> truth = Found((5, 9), -20.0)
    >>> [Found((5,), score).ahead_of(truth) for score in (-20.0005, -18.0, -22.0)]
    [0.0, 2.0, -2.0]
    """

    tokens: tuple[int, ...] = ()
    score: float | None = None
    pruned: float | None = None
    fell_back: float | None = None

    def ahead_of(self, other: "Found") -> float:
        """By how many nats it is better than the other one; zero for rounding, or where one has no score."""
        if self.score is None or other.score is None:
            return 0.0
        gap = self.score - other.score
        return 0.0 if abs(gap) <= max(SAME_SCORE, SAME_SHARE * abs(other.score)) else gap
