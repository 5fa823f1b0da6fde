"""What a bundle is, in a few lines, once all of it has been checked."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.bundle_check import (
    CLASSIFIER_FORMAT,
    FORMAT,
    KINDS,
    LANGUAGE_MODEL_FORMAT,
    ONNX_FORMAT,
    file_sum,
    read_config,
)
from hyperconformer.inference.bundle_files import (
    CARD,
    CONFIG,
    FILES,
    METRICS,
    ONNX_ENCODER,
    TOKENIZER,
    check_files,
    printable,
    read_json,
    unusable,
)
from hyperconformer.inference.classifier_bundle import load_classifier
from hyperconformer.inference.language_model_bundle import load_language_model
from hyperconformer.inference.onnx_files import FILES as ONNX_FILES
from hyperconformer.models.asr import ASR
from hyperconformer.models.classifier import Classifier
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.initialise import without_weights
from hyperconformer.text import Tokenizer

AnyModel = ASR | LanguageModel | Classifier
Loaded = tuple[AnyModel, Tokenizer]
LOADERS: dict[str, Callable[[Path], Loaded]] = {
    FORMAT: load_bundle,
    LANGUAGE_MODEL_FORMAT: load_language_model,
    CLASSIFIER_FORMAT: lambda folder: load_classifier(folder)[:2],
}
LONGEST_NAME = 80
_NO_RESULT = 1e12


@dataclass(frozen=True)
class Summary:
    r"""What a bundle is.

    Attributes
    ----------
    folder : str
    kind : str
    settings : mapping
        Of the model.
    parameters, tokens : int
    files : mapping of str to mapping
        Of each that is read, its ``bytes`` and ``sha256``.
    results : mapping of str to mapping of str to float
        By split (or text) and search: WER in percent; of a language model perplexity per word, of a text
        classifier accuracy in percent.
    not_read : tuple of str
        What else lies in the folder.

    Examples
    --------
    >>> found = Summary("model", "a recogniser", {"mixer": "attention", "output_neurons": 30}, 1500, 28, {},
    ...                 {"test": {"greedy": 2.5}}, ("notes.txt",))
    >>> print("\n".join(found.lines()))
    model 'model': a recogniser, attention
    1,500 parameters, 28 tokens (30 output neurons), 0.0 MB
    test: greedy 2.50
    not read: notes.txt
    """

    folder: str
    kind: str
    settings: Mapping[str, Any]
    parameters: int
    tokens: int
    files: Mapping[str, Mapping[str, Any]]
    results: Mapping[str, Mapping[str, float]]
    not_read: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Say it."""
        mixer = f", {self.settings['mixer']}" if "mixer" in self.settings else ""
        yield f"model '{self.folder}': {self.kind}{mixer}"
        megabytes = sum(file["bytes"] for file in self.files.values()) / 1e6
        neurons = self.settings["output_neurons"]
        classes = f"{self.settings['num_classes']} classes, " if "num_classes" in self.settings else ""
        yield (
            f"{self.parameters:,} parameters, {self.tokens} tokens ({neurons} output neurons), {classes}"
            f"{megabytes:.1f} MB"
        )
        for split, row in self.results.items():
            yield f"{split}: " + ", ".join(f"{name} {value:.2f}" for name, value in row.items())
        for name, file in self.files.items():
            yield f"{file['sha256']}  {name}"
        if self.not_read:
            yield f"not read: {', '.join(self.not_read)}"


def summarise(folder: Path) -> Summary:
    """Open a bundle, with every check, and say what it is.

    Parameters
    ----------
    folder : Path
        Of a recogniser, a language model or a text classifier.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If it cannot be used.

    Examples
    --------
    >>> summarise(Path("no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    if (folder / ONNX_ENCODER).is_file():
        return _of_onnx(folder)
    sizes = check_files(folder)
    config = read_config(folder)
    if config["format"] not in LOADERS:
        legal = " or ".join(LOADERS)
        raise unusable(folder, CONFIG, f"its format is {config['format']!r:.40}, here {legal} is read")
    model, tokenizer = LOADERS[config["format"]](folder)
    return _summary(folder, KINDS[config["format"]], model, tokenizer, sizes, FILES)


def _of_onnx(folder: Path) -> Summary:
    from hyperconformer.inference.onnx_backend import OnnxRecogniser  # an extra

    recogniser = OnnxRecogniser.load(folder, threads=1)
    # Only then is its file opened.
    _ = recogniser.decoder
    with without_weights():
        model = ASR(recogniser.config)
    known = (CONFIG, *ONNX_FILES, TOKENIZER, METRICS, CARD)
    sizes = {name: (folder / name).stat().st_size for name in known if (folder / name).is_file()}
    kind = KINDS[ONNX_FORMAT] + (" with weights in eight bits" if recogniser.int8 else "")
    return _summary(folder, kind, model, recogniser.tokenizer, sizes, known)


def _summary(
    folder: Path,
    kind: str,
    model: AnyModel,
    tokenizer: Tokenizer,
    sizes: Mapping[str, int],
    known: Collection[str],
) -> Summary:
    others = sorted(path.name for path in folder.iterdir() if path.name not in known)
    return Summary(
        str(folder),
        kind,
        model.config.to_dict(),
        sum(parameter.numel() for parameter in model.parameters()),
        tokenizer.size,
        {name: {"bytes": size, "sha256": file_sum(folder / name)} for name, size in sizes.items()},
        results_of(read_json(folder / METRICS)) if METRICS in sizes else {},
        tuple(printable(name)[:LONGEST_NAME] for name in others),
    )


def results_of(metrics: Any) -> dict[str, dict[str, float]]:
    """Take the headline from what ``metrics.json`` holds, which may be somebody else's.

    Parameters
    ----------
    metrics : object

    Returns
    -------
    dict of str to dict of str to float
        Empty where there is none.

    Examples
    --------
    >>> results_of({"splits": {"test": {"greedy": {"wer": 2.5}, "joint": {"wer": "low"}}}})
    {'test': {'greedy': 2.5}}
    >>> results_of({"texts": {"valid": {"perplexity_word": 80}}}), results_of([])
    ({'valid': {'perplexity per word': 80.0}}, {})
    """
    if not isinstance(metrics, Mapping):
        return {}
    found = {}
    for split, row in _items(metrics.get("splits")):
        found[split] = dict(_numbers((name, of, "wer") for name, of in _items(row)))
    for text, row in _items(metrics.get("texts")):
        said = (("perplexity per word", "perplexity_word"), ("accuracy", "accuracy"))
        found[text] = dict(_numbers((name, row, key) for name, key in said))
    return {split: row for split, row in found.items() if row}


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, row in value.items():
            yield printable(name)[:LONGEST_NAME], row


def _numbers(rows: Any) -> Iterator[tuple[str, float]]:
    for name, row, key in rows:
        value = row.get(key) if isinstance(row, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _NO_RESULT:
            yield name, float(value)
