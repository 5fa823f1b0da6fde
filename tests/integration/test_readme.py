"""The README commands run: all but installation and `make test`, training cut short by --debug."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.hub_server import TOKEN, Hub, serving
from tests.speechbrain_run import leave_speechbrain_run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.integration

# Of two values of an option the last one counts.
SMALL_BENCH = "--mixers identity --d_model 16 --heads 2 --batch_size 1 --repeats 1 --rounds 1"
SMALLER = {
    "mixer": "--frames 9",
    "encoder": "--lengths 1 --layers 1",
    "hear": "--lengths 1 --layers 1 --decoder_layers 1 --output_neurons 30",
    "step": "--seconds 1 --layers 1 --decoder_layers 1",
}
SMALL_SEARCH = (
    "--seconds 1 --steps 6 --d_model 16 --heads 2 --layers 1 --decoder_layers 1 --output_neurons 30 "
    "--lm_d_model 8 --lm_heads 2 --lm_layers 1 --repeats 1 --rounds 1"
)
SMALL_TRANSCRIPTION = "--limit 3 --long 2 30 --repeats 1 --rounds 1"
SMALL_TEXT = (
    "--mixers identity --seeds 1 --lengths 8 --repeats 1 --rounds 1 --task_texts=20 --number_of_epochs=1 "
    "--d_model=16 --d_ffn=16 --num_layers=1"
)
SMALL_CONTEST = (
    "--systems ours speechbrain --seeds 1 --number_of_epochs=1 --d_model=16 --nhead=2 "
    "--num_encoder_layers=1 --output_neurons=30 --decode=[greedy]"
)
SMALL_RECIPE = (
    "--d_model=16 --nhead=2 --d_ffn=64 --num_encoder_layers=1 --num_decoder_layers=1 --output_neurons=30 "
    "--num_workers=0 --steps 1 --warm_up 1 --rounds 1"
)


def blocks(language: str) -> list[str]:
    """Code blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Commands of the README, comments removed."""
    lines = (line.split("  #")[0].strip() for block in blocks("bash") for line in block.splitlines())
    # The comments of the two make targets are set apart by spaces alone.
    return [re.sub(r"\s{2,}.*", "", line) for line in lines if line]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is under the root, so that nothing is written into the real one."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    kept = ("hparams", "recipes", "hyperconformer", "train.py", "Makefile", "setup.cfg", "pyproject.toml")
    folder.mkdir()
    for name in (*kept, "constraints.txt", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def run(command: str, checkout: Path, **variables: str) -> str:
    """Run a command with this test's Python environment first on the path."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout),
        **variables,
    }
    done = subprocess.run(command, shell=True, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def leave_intents(folder: Path) -> Path:
    """Write a folder in the form of CLINC150, with as many intents."""
    texts = [[f"request number {n}, {how}", f"intent_{n}"] for how in ("please", "now") for n in range(150)]
    strange = [["nothing of the kind", "oos"]]
    splits = {name: texts for name in ("train", "val", "test")}
    folder.mkdir()
    (folder / "data_full.json").write_text(json.dumps({**splits, "oos_test": strange}), encoding="utf-8")
    return folder


@pytest.fixture
def on_hub(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables with which the hub is a local server."""
    with serving(Hub()) as address:
        yield {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_XET": "1",
        }


@dataclass(frozen=True)
class Place:
    """Where the commands run: a copy of the checkout, and what their example paths stand for."""

    checkout: Path
    librispeech: Path
    digits: Path
    mini: Path
    recordings: Path
    intents: Path
    hub: dict[str, str]

    def run(self, command: str, **variables: str) -> str:
        """Run a command, with real folders for the README's."""
        spelt = {"LibriSpeech": self.librispeech, "digits": self.digits, "recordings": self.recordings}
        for name, folder in {**spelt, "clinc150": self.intents}.items():
            command = command.replace(f"/path/to/{name}", str(folder))
        return run(command, self.checkout, **variables)


def demo(command: str, place: Place) -> None:
    # This environment is the installed one: -o tells make not to install another.
    environment = Path(sys.executable).parents[1]
    made = f"make -o {environment}/.installed demo VENV={environment} ARGS='--debug --noprogressbar'"
    said = place.run(made)
    assert re.search(r"^reference +(3001-1-0000) [A-Z ]+\ntranscript \1", said, re.MULTILINE)
    clips = sorted((place.checkout / "data" / "mini" / "test-mini").rglob("*.flac"))
    (place.checkout / "recordings").mkdir()
    for name, clip in zip(("speech.wav", "more.flac", "recordings/a.flac"), clips, strict=False):
        shutil.copy(clip, place.checkout / name)


def train_language_model(command: str, place: Place) -> None:
    small = "--output_folder=results/small_lm/7775 --debug --noprogressbar"
    assert "perplexity of " in place.run(f"{command} {small}")
    made = place.checkout / "results" / "small_lm"
    shutil.copytree(made / "7775_debug", made / "7775", dirs_exist_ok=True)


def train_texts(command: str, place: Place) -> None:
    assert "accuracy of " in place.run(
        f"{command.replace('python', sys.executable, 1)} --debug --noprogressbar"
    )
    if "text.yaml" in command:
        made = place.checkout / "results" / "text"
        shutil.copytree(made / "7775_debug", made / "7775", dirs_exist_ok=True)


def classify(command: str, place: Place) -> None:
    cells = place.run(command).strip().split("\t")
    assert len(cells) == 4 and cells[0] in "0123" and float(cells[1]) >= float(cells[3])


def train_recipe(command: str, place: Place) -> None:
    small = "--debug --noprogressbar --beam_size=2 --max_decode_ratio=0.2 --num_workers=0"
    place.run(f"{command.replace('python', sys.executable, 1)} {small}")
    if "mini.yaml" in command:
        # Where the README's next commands look for a whole run.
        made = place.checkout / "results" / "mini"
        shutil.copytree(made / "7775_debug", made / "7775", dirs_exist_ok=True)


def torchrun(command: str, place: Place) -> None:
    small = "--device=cpu --debug --noprogressbar --decode=[greedy] --num_workers=0"
    said = place.run(f"OMP_NUM_THREADS=1 {command.replace('node=4', 'node=2')} {small}")
    assert said.count("model folder: ") == 1


def prepare(command: str, place: Place) -> None:
    # All but the download: there is no network, and what it would bring is there.
    place.run(command.replace(" --download", "").replace("data/LibriSpeech", str(place.mini)))


def ngram(command: str, place: Place) -> None:
    assert ("discounts" if "--text" in command else "perplexity ") in place.run(command)


def import_speechbrain(command: str, place: Place) -> None:
    leave_speechbrain_run(place.checkout / command.split()[2])
    place.run(command)


def check(command: str, place: Place) -> None:
    assert place.run(command).endswith("\nok\n")


def push(command: str, place: Place) -> None:
    pushed = place.run(command.replace("OWNER", "owner").replace("NAME", "name"), **place.hub).strip()
    place.hub["PUSHED"] = pushed


def evaluate_from_hub(command: str, place: Place) -> None:
    real = command.replace("hf://OWNER/NAME@COMMIT", place.hub["PUSHED"])
    assert "WER %" in place.run(f"{real} --limit 1 --beam_size 3", **place.hub)


def evaluate(command: str, place: Place) -> None:
    said = place.run(f"{command} --limit 3 --beam_size 3")
    assert "WER %" in said and ("best: --decode" in said) == ("--sweep" in command)


def doctor(command: str, place: Place) -> None:
    assert "FAULT" not in place.run(command)


def compare(command: str, place: Place) -> None:
    shutil.copytree(*(place.checkout / folder for folder in command.split()[2:]))
    assert "No difference is shown" in place.run(command)


def bench(command: str, place: Place) -> None:
    small = f"{SMALL_BENCH} {SMALLER[command.split()[2]]}"
    place.run(f"{command} {small}")


def bench_train(command: str, place: Place) -> None:
    assert "waiting %" in place.run(f"{command} {SMALL_RECIPE}")


def bench_decode(command: str, place: Place) -> None:
    assert "pruned %" in place.run(f"{command} {SMALL_SEARCH}")


def bench_transcribe(command: str, place: Place) -> None:
    assert "x of long recordings" in place.run(f"{command} {SMALL_TRANSCRIPTION}")


def bench_text(command: str, place: Place) -> None:
    assert "### Accuracy at equal parameters" in place.run(f"{command} {SMALL_TEXT}")


def bench_contest(command: str, place: Place) -> None:
    assert "### digits, cpu, verdicts" in place.run(f"{command} {SMALL_CONTEST}")


def transcribe(command: str, place: Place) -> None:
    said = place.run(command)
    if "--output_dir" in command:
        assert (place.checkout / "transcripts" / "a.srt").is_file()
    elif "more.flac" in command:
        assert [line.split(":")[0] for line in said.splitlines()] == ["speech.wav", "more.flac"]
    elif "srt" in command:
        assert (place.checkout / "speech.srt").is_file()
    else:
        assert said.count("\n") == 1


def plain(command: str, place: Place) -> None:
    place.run(command)


# Of several that fit the first one counts.
COMMANDS: dict[str, Callable[[str, Place], None]] = {
    "make demo": demo,
    "python train.py recipes/LibriSpeech/LM": train_language_model,
    "python train.py hparams/text.yaml": train_texts,
    "python train.py recipes/TextClassification": train_texts,
    "python train.py": train_recipe,
    "torchrun": torchrun,
    "echo ": plain,
    "hyperconformer prepare": prepare,
    "hyperconformer ngram": ngram,
    "hyperconformer import-speechbrain": import_speechbrain,
    "hyperconformer export": plain,
    "hyperconformer classify": classify,
    "hyperconformer check": check,
    "hyperconformer push": push,
    "hyperconformer evaluate hf://": evaluate_from_hub,
    "hyperconformer evaluate": evaluate,
    "hyperconformer doctor": doctor,
    "hyperconformer compare": compare,
    "hyperconformer bench train": bench_train,
    "hyperconformer bench decode": bench_decode,
    "hyperconformer bench transcribe": bench_transcribe,
    "hyperconformer bench text": bench_text,
    "hyperconformer bench contest": bench_contest,
    "hyperconformer bench": bench,
    "hyperconformer transcribe": transcribe,
}
INSTALLATION = ("make test", "pip install")


def test_every_command_runs(checkout: Path, tiny_librispeech, on_hub: dict[str, str], tmp_path: Path) -> None:
    librispeech = tiny_librispeech(
        splits={"train-clean-100": 4, "train-clean-360": 2, "train-other-500": 2, "dev-clean": 2}
        | {"test-clean": 2, "test-other": 2}
    )
    recordings = tiny_librispeech(splits={"train": 2}) / "train"
    for clip in recordings.rglob("*.flac"):
        clip.with_suffix(".txt").write_text("Yes.", encoding="utf-8")
    for transcript in recordings.rglob("*.trans.txt"):
        transcript.unlink()
    digits = tiny_librispeech(splits={"train-digits": 12, "test-digits": 2})
    mini = tiny_librispeech(splits={"train-clean-5": 4, "dev-clean-2": 2})
    intents = leave_intents(tmp_path / "intents")
    place = Place(checkout, librispeech, digits, mini, recordings, intents, on_hub)
    ran = set()
    for command in commands():
        if command.startswith(INSTALLATION):
            continue
        prefix = next((prefix for prefix in COMMANDS if command.startswith(prefix)), None)
        assert prefix is not None, f"no rule for the README's {command!r}"
        COMMANDS[prefix](command, place)
        ran.add(prefix)
    assert ran == set(COMMANDS)
    for block in blocks("python"):
        (checkout / "snippet.py").write_text(block, encoding="utf-8")
        run(f"{sys.executable} snippet.py", checkout)


def test_the_layout_names_what_there_is() -> None:
    layout = README.split("## Layout")[1].split("```")[1]
    for path in sorted((ROOT / "hyperconformer").iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            assert path.name in layout, path.name
        if (path / "__init__.py").is_file():
            assert f"{path.name}/" in layout, path.name
    named = re.findall(r"^  (\w+)/ ", layout, flags=re.MULTILINE)
    assert all((ROOT / "hyperconformer" / name).is_dir() for name in named)
