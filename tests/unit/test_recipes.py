"""Every recipe file says only what is read, only what differs, and how large its model is."""

import dataclasses
import re
import typing
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from hyperconformer.data.text_corpora import CORPORA
from hyperconformer.data.text_tasks import TASKS
from hyperconformer.models.asr import ASR
from hyperconformer.training.lm_settings import LanguageModelSettings
from hyperconformer.training.settings import Settings, load_settings
from hyperconformer.training.text_settings import ClassificationSettings, classification_settings

ROOT = Path(__file__).parents[2]
INCLUDE = "!include:"


def keys_of(settings: Any) -> set[str]:
    """Keys that a settings class reads, those of its sections included."""
    hints = typing.get_type_hints(settings)
    sections = [hint for hint in hints.values() if dataclasses.is_dataclass(hint)]
    own = {name for name, hint in hints.items() if hint not in sections}
    return own.union(*(keys_of(section) for section in sections))


# What reads a recipe, by its task.
READERS: dict[str, Any] = {
    "asr": Settings,
    "lm": LanguageModelSettings,
    "classify": ClassificationSettings,
}
LEGAL = {task: keys_of(reader) for task, reader in READERS.items()}


def folder_of(path: Path) -> str:
    """The folder of recipes that a file is in, or shares something with."""
    folder = path.parent.parent if path.parent.name == "base" else path.parent
    return folder.relative_to(ROOT).as_posix() if folder.is_relative_to(ROOT) else "hparams"


HPARAMS = sorted([*(ROOT / "hparams").rglob("*.yaml"), *(ROOT / "recipes").glob("**/hparams/**/*.yaml")])
RECIPES = [path for path in HPARAMS if "base" not in (path.parent.name, path.stem)]

# The equal Conformer of a HyperConformer, within 1 % of its parameters.
PAIRS = [("hyperconformer", "conformer"), ("hyperconformer_22M", "conformer_22M")]
PAIRS += [("hyperconformer_100h", "conformer_100h")]


class Include:
    """An include of a YAML file: what it names, and what it overrides there."""

    def __init__(self, node: Node, path: Path) -> None:
        self.path = path.parent / str(node.tag)[len(INCLUDE) :]
        pairs = node.value if isinstance(node, MappingNode) else []
        self.overrides = {key.value: plain(value, path) for key, value in pairs}


def plain(node: Node, path: Path) -> Any:
    """A YAML node as Python values, without running any tag; includes stay includes."""
    if str(node.tag).startswith(INCLUDE):
        return Include(node, path)
    if isinstance(node, MappingNode):
        return {key.value: plain(value, path) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [plain(item, path) for item in node.value]
    # What stands in quotes is text.
    return node.value if node.style else YAML(typ="safe").load(node.value)


def read(path: Path) -> tuple[list[Include], dict[str, Any]]:
    """The includes of a file under ``base``, and its other keys."""
    keys = plain(YAML().compose(path), path)
    bases = keys.pop("base", [])
    return (bases if isinstance(bases, list) else [bases]), keys


def inherited(path: Path) -> dict[str, Any]:
    """What a file has before its own keys: those of its includes, with their overrides."""
    keys: dict[str, Any] = {}
    for include in read(path)[0]:
        keys |= whole(include.path) | include.overrides
    return keys


def whole(path: Path) -> dict[str, Any]:
    """All keys of a file."""
    return inherited(path) | read(path)[1]


def task_of(path: Path) -> str:
    """What a file is for; parts of a recipe that do not say are for speech."""
    return str(whole(path).get("task", "asr"))


SPEECH = [path for path in RECIPES if task_of(path) == "asr"]
TEXT = [path for path in RECIPES if task_of(path) == "classify"]


def common(some: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Keys that have the same value in both."""
    return [key for key, value in some.items() if key in others and others[key] == value]


def unused_keys(path: Path) -> list[str]:
    """Keys that no setting reads, of the file and of its overrides of others."""
    includes, own = read(path)
    named = [*own, *(key for include in includes for key in include.overrides)]
    return [f"{path.name}: nothing reads {key!r}" for key in named if key not in LEGAL[task_of(path)]]


def missing_keys(path: Path) -> list[str]:
    """Settings that a whole recipe does not decide."""
    return [f"{path.name}: no {key!r}" for key in sorted(LEGAL[task_of(path)] - whole(path).keys())]


def misspelt_overrides(path: Path) -> list[str]:
    """Overrides of an include that the included file has no key for: HyperPyYAML takes them in silence."""
    return [
        f"{path.name}: {include.path.name} has no {key!r} to override"
        for include in read(path)[0]
        for key in include.overrides
        if key not in whole(include.path)
    ]


def repeated_lines(path: Path) -> list[str]:
    """Keys that say what the includes already said."""
    includes, own = read(path)
    faults = [f"{path.name}: {key} is the same without that line" for key in common(own, inherited(path))]
    for include in includes:
        repeated = common(include.overrides, whole(include.path))
        faults += [f"{path.name}: {key} is so in {include.path.name}" for key in repeated]
    return faults


def agreements(paths: list[Path]) -> list[str]:
    """Lines that two files share: they belong in a file that both include."""
    return [
        f"{one.name} and {other.name} agree on {key}"
        for one, other in combinations(paths, 2)
        if folder_of(one) == folder_of(other)
        for key in common(read(one)[1], read(other)[1])
    ]


def size(path: Path) -> int:
    """Parameters of a recipe's model."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in ASR(load_settings(str(path), {}).model).parameters())


def test_there_are_recipes_and_each_has_a_reader() -> None:
    assert {task_of(path) for path in HPARAMS} == set(READERS)
    assert {"hyperconformer.yaml", "mini.yaml"} <= {path.name for path in RECIPES}
    assert {"asr.yaml", "small.yaml"} <= {path.name for path in HPARAMS if path not in RECIPES}


@pytest.mark.parametrize("path", HPARAMS, ids=lambda path: path.stem)
def test_a_file_says_nothing_that_is_not_read_or_was_said_before(path: Path) -> None:
    assert unused_keys(path) + misspelt_overrides(path) + repeated_lines(path) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_whole(path: Path) -> None:
    assert missing_keys(path) == []


@pytest.mark.parametrize("path", SPEECH, ids=lambda path: path.stem)
def test_a_recipe_is_named_like_its_file_and_states_its_size(path: Path) -> None:
    settings = load_settings(str(path), {})
    assert settings.name == path.stem
    stated = re.findall(r"([\d,]+) parameters", path.read_text("utf-8"))
    assert stated == [f"{size(path):,}"]


@pytest.mark.parametrize("path", TEXT, ids=lambda path: path.stem)
def test_a_recipe_of_texts_is_named_like_its_file_and_its_corpus(path: Path) -> None:
    settings = classification_settings(str(path), {})
    assert settings.name == path.stem and settings.corpus == ("match" if path.stem == "text" else path.stem)
    assert settings.output_folder == f"results/{settings.name}/{settings.seed}"
    assert settings.corpus not in TASKS or settings.model.num_classes == TASKS[settings.corpus].classes


def test_every_corpus_of_texts_has_a_recipe() -> None:
    assert set(CORPORA) == {path.stem for path in TEXT} - {"text"}


def test_what_two_recipes_share_stands_in_one_place() -> None:
    assert agreements(RECIPES) == []


@pytest.mark.parametrize(("ours", "equal"), PAIRS)
def test_the_equal_conformer_differs_in_the_mixer_alone(ours: str, equal: str) -> None:
    paths = [ROOT / "hparams" / f"{name}.yaml" for name in (ours, equal)]
    assert size(paths[1]) == pytest.approx(size(paths[0]), rel=0.01)
    values = [load_settings(str(path), {}).plain() for path in paths]
    different = {key for key, value in values[0].items() if values[1][key] != value}
    assert different == {"name", "output_folder", "mixer", "mixer_options", "d_ffn"}


def test_the_systems_are_of_the_size_that_they_are_called_by() -> None:
    sizes = {path.stem: size(path) for path in SPEECH}
    assert sizes["hyperconformer"] == sizes["hyperconformer_paper"] == 7_924_832
    assert sizes["hyperconformer_22M"] == 21_702_064
    assert sizes["hyperconformer_modern"] == pytest.approx(7_924_832, rel=0.01)


@pytest.fixture
def planted(tmp_path: Path):
    """Write files beside a copy of the base, and check one of them."""
    (tmp_path / "base.yaml").write_text("seed: 1\nd_model: 64\nspeeds: [95, 105]\n", encoding="utf-8")

    def write(text: str, name: str = "variant.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("check", "text", "fault"),
    [
        (unused_keys, "base: !include:base.yaml\nd_modle: 3\n", "nothing reads 'd_modle'"),
        (unused_keys, "base: !include:base.yaml\n  d_modle: 3\n", "nothing reads 'd_modle'"),
        (unused_keys, "extra: !include:base.yaml\n", "nothing reads 'extra'"),
        (misspelt_overrides, "base: !include:base.yaml\n  d_modle: 3\n", "base.yaml has no 'd_modle'"),
        (misspelt_overrides, "base: !include:base.yaml\n  nhead: 3\n", "base.yaml has no 'nhead'"),
        (misspelt_overrides, "base:\n  - !include:base.yaml\n    sed: 3\n", "base.yaml has no 'sed'"),
        (repeated_lines, "base: !include:base.yaml\nd_model: 64\n", "d_model is the same without"),
        (repeated_lines, "base: !include:base.yaml\nspeeds:\n  - 95\n  - 105\n", "speeds is the same"),
        (repeated_lines, "base: !include:base.yaml\n  seed: 1\n", "seed is so in base.yaml"),
        (repeated_lines, "base:\n  - !include:base.yaml\nseed: 1\n", "seed is the same without"),
    ],
)
def test_the_checks_find_a_planted_mistake(planted, check, text: str, fault: str) -> None:
    (found,) = check(planted(text))
    assert fault in found


@pytest.mark.parametrize("check", [unused_keys, misspelt_overrides, repeated_lines])
@pytest.mark.parametrize(
    "text",
    [
        "base: !include:base.yaml\nd_model: 65\nspeeds: [95]\n",
        "base: !include:base.yaml\n  d_model: 65\n",
        "base:\n  - !include:base.yaml\nname: '64'\nseed: 2\n",
    ],
)
def test_the_checks_let_a_right_variant_pass(planted, check, text: str) -> None:
    assert check(planted(text)) == []


def test_a_missing_key_and_a_shared_line_are_found(planted) -> None:
    one = planted("base: !include:base.yaml\nname: a\nlr: 0.1\n", "one.yaml")
    other = planted("name: b\nlr: 1.0e-1\n", "other.yaml")
    assert "one.yaml: no 'nhead'" in missing_keys(one) and "one.yaml: no 'seed'" not in missing_keys(one)
    assert agreements([one, other]) == ["one.yaml and other.yaml agree on lr"]


def test_of_several_bases_the_last_one_wins(planted) -> None:
    planted("d_model: 32\nnhead: 2\n", "other.yaml")
    path = planted("base:\n  - !include:base.yaml\n  - !include:other.yaml\nnhead: 4\n")
    assert whole(path) == {"seed": 1, "d_model": 32, "nhead": 4, "speeds": [95, 105]}
