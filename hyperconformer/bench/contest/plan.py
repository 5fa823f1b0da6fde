"""The trainings of a contest: every system by every seed, all as large, on the same data."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

from hyperconformer.bench.contest.entries import Entry, Part
from hyperconformer.bench.contest.joined import ENOUGH
from hyperconformer.bench.contest.sizes import entry_config, equal_config
from hyperconformer.bench.contest.task import LENGTHS
from hyperconformer.bench.trainings.arguments import check_undecided
from hyperconformer.bench.trainings.planned import Planned
from hyperconformer.bench.trainings.runs import Run
from hyperconformer.bench.trainings.sizes import Unequal
from hyperconformer.errors import InputError
from hyperconformer.training.corpus import Splits, prepare_splits
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.settings import Settings

# The system decides, or the bench.
NOT_GIVEN = ("mixer", "mixer_options", "d_ffn", "seed", "name", "output_folder")


def data_key(splits: Splits) -> str:
    """Sum up all utterances, their lengths and their words, split by split.

    Parameters
    ----------
    splits : Splits

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.types import Utterance
    >>> spoken = [Splits([Utterance("a", 1.0, "a.wav", "1", words)], [], {}) for words in ("A", "B")]
    >>> data_key(spoken[0]) == data_key(spoken[1])
    False
    """
    digest = hashlib.sha256()
    named = {"train": splits.train, "valid": splits.valid}
    named |= {f"test {name}": utterances for name, utterances in splits.tests.items()}
    for name, utterances in named.items():
        digest.update(json.dumps([name, len(utterances)]).encode())
        for one in utterances:
            # Where the audio lies says nothing about what is heard.
            digest.update(json.dumps(astuple(replace(one, path=""))).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Ground:
    """A part's recipe whose data has been looked at.

    Attributes
    ----------
    part : str
    recipe : str
        YAML file.
    overrides, values : mapping
        Values for its keys, and of all its keys.
    settings : Settings
        Made of these.
    data : str
        A sum over the whole corpus.

    Examples
    --------
    >>> list(Ground.__annotations__)
    ['part', 'recipe', 'overrides', 'values', 'settings', 'data']
    """

    part: str
    recipe: str
    overrides: Mapping[str, Any]
    values: Mapping[str, Any]
    settings: Settings
    data: str


def look_at(
    name: str, part: Part, data_folder: str | None, further: Mapping[str, Any], *, progress: bool = False
) -> Ground:
    """Read a recipe and its data, so that what is wrong with them is said before anything is trained.

    Parameters
    ----------
    name : str
        Of the part.
    part : Part
    data_folder : str or None
        Of all parts.
    further : mapping
        Values for the recipe's keys.
    progress : bool
        Show bars.

    Returns
    -------
    Ground

    Raises
    ------
    InputError
        If it cannot be trained, or a value is the bench's to decide.

    Examples
    --------
    >>> look_at("mini", Part("hparams/mini.yaml"), None, {"mixer": "fourier"})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixer is not for bench contest: it takes --systems, --seeds and ...
    """
    check_undecided("contest", further, NOT_GIVEN, "--systems, --seeds and --output")
    overrides = {**part.data(data_folder), **further}
    values = read_recipe(part.recipe, overrides)
    settings = build_settings(Settings, values, part.recipe)
    if settings.task != "asr":
        raise InputError(f"{part.recipe!r} is no speech recipe: a contest is of recognisers")
    with TemporaryDirectory() as folder:
        splits = prepare_splits(replace(settings, output_folder=folder), part.recipe, progress=progress)
    return Ground(name, part.recipe, overrides, values, settings, data_key(splits))


@dataclass(frozen=True)
class Planner:
    """Makes the trainings of every part.

    Attributes
    ----------
    entries : sequence of Entry
    reference : Entry
        What all are as large as, whether it is among them or not.
    seeds : sequence of int
    device, precision : str

    Examples
    --------
    >>> values = read_recipe("hparams/mini.yaml", {})
    >>> settings = build_settings(Settings, values, "mini")
    >>> ground = Ground("mini", "hparams/mini.yaml", {}, values, settings, "")
    >>> entries = [Entry("ours", {}), Entry("none", {"mixer": "identity"})]
    >>> planner = Planner(entries, entries[0], [1, 2], "cpu", "fp32")
    >>> [(one.system, one.number, one.run.decided["d_ffn"]) for one in planner.runs(ground)]
    [('ours', 1, 384), ('none', 1, 456), ('ours', 2, 384), ('none', 2, 456)]
    """

    entries: Sequence[Entry]
    reference: Entry
    seeds: Sequence[int]
    device: str
    precision: str

    def runs(self, ground: Ground) -> list[Planned]:
        """Every system by every seed, seed after seed."""
        return [self._planned(ground, entry, seed) for seed in self.seeds for entry in self.entries]

    def _planned(self, ground: Ground, entry: Entry, seed: int) -> Planned:
        unfit = ""
        try:
            config = equal_config(ground.settings.model, entry, self.reference)
        except Unequal as error:
            config, unfit = entry_config(ground.settings.model, entry), str(error)
        # The mixer's options, which its class completes, and the width that makes systems equal.
        of_model = {"mixer_options": dict(config.mixer_options), "d_ffn": config.d_ffn}
        overrides = {**ground.overrides, **entry.keys, **of_model, "seed": seed}
        values = {**ground.values, **overrides}
        decided = build_settings(Settings, values, f"{ground.recipe} of {entry.name}").plain()
        further = {"modules": entry.modules, "lengths": list(LENGTHS), "enough": ENOUGH}
        name = f"{ground.part}, {entry.name}, seed {seed}"
        run = Run(
            name,
            ground.recipe,
            overrides,
            self.device,
            self.precision,
            decided,
            ground.data,
            further,
        )
        return Planned(entry.name, ground.part, seed, run, unfit)
