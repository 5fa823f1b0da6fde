"""What a text classification recipe decides: one checked object."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hyperconformer.data.text_corpora import CORPORA, TextSource
from hyperconformer.inference.classifier_bundle import MOST_TEXT_TOKENS
from hyperconformer.models.config import ClassifierConfig
from hyperconformer.text import ModelType
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.run_settings import SMALLEST, RunSettings


@dataclass(frozen=True)
class ClassificationSettings(RunSettings):
    """Every decision of a text classifier's training; the names are the YAML's keys.

    Attributes
    ----------
    task : {"classify"}
    corpus : str
        A key of :data:`hyperconformer.data.text_corpora.CORPORA`.
    data_folder : str or None
        Where it lies; the made tasks have none, and those of the Hugging Face hub need none.
    train_texts, dev_texts, test_texts : list of str
        Of corpus ``files``: tables to learn from, to validate by, and to test each by itself.
    text_column, second_column, label_column : str
        Likewise; an empty ``second_column`` means single texts.
    task_texts : int
        Training texts of a made task.
    train_share : float
        How much of the training texts is learnt from, the same share of every class.
    token_type : str
        Kind of SentencePiece model, trained on these texts.
    max_batch_tokens : int
        Padded tokens of a batch, of all processes together.
    max_text_tokens : int
        A longer text is cut.
    label_smoothing : float
        Of the loss.
    model : ClassifierConfig
        The keys that decide the weights.

    Examples
    --------
    >>> ClassificationSettings.__annotations__["task"]
    typing.Literal['classify']
    """

    task: Literal["classify"]
    corpus: str
    data_folder: str | None
    train_texts: list[str]
    dev_texts: list[str]
    test_texts: list[str]
    text_column: str
    second_column: str
    label_column: str
    task_texts: int
    train_share: float
    token_type: ModelType
    max_batch_tokens: int
    max_text_tokens: int
    label_smoothing: float
    model: ClassifierConfig

    def __post_init__(self) -> None:
        """Refuse what would fail only later."""
        super().__post_init__()
        if self.corpus not in CORPORA:
            raise ValueError(f"corpus {self.corpus!r:.40} is not one of {', '.join(CORPORA)}")

    @classmethod
    def ranges(cls) -> dict[str, tuple[float, float]]:
        """Least and greatest legal value of each number."""
        return super().ranges() | {
            "task_texts": (1, math.inf),
            "train_share": (SMALLEST, 1),
            "max_batch_tokens": (1, math.inf),
            "max_text_tokens": (1, MOST_TEXT_TOKENS),
            "label_smoothing": (0, 1),
        }

    @property
    def source(self) -> TextSource:
        """What the texts are read from."""
        return TextSource(**{f.name: getattr(self, f.name) for f in fields(TextSource)})

    def plain(self) -> dict[str, Any]:
        """Every key of the recipe with its value, as a YAML file would have them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        return {**own, "adam_betas": list(self.adam_betas), **self.model.to_dict()}


def classification_settings(hparams_file: str, overrides: Mapping[str, Any]) -> ClassificationSettings:
    """Read a text classification recipe.

    Parameters
    ----------
    hparams_file : str
        As :func:`hyperconformer.training.recipe.read_recipe` takes it.
    overrides : mapping
        Values that replace the file's.

    Returns
    -------
    ClassificationSettings

    Raises
    ------
    InputError
        If the file cannot be read, or a key is unknown, missing or of the wrong type.

    Examples
    --------
    >>> classification_settings("hparams/text.yaml", {"corpus": "letters"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: recipe 'hparams/text.yaml': corpus 'letters' is not one of ...
    """
    return build_settings(ClassificationSettings, read_recipe(hparams_file, overrides), hparams_file)
