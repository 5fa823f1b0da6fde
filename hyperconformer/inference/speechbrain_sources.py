"""Where a SpeechBrain recipe left what makes a model, and what it said about it; nothing is ever run.

YAML is taken apart without building what it asks for: plain numbers and the names of tags are looked at.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hyperconformer.constants import BEGIN, BLANK, END, SAMPLE_RATE
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle_files import CONFIG, WEIGHTS

MODELS = ("model.ckpt", "asr.ckpt")
NORMALIZER, TOKENIZER, SETTINGS, META = "normalizer.ckpt", "tokenizer.ckpt", "hyperparams.yaml", "CKPT.yaml"
LANGUAGE_MODEL = "lm.ckpt"

# What every model here takes for granted; a recipe that says otherwise cannot be imported.
FIXED = {
    "sample_rate": SAMPLE_RATE,
    "win_length": 25,
    "hop_length": 10,
    "blank_index": BLANK,
    "bos_index": BEGIN,
    "eos_index": END,
}


@dataclass(frozen=True)
class Sources:
    """The files that make a model.

    Attributes
    ----------
    model, normalizer, tokenizer : Path
        Weights, statistics of the features, SentencePiece model.
    settings : Path or None
        ``hyperparams.yaml``, where there is one.
    scores : mapping of str to float
        What validation said of this checkpoint.
    language_model : Path or None
        Weights of the Transformer that the recipe decodes with, where they lie there.

    Examples
    --------
    >>> paths = [Path(name) for name in (MODELS[0], NORMALIZER, TOKENIZER)]
    >>> Sources(*paths, scores={"ACC": 0.9}).describe()
    'model.ckpt (ACC 0.9)'
    """

    model: Path
    normalizer: Path
    tokenizer: Path
    settings: Path | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    language_model: Path | None = None

    def describe(self) -> str:
        """Name the weights and their scores."""
        scores = ", ".join(f"{name} {value:g}" for name, value in self.scores.items())
        return f"{self.model} ({scores})" if scores else str(self.model)

    @property
    def checkpoint(self) -> str:
        """The weights' file and folder, without what lies above."""
        return "/".join(self.model.absolute().parts[-2:])


def find_sources(folder: Path) -> Sources:
    """Find a model's files in a folder that SpeechBrain wrote.

    Parameters
    ----------
    folder : Path
        A run's folder, its ``save`` folder, one checkpoint's folder, or a flat folder as on a model hub. Of
        several checkpoints the one with the highest ACC is taken, then lowest WER, lowest loss, newest; the
        average that the recipe's test saves has an ACC of 1.1, so it comes first.

    Returns
    -------
    Sources

    Raises
    ------
    InputError
        If a file is missing, or the model is one of ours already.

    Examples
    --------
    >>> find_sources(Path("no/such/run"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'no/such/run' is not a folder: give the output folder of a \
SpeechBrain recipe
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is not a folder: give the output folder of a SpeechBrain recipe")
    home = folder
    if not _weights(folder):
        _refuse_own(folder)
        home = _best_checkpoint(folder)
    weights = _weights(home)
    assert weights is not None
    # A checkpoint lies in <run>/save/CKPT+<time>; tokenizer and settings lie in the folders around it.
    whole = home.absolute()
    places = [home, *whole.parents[:2]] if whole.parent.name == "save" else [home]
    if not (home / NORMALIZER).is_file():
        raise InputError(f"'{home}' has no {NORMALIZER}: copy it there from the run's save/CKPT+... folder")
    settings, language_model = (
        next((place / name for place in places if (place / name).is_file()), None)
        for name in (SETTINGS, LANGUAGE_MODEL)
    )
    scores = {n: v for n, v in _numbers(home / META).items() if n in ("epoch", "ACC", "WER", "loss")}
    return Sources(weights, home / NORMALIZER, _find_tokenizer(places), settings, scores, language_model)


def _weights(folder: Path) -> Path | None:
    return next((folder / name for name in MODELS if (folder / name).is_file()), None)


def _refuse_own(folder: Path) -> None:
    """One who has a model of ours has nothing to import, in its folder or in that of its run."""
    for home in (folder, folder / "model"):
        if (home / CONFIG).is_file() and (home / WEIGHTS).is_file():
            raise InputError(
                f"'{home}' is a model folder already: give it to --model of transcribe as it is, or export it"
            )


def _best_checkpoint(folder: Path) -> Path:
    """Pick the checkpoint that the recipe's own test would pick."""
    found = [path.parent for start in (folder / "save", folder) for path in start.glob(f"CKPT*/{META}")]
    found = [path for path in found if _weights(path)]
    if not found:
        raise InputError(
            f"'{folder}' holds no {' or '.join(MODELS)} and no save/CKPT+... with one: give the output "
            "folder of a SpeechBrain recipe"
        )

    def rank(path: Path) -> tuple[float, ...]:
        meta = _numbers(path / META)
        worst = {"ACC": -math.inf, "WER": math.inf, "loss": math.inf, "unixtime": 0.0} | meta
        return worst["ACC"], -worst["WER"], -worst["loss"], worst["unixtime"]

    return max(found, key=rank)


def _find_tokenizer(places: list[Path]) -> Path:
    """The recipe collects a tokenizer.ckpt; one that it trained itself is called like 5000_unigram.model."""
    for place in places:
        if (place / TOKENIZER).is_file():
            return place / TOKENIZER
    for place in places:
        models = sorted(place.glob("*.model"))
        if len(models) > 1:
            raise InputError(
                f"'{place}' has {len(models)} tokenizers: copy the right one there as {TOKENIZER}"
            )
        if models:
            return models[0]
    raise InputError(f"'{places[-1]}' has no {TOKENIZER}: copy the recipe's SentencePiece model there")


def _fields(path: Path) -> dict[str, yaml.Node]:
    """Top level of a YAML file as nodes, which no tag has been asked to build; empty without the file."""
    if not path.is_file():
        return {}
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"'{path}' is not YAML ({type(error).__name__}): copy it again or remove it"
        ) from error
    return _children(root)


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _number(node: yaml.Node | None) -> float | None:
    """A plain number; YAML 1.1 takes 1e-3, without a point, for text."""
    if not isinstance(node, yaml.ScalarNode) or not node.tag.startswith("tag:yaml.org,2002:"):
        return None
    try:
        return float(node.value.replace("_", ""))
    except ValueError:
        return None


def _numbers(path: Path) -> dict[str, float]:
    numbers = {name: _number(node) for name, node in _fields(path).items()}
    return {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}


def _argument(fields: Mapping[str, yaml.Node], module: yaml.Node, name: str) -> tuple[str, str]:
    """Tag and text of a module's argument, or of the top-level key that it refers to."""
    node = _children(module).get(name)
    if isinstance(node, yaml.ScalarNode) and node.tag == "!ref":
        node = fields.get(node.value.strip("<>"))
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    return (node.tag, text) if node else ("", "")


def read_settings(path: Path | None) -> dict[str, float]:
    """Read the numbers of a ``hyperparams.yaml``, once nothing in it speaks against an import.

    Parameters
    ----------
    path : Path or None

    Returns
    -------
    dict of str to float
        Plain numbers at the top level; empty without a file.

    Raises
    ------
    InputError
        If the file is not YAML, or says what no model here can follow.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / SETTINGS
    ...     _ = path.write_text("{nhead: 8, Transformer: !new:os.system [rm]}")
    ...     read_settings(path)
    {'nhead': 8.0}
    """
    if path is None:
        return {}
    numbers, fields = _numbers(path), _fields(path)
    for name, wanted in FIXED.items():
        if numbers.get(name, wanted) != wanted:
            raise InputError(f"'{path}': {name} {numbers[name]:g} cannot be imported, only {wanted}")
    for name, node in fields.items():
        if not node.tag.endswith(".TransformerASR"):
            continue
        # What SpeechBrain takes where nothing is said: a causal encoder, and ReLU in the decoder.
        if _argument(fields, node, "causal")[1].lower() not in ("false", "no", "off"):
            raise InputError(f"'{path}': {name} cannot be imported without causal: False")
        if not _argument(fields, node, "activation")[0].endswith(".GELU"):
            raise InputError(f"'{path}': {name} cannot be imported without activation torch.nn.GELU")
        inner, _ = _argument(fields, node, "conformer_activation")
        if inner and not inner.endswith((".Swish", ".SiLU")):
            raise InputError(
                f"'{path}': {name} cannot be imported with conformer_activation {inner}, only Swish"
            )
    return numbers


def language_model_heads(path: Path | None) -> int | None:
    """Read the heads of the language model that a ``hyperparams.yaml`` names, if it can be imported.

    Parameters
    ----------
    path : Path or None

    Returns
    -------
    int or None
        None where nothing is said.

    Raises
    ------
    InputError
        If the file is not YAML, or says what no language model here can follow.

    Examples
    --------
    >>> path = getfixture("tmp_path") / SETTINGS
    >>> lm = "lm: !new:speechbrain.lobes.models.transformer.TransformerLM.TransformerLM"
    >>> _ = path.write_text(f"{lm} {{nhead: 12, activation: !name:torch.nn.GELU }}")
    >>> language_model_heads(path)
    12
    """
    fields = {} if path is None else _fields(path)
    for name, node in fields.items():
        if not node.tag.endswith(".TransformerLM"):
            continue
        # What SpeechBrain takes where nothing is said: norms behind the layers, and ReLU.
        if _argument(fields, node, "normalize_before")[1].lower() not in ("", "false", "no", "off"):
            raise InputError(f"'{path}': {name} cannot be imported with normalize_before: True")
        if not _argument(fields, node, "activation")[0].endswith(".GELU"):
            raise InputError(f"'{path}': {name} cannot be imported without activation torch.nn.GELU")
        heads = _argument(fields, node, "nhead")[1]
        if not heads:
            return None
        if not re.fullmatch("[0-9]{1,9}", heads):
            raise InputError(f"'{path}': nhead of {name} is {heads:.40} and no whole number: write it out")
        return int(heads)
    return None
