"""What computes: PyTorch from a model folder, or ONNX Runtime from an exported one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hyperconformer.decoding.confidence import UNCALIBRATED, Calibration
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import make_search
from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.bundle_files import CALIBRATION, backend_of
from hyperconformer.inference.calibrating import load_calibrations
from hyperconformer.inference.encoding import PRECISIONS, encode, set_precision
from hyperconformer.inference.recogniser import Hear, Recogniser
from hyperconformer.inference.search_flags import DECODES, check_heeded, given_helpers
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
    backend : str or None
        One of :data:`BACKENDS`; None: what the folder was written for.
    decode : str
        Search.
    options : dict
        Options of :class:`~hyperconformer.decoding.options.SearchOptions`. Those that are not given are, in
        rescoring and joint search, what the model was tested with in its training.
    lm, ngram, hotwords : str or None
        Folder and files of what helps the search.
    calibration : str or None
        File of confidences' calibration; None: the one in the model folder, if it has one for this search.

    Examples
    --------
    >>> Choice("model", decode="joint", options={"beam_size": 0}).search_options()
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: beam_size must lie between 1 and 1000, got 0
    """

    folder: str
    device: str = "cpu"
    precision: str = "fp32"
    backend: str | None = None
    decode: str = "greedy"
    options: dict[str, Any] = field(default_factory=dict)
    lm: str | None = None
    ngram: str | None = None
    hotwords: str | None = None
    calibration: str | None = None

    @property
    def helpers(self) -> dict[str, str]:
        """What helps the search, of what was given."""
        return given_helpers(self)

    def calibrated(self) -> Calibration:
        """The calibration of the search's confidences."""
        if self.calibration is not None:
            return load_calibrations(Path(self.calibration), [self.decode])[self.decode]
        own = Path(self.folder) / CALIBRATION
        return load_calibrations(own).get(self.decode, UNCALIBRATED) if own.is_file() else UNCALIBRATED

    def search_options(self) -> SearchOptions:
        """All options of the search."""
        check_heeded([self.decode], (*self.options, *self.helpers))
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
    backend = choice.backend or backend_of(choice.folder)
    for name, given, legal in (
        ("backend", backend, BACKENDS),
        ("precision", choice.precision, PRECISIONS),
        ("decode", choice.decode, DECODES),
    ):
        if given not in legal:
            raise InputError(f"{name} must be one of {', '.join(legal)}, got {given!r}")
    asr, tokenizer, hear = BACKENDS[backend](choice)
    try:
        models = open_models(asr, tokenizer, **choice.helpers)
        search = make_search(choice.decode, models, choice.search_options())
    except ValueError as error:
        raise InputError(str(error)) from error
    return Recogniser(asr, hear, search, tokenizer, choice.calibrated())


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
