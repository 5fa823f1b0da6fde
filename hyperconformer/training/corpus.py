"""The data of a run: where it is, what is left out of it, and the tokens made from its words."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.data.archives import ARCHIVES
from hyperconformer.data.augment import sped_up_samples
from hyperconformer.data.hold_out import hold_out
from hyperconformer.data.librispeech import existing_folder, prepare_librispeech
from hyperconformer.data.manifest import read_manifest, write_manifest
from hyperconformer.data.mini import prepare_mini
from hyperconformer.errors import InputError
from hyperconformer.features import frames_of
from hyperconformer.nn.subsampling import subsampled
from hyperconformer.text import Tokenizer, train_tokenizer
from hyperconformer.training import distributed
from hyperconformer.training.objectives import ctc_frames_needed
from hyperconformer.training.settings import Settings
from hyperconformer.types import Utterance

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """The utterances of a run.

    Attributes
    ----------
    train, valid : list of Utterance
    tests : dict of str to list of Utterance
        By split.

    Examples
    --------
    >>> print(Splits([Utterance("a", 3600.0, "a.flac", "1", "A")], [], {"test-clean": []}))
    train: 1 utterances, 1.00 h, 1 speakers
    valid: 0 utterances, 0.00 h, 0 speakers
    test-clean: 0 utterances, 0.00 h, 0 speakers
    """

    train: list[Utterance]
    valid: list[Utterance]
    tests: dict[str, list[Utterance]]

    def __str__(self) -> str:
        """A line a split: utterances, hours, speakers."""
        lines = []
        for name, utterances in {"train": self.train, "valid": self.valid, **self.tests}.items():
            hours = sum(utterance.seconds for utterance in utterances) / 3600
            speakers = len({utterance.speaker for utterance in utterances})
            lines.append(f"{name}: {len(utterances)} utterances, {hours:.2f} h, {speakers} speakers")
        return "\n".join(lines)

    def shortest(self, count: int) -> "Splits":
        """Keep a few short utterances of each, to see a run go through."""

        def few(utterances: list[Utterance]) -> list[Utterance]:
            return sorted(utterances, key=lambda u: u.seconds)[:count]

        tests = {split: few(utterances) for split, utterances in self.tests.items()}
        return Splits(few(self.train), few(self.valid), tests)


def ways_to_data(hparams_file: str, splits: Sequence[str]) -> str:
    """Say how to come by the data of a recipe, in commands to paste.

    Parameters
    ----------
    hparams_file : str
        The recipe.
    splits : sequence of str
        What it needs.

    Returns
    -------
    str

    Examples
    --------
    >>> print(ways_to_data("x.yaml", ["dev-clean", "test-clean"]))
    Ways to go on:
      a copy you have:  python train.py x.yaml --data_folder=/path/to/data
      download it:      hyperconformer prepare librispeech --data_folder data/LibriSpeech --download \
--splits dev-clean test-clean && python train.py x.yaml --data_folder=data/LibriSpeech
      needs no data:    python train.py hparams/mini.yaml
    """
    train = f"python train.py {hparams_file} --data_folder"
    ways = [f"  a copy you have:  {train}=/path/to/data"]
    if set(splits) <= set(ARCHIVES):
        fetch = "hyperconformer prepare librispeech --data_folder data/LibriSpeech --download --splits"
        ways.append(f"  download it:      {fetch} {' '.join(splits)} && {train}=data/LibriSpeech")
    else:
        prepare = "hyperconformer prepare custom SOURCE --output data/mine --split NAME"
        ways.append(f"  other speech:     {prepare}, and {train}=data/mine --corpus=manifests")
    ways.append("  needs no data:    python train.py hparams/mini.yaml")
    return "\n".join(["Ways to go on:", *ways])


def prepare_splits(settings: Settings, hparams_file: str, *, progress: bool = True) -> Splits:
    """Find, or make, the corpus; write its manifests; hold out validation where there is no dev split.

    Parameters
    ----------
    settings : Settings
    hparams_file : str
        Named where the data is missing.
    progress : bool
        Show bars.

    Returns
    -------
    Splits

    Raises
    ------
    InputError
        If the corpus is not there or not whole.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> prepare_splits(load_settings("hparams/hyperconformer.yaml", {}), "hparams/hyperconformer.yaml")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder is not set: ... Ways to go on: ...
    """
    if not settings.train_splits or not settings.test_splits:
        raise InputError("train_splits and test_splits need a split each: see the folders in data_folder")
    names = [*settings.train_splits, *settings.dev_splits, *settings.test_splits]
    found = prepare_manifests(settings, hparams_file, names, progress=progress)
    train = [utterance for name in settings.train_splits for utterance in found[name]]
    valid = [utterance for name in settings.dev_splits for utterance in found[name]]
    if not settings.dev_splits:
        train, valid = hold_out(train)
    return Splits(train, valid, {name: found[name] for name in settings.test_splits})


def prepare_manifests(
    settings: Settings, hparams_file: str, names: Sequence[str], *, progress: bool = True
) -> dict[str, list[Utterance]]:
    """Find, or make, splits of the corpus, and write their manifests to the run's folder.

    Parameters
    ----------
    settings : Settings
    hparams_file : str
        Named where the data is missing.
    names : sequence of str
        The splits, each once.
    progress : bool
        Show bars.

    Returns
    -------
    dict of str to list of Utterance
        By split.

    Raises
    ------
    InputError
        If the corpus is not there or not whole.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> prepare_manifests(load_settings("hparams/hyperconformer.yaml", {}), "x.yaml", ["dev-clean"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder is not set: ... Ways to go on: ...
    """
    data_folder = None if settings.data_folder is None else Path(settings.data_folder)
    folder = settings.folder / "manifests"
    with distributed.main_first() as main:
        if main and settings.corpus == "mini" and data_folder is not None:
            prepare_mini(data_folder, progress=progress)
        try:
            data_folder = existing_folder(data_folder)
        except InputError as error:
            raise InputError(f"{error}. {ways_to_data(hparams_file, names)}") from error
        if main and settings.corpus == "manifests":
            copy_manifests(data_folder, names, folder)
        elif main:
            prepare_librispeech(data_folder, names, folder, progress=progress)
    return {name: read_manifest(folder / f"{name}.csv") for name in names}


def copy_manifests(data_folder: Path, splits: Sequence[str], manifest_folder: Path) -> dict[str, Path]:
    """Check prepared manifests and copy them to the run, with absolute paths.

    Parameters
    ----------
    data_folder : Path
        Holds ``<split>.csv``; audio paths in it that are not absolute begin there.
    splits : sequence of str
        Names of splits.
    manifest_folder : Path
        Where ``<split>.csv`` is written.

    Returns
    -------
    dict of str to Path
        The copy of each split's manifest.

    Raises
    ------
    InputError
        If a manifest is missing, faulty or empty, or names audio that is not there.

    Examples
    --------
    >>> copy_manifests(Path("/nowhere"), ["train"], Path("copies"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: manifest '/nowhere/train.csv' cannot be read ...
    """
    root = data_folder.absolute()
    found = {}
    for split in splits:
        manifest = data_folder / f"{split}.csv"
        rows = [replace(row, path=str(root / row.path)) for row in read_manifest(manifest)]
        if not rows:
            raise InputError(f"manifest {str(manifest)!r} has no utterances: prepare it again")
        if missing := [row for row in rows if not Path(row.path).is_file()]:
            raise InputError(
                f"manifest {str(manifest)!r} names {len(missing)} audio files of {len(rows)} that are gone, "
                f"e.g. {missing[0].path!r}: mount their disk, or prepare it again"
            )
        found[split] = rows
    for split, rows in found.items():
        write_manifest(manifest_folder / f"{split}.csv", rows)
    return {split: manifest_folder / f"{split}.csv" for split in found}


def make_tokenizer(settings: Settings, train: Sequence[Utterance]) -> Tokenizer:
    """Train the tokenizer on the training text, or take the one that this run's checkpoints know.

    Parameters
    ----------
    settings : Settings
    train : sequence of Utterance

    Returns
    -------
    Tokenizer

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> import tempfile
    >>> train = [Utterance("a", 1.0, "a.flac", "1", "ONE TWO"), Utterance("b", 1.0, "b.flac", "1", "TWO")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = load_settings("hparams/mini.yaml", {"output_folder": folder})
    ...     make_tokenizer(settings, train).size <= settings.model.output_neurons
    True
    """
    path = settings.folder / "save" / "tokenizer.model"
    width = settings.model.output_neurons
    with distributed.main_first() as main:
        if not main or (path.is_file() and any(path.parent.glob("CKPT*"))):
            tokenizer = Tokenizer.load(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            words = (utterance.words for utterance in train)
            tokenizer = train_tokenizer(words, path, output_neurons=width, model_type=settings.token_type)
    if tokenizer.size > width:
        raise InputError(
            f"tokenizer '{path}' has {tokenizer.size} pieces but output_neurons is {width}: delete it"
        )
    logger.info("Tokens: %d in the tokenizer, %d output neurons", tokenizer.size, width)
    return tokenizer


def trainable(train: Sequence[Utterance], tokenizer: Tokenizer, settings: Settings) -> list[Utterance]:
    """Leave out what cannot be learnt from, and say how much: too long, or too short for CTC at top speed.

    Parameters
    ----------
    train : sequence of Utterance
    tokenizer : Tokenizer
    settings : Settings

    Returns
    -------
    list of Utterance

    Raises
    ------
    InputError
        If nothing is left.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> import tempfile
    >>> train = [Utterance(f"{s} s", s, "a.flac", "1", "ONE TWO THREE") for s in (0.1, 3.0, 70.0)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = load_settings("hparams/mini.yaml", {"output_folder": folder})
    ...     [utterance.id for utterance in trainable(train, make_tokenizer(settings, train), settings)]
    ['3.0 s']
    """
    kept, long, short = [], [], []
    for utterance in train:
        if utterance.seconds > settings.max_utterance_length:
            long.append(utterance)
        elif _fewest_frames(utterance, settings) < ctc_frames_needed(tokenizer.encode(utterance.words)):
            short.append(utterance)
        else:
            kept.append(utterance)
    for reason, left_out in (
        (f"longer than max_utterance_length {settings.max_utterance_length:g} s", long),
        ("too short for CTC to emit all their tokens", short),
    ):
        if left_out:
            logger.warning("Left out %d utterances %s, e.g. %s", len(left_out), reason, left_out[0].id)
    if not kept:
        raise InputError(f"none of {len(train)} training utterances can be used: raise max_utterance_length")
    return kept


def _fewest_frames(utterance: Utterance, settings: Settings) -> int:
    """Encoder frames of an utterance at the highest speed."""
    samples = sped_up_samples(round(utterance.seconds * SAMPLE_RATE), max(settings.speeds))
    return subsampled(frames_of(samples))
