"""What computes: PyTorch from a model folder, or ONNX Runtime from an exported one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperconformer.decoding.confidence import UNCALIBRATED
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import make_search
from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.calibrating import load_calibrations
from hyperconformer.inference.encoding import PRECISIONS, encode, set_precision
from hyperconformer.inference.recogniser import Hear, Recogniser
from hyperconformer.inference.search_models import open_models
from hyperconformer.inference.trained import trained_options
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer

Opened = tuple[ASR, Tokenizer, Hear]


@dataclass(frozen=True)
class Choice:
    """How a model is to be used.

    Attributes
    ----------
    folder : str
        Model folder.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``.
    precision : {"fp32", "bf16", "fp16"}
        Of the encoder; fp16 needs a GPU.
    backend : str
        One of :data:`BACKENDS`.
    decode : str
        Search.
    options : dict
        Options of :class:`~hyperconformer.decoding.options.SearchOptions`; of the others rescoring and joint
        search begin with those that the model was tested with in its training.
    lm, ngram, hotwords : str or None
        Folder and files of what helps the search.
    calibration : str or None
        File of confidences' calibration.

    Examples
    --------
    >>> Choice("model", decode="joint", options={"beam_size": 0}).search_options()
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: beam_size must be at least 1, got 0
    """

    folder: str
    device: str = "cpu"
    precision: str = "fp32"
    backend: str = "torch"
    decode: str = "greedy"
    options: dict[str, Any] = field(default_factory=dict)
    lm: str | None = None
    ngram: str | None = None
    hotwords: str | None = None
    calibration: str | None = None

    def search_options(self) -> SearchOptions:
        """All options of the search."""
        try:
            trained = trained_options(Path(self.folder), self.decode, lm=self.lm is not None)
            return SearchOptions(**{**trained, **self.options})
        except (TypeError, ValueError) as error:
            raise InputError(str(error)) from error


def open_recogniser(choice: Choice) -> Recogniser:
    """Open a model.

    Parameters
    ----------
    choice : Choice

    Returns
    -------
    Recogniser

    Raises
    ------
    InputError
        If something cannot be used, or there is no such backend, precision or search.

    Examples
    --------
    >>> open_recogniser(Choice("no/such/model", backend="torch"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    for name, legal in (("backend", BACKENDS), ("precision", PRECISIONS)):
        if getattr(choice, name) not in legal:
            raise InputError(f"{name} must be one of {', '.join(legal)}, got {getattr(choice, name)!r}")
    asr, tokenizer, hear = BACKENDS[choice.backend](choice)
    helpers = {"lm": choice.lm, "ngram": choice.ngram, "hotwords": choice.hotwords}
    try:
        models = open_models(asr, tokenizer, **helpers)
        search = make_search(choice.decode, models, choice.search_options())
    except ValueError as error:
        raise InputError(str(error)) from error
    calibration = UNCALIBRATED
    if choice.calibration is not None:
        calibration = load_calibrations(Path(choice.calibration), [choice.decode])[choice.decode]
    return Recogniser(asr, hear, search, tokenizer, calibration)


def _torch(choice: Choice) -> Opened:
    if check_device(choice.device) == "cpu" and choice.precision == "fp16":
        raise InputError("fp16 needs a GPU: use bf16, or another device")
    model, tokenizer = load_bundle(Path(choice.folder), choice.device)
    set_precision(model, choice.precision)

    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        return encode(model, samples_bs.to(choice.device), lengths_b.to(choice.device))

    return model, tokenizer, hear


def _onnxruntime(choice: Choice) -> Opened:
    from hyperconformer.inference.onnx_backend import OnnxRecogniser

    for name, only in (("device", "cpu"), ("precision", "fp32")):
        if getattr(choice, name) != only:
            raise InputError(f"{name} {getattr(choice, name)} is PyTorch's: leave it out for onnxruntime")
    model = OnnxRecogniser.load(choice.folder, torch.get_num_threads())

    def hear(samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        memory_btd, _, frames_b = model.hear(samples_bs, lengths_b)
        return memory_btd, frames_b

    return model.as_asr(), model.tokenizer, hear


BACKENDS: dict[str, Callable[[Choice], Opened]] = {"torch": _torch, "onnxruntime": _onnxruntime}
