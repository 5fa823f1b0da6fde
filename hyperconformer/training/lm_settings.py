"""What a language model's recipe decides: one checked object."""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal

from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.text import ModelType
from hyperconformer.training.run_settings import RunSettings


@dataclass(frozen=True)
class LanguageModelSettings(RunSettings):
    """Every decision of a language model's training; the names are the YAML's keys.

    Attributes
    ----------
    task : {"lm"}
    text : list of str
        Files to learn from: ``.txt`` and ``.txt.gz`` (a sentence a line), ``.trans.txt``, ``.csv`` manifests.
    dev_text : list of str
        To validate by; without any, a fiftieth of the different sentences is held out.
    test_text : list of str
        Each is tested by itself.
    tokenizer : str or None
        A ``.model`` file, for instance of the recogniser that the model is for; None trains one on the text.
    token_type : str
        Kind of SentencePiece model.
    tokenizer_sentences : int
        Most sentences to train it on, spread evenly over the text.
    max_batch_tokens : int
        Padded tokens of a batch, of all processes together.
    max_sentence_tokens : int
        Longer training sentences are left out.
    label_smoothing : float
        Of the loss.
    model : LanguageModelConfig
        The keys that decide the weights.

    Examples
    --------
    >>> LanguageModelSettings.__annotations__["task"]
    typing.Literal['lm']
    """

    task: Literal["lm"]
    text: list[str]
    dev_text: list[str]
    test_text: list[str]
    tokenizer: str | None
    token_type: ModelType
    tokenizer_sentences: int
    max_batch_tokens: int
    max_sentence_tokens: int
    label_smoothing: float
    model: LanguageModelConfig

    @classmethod
    def ranges(cls) -> dict[str, tuple[float, float]]:
        """Least and greatest legal value of each number."""
        return super().ranges() | {
            "tokenizer_sentences": (1, math.inf),
            "max_batch_tokens": (1, math.inf),
            "max_sentence_tokens": (1, math.inf),
            "label_smoothing": (0, 1),
        }

    def plain(self) -> dict[str, Any]:
        """Every key of the recipe with its value, as a YAML file would have them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "model"}
        return {**own, "adam_betas": list(self.adam_betas), **self.model.to_dict()}
