"""What a model is: the decisions that its weights depend on, readable from JSON."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar

from hyperconformer.errors import check_range
from hyperconformer.hints import expected, fits
from hyperconformer.mixers import mixer_options
from hyperconformer.nn.dropout import MAX_DROPOUT

LIMITS = {
    "output_neurons": (4, 2**20),
    "num_classes": (2, 2**12),
    "texts": (1, 2),
    "n_mels": (4, 2**10),
    "n_fft": (2, 2**14),
    "d_model": (1, 2**14),
    "d_ffn": (1, 2**17),
    "nhead": (1, 2**10),
    "kernel_size": (1, 2**12),
    "num_encoder_layers": (1, 2**8),
    "num_decoder_layers": (1, 2**8),
    "num_layers": (1, 2**8),
    "transformer_dropout": (0, MAX_DROPOUT),
    "branch_start": (0, 1),
}
"""Least and greatest value of each size: a stranger's file is held to them before anything is allocated."""
MOST_CHANNELS = 2**12
M = TypeVar("M", "ModelConfig", "ClassifierConfig")


@dataclass(frozen=True)
class Config:
    """What the settings of all models have in common: limits of their sizes, and plain values both ways.

    Raises
    ------
    ValueError
        If a size is out of range.

    Examples
    --------
    >>> LanguageModelConfig(output_neurons=3)
    Traceback (most recent call last):
        ...
    ValueError: output_neurons must lie between 4 and 1048576, got 3
    """

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        for f in fields(self):
            if f.name in LIMITS:
                check_range(f.name, getattr(self, f.name), *LIMITS[f.name])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Examples
        --------
        >>> ModelConfig(output_neurons=30).to_dict()["frontend_channels"]
        [64, 32]
        """
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read plain values back.

        Raises
        ------
        ValueError
            If a key is unknown or missing, or a value of another type or out of range.

        Examples
        --------
        >>> ModelConfig.from_dict({"output_neurons": 30, "colour": "blue"})
        Traceback (most recent call last):
            ...
        ValueError: a model has no setting 'colour'
        >>> LanguageModelConfig.from_dict({"output_neurons": 30, "mixer": "attention"})
        Traceback (most recent call last):
            ...
        ValueError: a model has no setting 'mixer'
        >>> ClassifierConfig.from_dict({"output_neurons": 30})
        Traceback (most recent call last):
            ...
        ValueError: num_classes is missing
        """
        return cls(**_known(cls, values))


@dataclass(frozen=True)
class ModelConfig(Config):
    """Sizes and dials of a recogniser; the names are those of SpeechBrain's recipes.

    Attributes
    ----------
    output_neurons : int
        Width of the output layers: tokens including blank, begin and end.
    mixer : str
        Name of the encoder's token mixer.
    mixer_options : mapping
        Its further keyword options; those not given are added.
    d_model, nhead, d_ffn, kernel_size : int
        Feature size, heads, hidden size of the feed-forward networks, width of the depthwise convolution.
    num_encoder_layers, num_decoder_layers : int
        Depths.
    half_rate_layers : (int, int) or None
        First and last of the encoder layers that hear frames of 80 ms instead of 40, counted from 1.
    frontend_channels : tuple of int
        Channels of the two strided convolutions.
    transformer_dropout : float
        Dropout everywhere.
    branch_start : float
        What a residual branch of a new encoder adds, as a share of what Xavier's weights would.
    n_mels, n_fft : int
        Mel bands, and points of the Fourier transform.

    Raises
    ------
    ValueError
        If a size is out of range.

    Examples
    --------
    >>> config = ModelConfig(output_neurons=1000, d_model=96)
    >>> ModelConfig.from_dict(config.to_dict()) == config
    True
    """

    output_neurons: int
    mixer: str = "hypermixing"
    mixer_options: Mapping[str, Any] = field(default_factory=dict)
    d_model: int = 144
    nhead: int = 8
    d_ffn: int = 576
    kernel_size: int = 31
    num_encoder_layers: int = 10
    num_decoder_layers: int = 4
    half_rate_layers: tuple[int, int] | None = None
    frontend_channels: tuple[int, int] = (64, 32)
    transformer_dropout: float = 0.1
    branch_start: float = 0.1
    n_mels: int = 80
    n_fft: int = 400

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be; JSON and YAML know lists, not tuples.

        The mixer's options are completed, so that what is written down does not change with our defaults.
        """
        for name in ("frontend_channels", "half_rate_layers"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "mixer_options", mixer_options(self.mixer, self.mixer_options))
        super().__post_init__()
        for channels in self.frontend_channels:
            check_range("frontend_channels", channels, 1, MOST_CHANNELS)
        first, last = self.half_rate_layers or (1, 1)
        if not 1 <= first <= last <= self.num_encoder_layers:
            raise ValueError(
                f"half_rate_layers must be a first and a last one of the {self.num_encoder_layers} encoder "
                f"layers, counted from 1, got {first} and {last}"
            )


@dataclass(frozen=True)
class LanguageModelConfig(Config):
    """Sizes of a Transformer language model; by default those of SpeechBrain's for LibriSpeech.

    Attributes
    ----------
    output_neurons : int
        Tokens including blank, begin and end.
    d_model, nhead, d_ffn, num_layers : int
        Feature size, heads, hidden size of the feed-forward networks, depth.
    transformer_dropout : float
        Dropout everywhere.
    tie_embeddings : bool
        One table of the tokens for input and output.
    norm : {"before", "after"}
        Layer norms stand before attention and feed-forward networks; or after them and their residuals, with
        one more projection before the output, as in SpeechBrain's published model.

    Raises
    ------
    ValueError
        If a size is out of range.

    Examples
    --------
    >>> config = LanguageModelConfig(output_neurons=1000, d_model=96)
    >>> LanguageModelConfig.from_dict(config.to_dict()) == config
    True
    """

    output_neurons: int
    d_model: int = 768
    nhead: int = 12
    d_ffn: int = 3072
    num_layers: int = 12
    transformer_dropout: float = 0.1
    tie_embeddings: bool = False
    norm: Literal["before", "after"] = "before"


@dataclass(frozen=True)
class ClassifierConfig(Config):
    """Sizes and dials of a text classifier.

    Attributes
    ----------
    output_neurons : int
        Tokens including unknown, begin and end.
    num_classes : int
        Classes, 4096 at most: their labels stand in a model folder's config.
    texts : int
        What is classified: one text, or two as a pair.
    pair : {"joined", "cross"}
        A pair is one sequence, or two that hear each other by HyperMixing's query and key form.
    mixer : str
        Name of the token mixer.
    mixer_options : mapping
        Its further keyword options; those not given are added.
    d_model, nhead, d_ffn, num_layers : int
        Feature size, heads, hidden size of the feed-forward networks, depth.
    positions : {"sinusoid", "none"}
        What is added to the tokens' embeddings.
    transformer_dropout : float
        Dropout everywhere.

    Raises
    ------
    ValueError
        If a size is out of range, or ``cross`` is asked of another mixer, or of single texts.

    Examples
    --------
    >>> config = ClassifierConfig(output_neurons=1000, num_classes=150)
    >>> ClassifierConfig.from_dict(config.to_dict()) == config
    True
    """

    output_neurons: int
    num_classes: int
    texts: int = 1
    pair: Literal["joined", "cross"] = "joined"
    mixer: str = "hypermixing"
    mixer_options: Mapping[str, Any] = field(default_factory=dict)
    d_model: int = 128
    nhead: int = 4
    d_ffn: int = 256
    num_layers: int = 2
    positions: Literal["sinusoid", "none"] = "sinusoid"
    transformer_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be; the mixer's options are completed."""
        object.__setattr__(self, "mixer_options", mixer_options(self.mixer, self.mixer_options))
        super().__post_init__()
        if self.pair == "cross" and self.texts != 2:
            raise ValueError(
                "pair cross lets each of two texts hear the other: texts must be 2, or pair joined"
            )
        if self.pair == "cross" and self.mixer != "hypermixing":
            raise ValueError(
                f"pair cross is HyperMixing's query and key form: mixer {self.mixer!r} needs pair joined"
            )
        if self.positions == "sinusoid" and self.d_model % 2:
            raise ValueError(
                f"d_model {self.d_model} must be even for sinusoidal positions, or positions none"
            )


def with_mixer(config: M, mixer: str, options: Mapping[str, Any] | None = None, **changes: Any) -> M:
    """Give a model a mixer; options that it had hold for the same mixer alone.

    Parameters
    ----------
    config : ModelConfig or ClassifierConfig
    mixer : str
    options : mapping or None
        Further ones.
    **changes
        Of other settings.

    Returns
    -------
    ModelConfig or ClassifierConfig

    Raises
    ------
    ValueError
        If the mixer has no such option, or a setting cannot be.

    Examples
    --------
    >>> tied = ModelConfig(output_neurons=30, mixer_options={"tied": True})
    >>> with_mixer(tied, "hypermixing", {"gate": True}).mixer_options["tied"]
    True
    >>> with_mixer(tied, "attention").mixer_options
    {'dropout': 0.0}
    """
    kept = config.mixer_options if config.mixer == mixer else {}
    return replace(config, mixer=mixer, mixer_options={**kept, **(options or {})}, **changes)


def _known(cls: type[Config], values: Any) -> Mapping[str, Any]:
    """The same values, if they are those of a model: no key too many or too few, each of its type."""
    if not isinstance(values, Mapping):
        raise ValueError(f"a model's settings are a mapping, got {values!r:.40}")
    known = {f.name: f for f in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"a model has no setting {key!r:.40}")
        if not fits(value, known[key].type):
            raise ValueError(f"{key} must be {expected(known[key].type)}, got {value!r:.40}")
    for key, f in known.items():
        if f.default is MISSING and f.default_factory is MISSING and key not in values:
            raise ValueError(f"{key} is missing")
    return values
