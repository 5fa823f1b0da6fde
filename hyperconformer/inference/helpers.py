"""What helps a search beside the recogniser: language models and hotwords, opened and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Search, make_search
from hyperconformer.errors import InputError
from hyperconformer.inference.language_model_bundle import load_language_model
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.ngram.files import load_ngram
from hyperconformer.ngram.model import NGram
from hyperconformer.text import Tokenizer


@dataclass(frozen=True)
class Helpers:
    """What a search may ask.

    Attributes
    ----------
    language_model : LanguageModel or None
        Over the recogniser's own tokens.
    ngram : NGram or None
        Over words.
    hotwords : tuple of str
        Phrases to expect.

    Examples
    --------
    >>> Helpers().hotwords
    ()
    """

    language_model: LanguageModel | None = None
    ngram: NGram | None = None
    hotwords: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        tokenizer: Tokenizer,
        *,
        lm: str | None = None,
        ngram: str | None = None,
        hotwords: str | None = None,
        device: str = "cpu",
    ) -> "Helpers":
        """Open what is named.

        Parameters
        ----------
        tokenizer : Tokenizer
            The recogniser's.
        lm : str or None
            Folder of a language model.
        ngram : str or None
            File of an n-gram model.
        hotwords : str or None
            File with a phrase a line.
        device : str
            Where the language model goes.

        Returns
        -------
        Helpers

        Raises
        ------
        InputError
            If one cannot be used, or the language model speaks other tokens.

        Examples
        --------
        >>> Helpers.load(None, lm="no/such/model")
        Traceback (most recent call last):
            ...
        hyperconformer.errors.InputError: --lm: model 'no/such/model' is not a folder: give the ...
        """
        return cls(
            None if lm is None else _language_model(Path(lm), tokenizer, device),
            None if ngram is None else load_ngram(Path(ngram)),
            () if hotwords is None else _hotwords(Path(hotwords), tokenizer),
        )

    def search(self, name: str, model: ASR, options: SearchOptions, tokenizer: Tokenizer) -> Search:
        """Make a search that asks them.

        Parameters
        ----------
        name : str
            Of :data:`~hyperconformer.decoding.searches.SEARCHES`.
        model : ASR
        options : SearchOptions
        tokenizer : Tokenizer

        Returns
        -------
        Search

        Examples
        --------
        >>> from hyperconformer.models.config import ModelConfig
        >>> import torch
        >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)).eval()
        >>> search = Helpers().search("greedy", model, SearchOptions(), None)
        >>> len(search(torch.zeros(2, 6, 8), torch.tensor([6, 4])))
        2
        """
        asked: dict[str, Any] = {"tokenizer": tokenizer, "language_model": self.language_model}
        return make_search(name, model, options, ngram=self.ngram, hotwords=self.hotwords, **asked)


def _language_model(folder: Path, tokenizer: Tokenizer, device: str) -> LanguageModel:
    try:
        model, own = load_language_model(folder, device)
    except InputError as error:
        raise InputError(f"--lm: {error}") from error
    if own.model_bytes != tokenizer.model_bytes:
        raise InputError(
            f"--lm: model '{folder}' has other tokens than the recogniser: train it with the recogniser's "
            "tokenizer.model (--tokenizer)"
        )
    return model


def _hotwords(path: Path, tokenizer: Tokenizer) -> tuple[str, ...]:
    from hyperconformer.decoding.hotwords import read_hotwords

    return tuple(read_hotwords(path, tokenizer))
