"""What a search may ask beside the recogniser: language models and hotwords, opened and checked."""

from pathlib import Path
from typing import Any

from torch import nn

from hyperconformer.decoding.hotwords import read_hotwords
from hyperconformer.decoding.searches import Models
from hyperconformer.errors import InputError
from hyperconformer.inference.language_model_bundle import load_partner
from hyperconformer.models.asr import ASR
from hyperconformer.ngram.files import load_ngram
from hyperconformer.nn.layout import lay_for_search
from hyperconformer.text import Tokenizer


def open_models(
    model: ASR,
    tokenizer: Tokenizer,
    *,
    lm: str | None = None,
    ngram: str | None = None,
    hotwords: str | None = None,
) -> Models:
    """Open what is named, and lay the decoder's weights and the language model's as a search reads them.

    Parameters
    ----------
    model : ASR
        The recogniser, which learns no more; the language model goes to its device.
    tokenizer : Tokenizer
        The recogniser's.
    lm : str or None
        Folder of a language model over the same tokens.
    ngram : str or None
        File of an n-gram model.
    hotwords : str or None
        File with a phrase a line.

    Returns
    -------
    Models

    Raises
    ------
    InputError
        If one cannot be used.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2))
    >>> open_models(model, None, lm="no/such/model")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --lm: model 'no/such/model' is not a folder: give the ...
    """
    given: dict[str, Any] = {}
    if lm is not None:
        try:
            partner = load_partner(Path(lm), tokenizer, model.ctc_head.weight.device)
            given["language_model"] = lay_for_search(partner)
        except InputError as error:
            raise InputError(f"--lm: {error}") from error
    if ngram is not None:
        given["ngram"] = load_ngram(Path(ngram))
    if hotwords is not None:
        given["hotwords"] = tuple(read_hotwords(Path(hotwords), tokenizer))
    if isinstance(model.decoder, nn.Module):  # of ONNX files the weights lie elsewhere
        lay_for_search(model.decoder)
    return Models(model, tokenizer=tokenizer, **given)
