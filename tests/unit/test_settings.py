"""Recipes and command lines: what is right is read, what is wrong is named."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hyperconformer.errors import InputError
from hyperconformer.training.command import CommandLine
from hyperconformer.training.settings import load_settings

ROOT = Path(__file__).parents[2]
RECIPES = sorted(path for path in (ROOT / "hparams").glob("*.yaml") if path.stem != "text")
MINI = str(ROOT / "hparams" / "mini.yaml")


@pytest.fixture
def recipe(tmp_path: Path):
    """Write a variant of the base recipe."""

    def write(text: str) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(
            f"base: !include:{ROOT}/hparams/base/asr.yaml\n  name: test\n{text}", encoding="utf-8"
        )
        return str(path)

    return write


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_recipe_loads(path: Path) -> None:
    settings = load_settings(str(path), {})
    assert settings.output_folder == f"results/{settings.name}/{settings.seed}"
    assert settings.name == path.stem


def test_overrides_reach_the_base_and_what_refers_to_it() -> None:
    settings = load_settings(MINI, {"seed": 3, "d_model": 64, "time_warp": 0, "data_folder": "/a=b"})
    assert settings.output_folder == "results/mini/3"
    assert (settings.model.d_model, settings.augment.time_warp, settings.data_folder) == (64, 0, "/a=b")


def test_an_override_replaces_lists_and_mappings() -> None:
    settings = load_settings(MINI, {"dev_splits": [], "mixer_options": {"tied": True}})
    assert settings.dev_splits == [] and settings.model.mixer_options["tied"] is True


def test_the_options_of_a_recipe_are_of_its_own_mixer() -> None:
    paper = "hparams/hyperconformer_paper.yaml"
    assert load_settings(paper, {"data_folder": "x"}).model.mixer_options["init"] == "speechbrain"
    assert load_settings(paper, {"data_folder": "x", "mixer": "attention"}).model.mixer_options == {
        "dropout": 0.0
    }
    given = {"data_folder": "x", "mixer": "gmlp", "mixer_options": {"max_frames": 9}}
    assert load_settings(paper, given).model.mixer_options["max_frames"] == 9


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"number_of_epoch": 3}, "no setting 'number_of_epoch': did you mean 'number_of_epochs'"),
        ({"zzz": 3}, "no setting 'zzz'"),
        ({"seed": "one"}, "--seed must be a whole number, got 'one'"),
        ({"seed": True}, "--seed must be a whole number, got True"),
        ({"lr": "fast"}, "--lr must be a number"),
        ({"speeds": [1.5]}, "--speeds must be a list such as .*, each item a whole number"),
        ({"decode": ["beam"]}, "each item one of greedy, prefix, rescore, joint"),
        ({"corpus": "ted"}, "--corpus must be one of librispeech, mini, manifests"),
        ({"data_folder": 3}, "--data_folder must be a text or null"),
        ({"mixer_options": 3}, "--mixer_options must be a mapping"),
        ({"freq_masks": -1}, "freq_masks must not be negative"),
        ({"n_warmup_steps": 0}, "n_warmup_steps must be at least 1, got 0"),
        ({"average_checkpoints": 0}, "average_checkpoints must be at least 1"),
        ({"beam_size": 0}, "beam_size must lie between 1 and 1000, got 0"),
        ({"lr": -1.0}, "lr must be at least"),
        ({"ctc_weight": 3.0}, "ctc_weight must lie between 0 and 1, got 3"),
        ({"speeds": []}, "speeds, in percent, must be at least 1"),
        ({"decode": []}, "decode must name a search"),
        (
            {"inter_ctc_layers": [2], "half_rate_layers": [2, 3]},
            "\\[2\\] are at half the rate",
        ),
        ({"half_rate_layers": [2]}, "--half_rate_layers must be "),
        ({"optimizer": "sgd"}, "--optimizer must be "),
        ({"adam_betas": [0.9]}, "--adam_betas must be a list of 2"),
        ({"frontend_channels": [64]}, "--frontend_channels must be a list of 2"),
        ({"num_decoder_layers": 0}, "num_decoder_layers must lie between 1"),
        ({"epochs": 3}, "did you mean 'number_of_epochs'"),
        ({"ema_decay": 1.0}, "ema_decay must lie between 0 and 0.999999, got 1"),
        ({"inter_ctc_weight": 2.0}, "inter_ctc_weight must lie between 0 and 1"),
        ({"cr_ctc_weight": -0.1}, "cr_ctc_weight must be at least 0"),
        ({"inter_ctc_layers": [0]}, r"inter_ctc_layers must rise from 1 up to 3 at most, got \[0\]"),
        ({"inter_ctc_layers": [4]}, "inter_ctc_layers must rise from 1 up to 3"),
        ({"inter_ctc_layers": [2, 1]}, "inter_ctc_layers must rise"),
        ({"inter_ctc_layers": [2, 2]}, "inter_ctc_layers must rise"),
        ({"inter_ctc_layers": 2}, "--inter_ctc_layers must be a list"),
        ({"ctc_weight": 0.0, "cr_ctc_weight": 0.2}, "raise ctc_weight above 0"),
    ],
)
def test_wrong_overrides_are_named(overrides: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        load_settings(MINI, overrides)
    assert "\n" not in str(raised.value)


def test_a_misspelt_key_in_a_variant_is_named(recipe) -> None:
    assert load_settings(recipe("d_model: 64\n"), {}).model.d_model == 64
    with pytest.raises(InputError, match="'d_modle': did you mean 'd_model'"):
        load_settings(recipe("d_modle: 64\n"), {})


def test_consistency_looks_twice(recipe) -> None:
    assert load_settings(recipe(""), {}).views == 1
    assert load_settings(recipe("cr_ctc_weight: 0.2\n"), {}).views == 2


def test_of_several_bases_the_last_one_wins(tmp_path: Path) -> None:
    (tmp_path / "deep.yaml").write_text("num_encoder_layers: 14\nnhead: 4\n", encoding="utf-8")
    variant = tmp_path / "variant.yaml"
    variant.write_text(
        f"base:\n  - !include:{MINI}\n  - !include:deep.yaml\nnhead: 2\nname: x\n", encoding="utf-8"
    )
    model = load_settings(str(variant), {}).model
    assert (model.num_encoder_layers, model.nhead, model.d_model) == (14, 2, 128)


def test_a_variant_of_a_variant(recipe, tmp_path: Path) -> None:
    recipe("d_model: 64\n")
    outer = tmp_path / "outer.yaml"
    outer.write_text("base: !include:recipe.yaml\nnhead: 2\n", encoding="utf-8")
    settings = load_settings(str(outer), {"kernel_size": 7})
    assert (settings.model.d_model, settings.model.nhead, settings.model.kernel_size) == (64, 2, 7)


def test_the_folder_of_a_run_follows_its_name_and_seed(recipe) -> None:
    assert load_settings(recipe("seed: 3\n"), {}).output_folder == "results/test/3"
    assert load_settings(recipe(""), {"name": "other"}).output_folder == "results/other/7775"
    assert load_settings(recipe(""), {"output_folder": "/elsewhere"}).output_folder == "/elsewhere"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n- b\n",
        "d_model: [64\n",
        "base: 3\n",
        "base: !include:no.yaml\n",
        "d_model: !ref <no>\n",
        "d_model: !new:no.such.Thing\n",
        "seed: 1\nseed: 2\n",
        "\udcff",
    ],
)
def test_broken_recipes_are_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(InputError, match=f"recipe '{path}'") as raised:
        load_settings(str(path), {})
    assert "\n" not in str(raised.value)


def test_settings_come_back_from_the_file_that_a_run_writes(tmp_path: Path) -> None:
    settings = load_settings(MINI, {"mixer_options": {"tied": True}})
    with (tmp_path / "hyperparams.yaml").open("w") as stream:
        YAML().dump(settings.plain(), stream)
    assert load_settings(str(tmp_path / "hyperparams.yaml"), {}) == settings


def test_a_recipe_that_lacks_a_key_says_so(tmp_path: Path) -> None:
    (tmp_path / "bare.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match="has no 'name'"):
        load_settings(str(tmp_path / "bare.yaml"), {})


def test_the_command_line() -> None:
    line = CommandLine.parse(["r.yaml", "--data_folder=/a=b", "--seed", "3", "--debug", "--device", "cpu"])
    assert line.overrides == {"data_folder": "/a=b", "seed": 3}
    assert line.run_options == {"debug": True, "device": "cpu"}
    assert CommandLine.parse(["r.yaml", "--dev_splits=[]"]).overrides == {"dev_splits": []}
    assert CommandLine.parse(["r.yaml", "--debug=false"]).run_options == {"debug": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a recipe first"),
        (["--debug"], "name a recipe first"),
        (["r.yaml", "seed=3"], "not of the form --key=value"),
        (["r.yaml", "--speeds=[1"], "not a plain YAML value"),
        (["r.yaml", "--precision=fp8"], "--precision must be one of auto, fp32, bf16, fp16"),
        (["r.yaml", "--debug=3"], "--debug must be true or false"),
        (["r.yaml", "--device=3"], "--device must be a text"),
    ],
)
def test_wrong_command_lines_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CommandLine.parse(arguments)


def test_an_override_runs_no_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(InputError, match="not a plain YAML value"):
        CommandLine.parse(["r.yaml", f"--name=!apply:os.mkdir [{trap}]"])
    with pytest.raises(InputError):
        load_settings(MINI, {"seed": f"!apply:os.mkdir [{trap}]"})
    assert not trap.exists()
