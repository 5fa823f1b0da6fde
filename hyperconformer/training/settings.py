"""What an ASR recipe decides: one checked object."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from hyperconformer.data.augment import SpecAugment
from hyperconformer.decoding.options import MOST_HYPOTHESES, SearchOptions
from hyperconformer.errors import check_range
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import ModelType
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.run_settings import SMALLEST, RunSettings

AUTO = "auto"


@dataclass(frozen=True)
class Settings(RunSettings):
    """Every decision of a training run except the model's own; the names are the YAML's keys.

    Attributes
    ----------
    task : {"asr"}
    corpus : str
        What ``data_folder`` is: ``librispeech`` (that layout), ``mini`` (espeak-ng makes it there), or
        ``manifests`` (a CSV file for each split, as ``hyperconformer prepare`` writes them).
    data_folder : str or None
        Folder that holds the splits.
    train_splits, dev_splits, test_splits : list of str
        Without a dev split, a tenth of every training speaker's utterances is held out.
    token_type : str
        Kind of SentencePiece model.
    max_batch_length : float or "auto"
        Padded seconds of a batch, of all processes together; ``auto`` measures what a GPU has room for.
    max_batch_tokens : int
        Padded tokens of a batch, likewise.
    max_utterance_length : float
        Longer training utterances are left out.
    ctc_weight, label_smoothing : float
        Of the loss.
    inter_ctc_layers, inter_ctc_weight
        Encoder layers on the way that CTC is asked of too, and their share in it.
    cr_ctc_weight : float
        Of the agreement between two masked views, beside CTC; 0 looks at each utterance once.
    speeds : list of int
        Speed perturbation in percent.
    decode : list of {"greedy", "joint"}
        Searches for the test; the last one's WER is the run's result.
    beam_size, ctc_weight_decode, max_decode_ratio, length_normalization
        Of the joint search.
    augment : SpecAugment
        The keys of the masks.
    model : ModelConfig
        The keys that decide the weights.

    Examples
    --------
    >>> Settings.__annotations__["corpus"]
    typing.Literal['librispeech', 'mini', 'manifests']
    """

    task: Literal["asr"]
    corpus: Literal["librispeech", "mini", "manifests"]
    data_folder: str | None
    train_splits: list[str]
    dev_splits: list[str]
    test_splits: list[str]
    token_type: ModelType
    max_batch_length: float | Literal["auto"]
    max_batch_tokens: int
    max_utterance_length: float
    ctc_weight: float
    label_smoothing: float
    inter_ctc_layers: list[int]
    inter_ctc_weight: float
    cr_ctc_weight: float
    speeds: list[int]
    decode: list[Literal["greedy", "prefix", "rescore", "joint"]]
    beam_size: int
    ctc_weight_decode: float
    max_decode_ratio: float
    length_normalization: bool
    language_model: str | None
    lm_weight: float
    lm_temperature: float
    augment: SpecAugment
    model: ModelConfig

    def __post_init__(self) -> None:
        """Refuse what would fail only later."""
        super().__post_init__()
        if self.max_batch_length != AUTO:
            check_range("max_batch_length", float(self.max_batch_length), SMALLEST)
        check_range("speeds, in percent,", min(self.speeds, default=0), 1)
        if self.lm_weight and self.language_model is None:
            raise ValueError("lm_weight needs the folder of a language model: give language_model")
        if not self.decode:
            raise ValueError("decode must name a search, for instance [greedy]")
        layers, last = self.inter_ctc_layers, self.model.num_encoder_layers - 1
        if list(layers) != sorted({layer for layer in layers if 1 <= layer <= last}):
            raise ValueError(f"inter_ctc_layers must rise from 1 up to {last} at most, got {layers}")
        first, last = self.model.half_rate_layers or (0, -1)
        if inside := [layer for layer in layers if first <= layer <= last]:
            raise ValueError(f"inter_ctc_layers {inside} are at half the rate: read others")
        if self.ctc_weight == 0 and (layers or self.cr_ctc_weight > 0):
            raise ValueError("inter_ctc_layers and cr_ctc_weight are shares of CTC: raise ctc_weight above 0")

    @property
    def search(self) -> SearchOptions:
        """The dials of the test's searches."""
        return SearchOptions(
            beam_size=self.beam_size,
            ctc_weight=self.ctc_weight_decode,
            max_decode_ratio=self.max_decode_ratio,
            length_normalization=self.length_normalization,
            lm_weight=self.lm_weight,
            lm_temperature=self.lm_temperature,
        )

    @property
    def views(self) -> int:
        """How often training sees an utterance at once, each time behind other masks.

        ``max_batch_length`` bounds what goes through the model: a batch holds that many times fewer seconds.
        """
        return 2 if self.cr_ctc_weight > 0 else 1

    @property
    def loss_parts(self) -> tuple[str, ...]:
        """Names of what the loss is made of."""
        inter = ("inter_ctc",) if self.inter_ctc_layers else ()
        return ("ctc", "attention", *inter, *(("cr_ctc",) if self.cr_ctc_weight > 0 else ()))

    @classmethod
    def ranges(cls) -> dict[str, tuple[float, float]]:
        """Least and greatest legal value of each number."""
        return super().ranges() | {
            "max_batch_tokens": (1, math.inf),
            "max_utterance_length": (SMALLEST, math.inf),
            "ctc_weight": (0, 1),
            "label_smoothing": (0, 1),
            "inter_ctc_weight": (0, 1),
            "cr_ctc_weight": (0, math.inf),
            "beam_size": (1, MOST_HYPOTHESES),
            "ctc_weight_decode": (0, 1),
            "max_decode_ratio": (SMALLEST, math.inf),
            "lm_weight": (0, math.inf),
            "lm_temperature": (SMALLEST, math.inf),
        }

    @property
    def batch_seconds(self) -> float:
        """Padded seconds of a batch, once they are known."""
        assert self.max_batch_length != AUTO, "auto must be measured first"
        return float(self.max_batch_length)

    def plain(self) -> dict[str, Any]:
        """Every key of the recipe with its value, as a YAML file would have them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("augment", "model")}
        return {**own, "adam_betas": list(self.adam_betas), **self.model.to_dict(), **asdict(self.augment)}


def load_settings(hparams_file: str, overrides: Mapping[str, Any]) -> Settings:
    """Read an ASR recipe.

    Parameters
    ----------
    hparams_file : str
        HyperPyYAML file; ``base: !include:other.yaml``, or a list of these, and the keys that differ make a
        variant.
    overrides : mapping
        Values that replace the file's.

    Returns
    -------
    Settings

    Raises
    ------
    InputError
        If the file cannot be read, or a key is unknown, missing or of the wrong type.

    Examples
    --------
    >>> load_settings("no.yaml", {})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'no.yaml' does not exist: see the files in hparams/
    """
    return build_settings(Settings, read_recipe(hparams_file, overrides), hparams_file)
