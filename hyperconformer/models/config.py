"""What a model is: the decisions that its weights depend on, readable from JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from hyperconformer.errors import check_range
from hyperconformer.mixers import mixer_options
from hyperconformer.nn.dropout import MAX_DROPOUT

# What a stranger's file may ask for before anything is allocated.
LARGEST_TABLE = 2**20


@dataclass(frozen=True)
class ModelConfig:
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
    frontend_channels : tuple of int
        Channels of the two strided convolutions.
    transformer_dropout : float
        Dropout everywhere.
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
    frontend_channels: tuple[int, int] = (64, 32)
    transformer_dropout: float = 0.1
    n_mels: int = 80
    n_fft: int = 400

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be; JSON and YAML know lists, not tuples.

        The mixer's options are completed, so that what is written down does not change with our defaults.
        """
        object.__setattr__(self, "frontend_channels", tuple(self.frontend_channels))
        object.__setattr__(self, "mixer_options", mixer_options(self.mixer, self.mixer_options))
        for name, low in (("output_neurons", 4), ("n_mels", 4), ("n_fft", 2)):
            check_range(name, getattr(self, name), low, LARGEST_TABLE)
        for name in ("d_model", "nhead", "d_ffn", "kernel_size", "num_encoder_layers", "num_decoder_layers"):
            check_range(name, getattr(self, name), 1)
        check_range("frontend_channels", min(self.frontend_channels), 1)
        check_range("transformer_dropout", self.transformer_dropout, 0, MAX_DROPOUT)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Examples
        --------
        >>> ModelConfig(output_neurons=30).to_dict()["output_neurons"]
        30
        """
        return {**asdict(self), "frontend_channels": list(self.frontend_channels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Read plain values back, refusing keys that no model has.

        Raises
        ------
        ValueError
            If a key is unknown.

        Examples
        --------
        >>> ModelConfig.from_dict({"output_neurons": 30, "colour": "blue"})
        Traceback (most recent call last):
            ...
        ValueError: a model has no setting 'colour'
        """
        return cls(**_known(cls, values))


@dataclass(frozen=True)
class LanguageModelConfig:
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

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be."""
        check_range("output_neurons", self.output_neurons, 4, LARGEST_TABLE)
        for name in ("d_model", "nhead", "d_ffn", "num_layers"):
            check_range(name, getattr(self, name), 1)
        check_range("transformer_dropout", self.transformer_dropout, 0, MAX_DROPOUT)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        Examples
        --------
        >>> LanguageModelConfig(output_neurons=30).to_dict()["num_layers"]
        12
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "LanguageModelConfig":
        """Read plain values back, refusing keys that no language model has.

        Raises
        ------
        ValueError
            If a key is unknown.

        Examples
        --------
        >>> LanguageModelConfig.from_dict({"output_neurons": 30, "mixer": "attention"})
        Traceback (most recent call last):
            ...
        ValueError: a model has no setting 'mixer'
        """
        return cls(**_known(cls, values))


def _known(
    cls: type[ModelConfig] | type[LanguageModelConfig], values: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The same values, if a model has all of their keys."""
    known = {f.name for f in fields(cls)}
    for key in values:
        if key not in known:
            raise ValueError(f"a model has no setting {key!r}")
    return values
