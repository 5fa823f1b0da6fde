"""The README commands run: all but installation and `make test`, training cut short by --debug."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperconformer.export.speechbrain import export_folder
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.text import train_tokenizer
from tests.hub_server import TOKEN, Hub, serving

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.integration

# Of two values of an option the last one counts.
SMALL_BENCH = "--mixers identity --d_model 16 --heads 2 --batch_size 1 --repeats 1 --rounds 1"
SMALLER = {
    "mixer": "--frames 9",
    "encoder": "--lengths 1 --layers 1",
    "step": "--seconds 1 --layers 1 --decoder_layers 1",
}
SMALL_SEARCH = (
    "--seconds 1 --steps 6 --d_model 16 --heads 2 --layers 1 --decoder_layers 1 --output_neurons 30 "
    "--lm_d_model 8 --lm_heads 2 --lm_layers 1 --repeats 1 --rounds 1"
)
SMALL_TRANSCRIPTION = "--limit 3 --long 2 30 --repeats 1 --rounds 1"
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


def leave_speechbrain_run(folder: Path) -> None:
    """Write what SpeechBrain's recipe would leave of a tiny HyperConformer."""
    scratch = folder.parent
    scratch.mkdir(parents=True)
    words = train_tokenizer(["ONE TWO", "TWO ONE"], scratch / "tokenizer.model", output_neurons=12)
    config = ModelConfig(
        output_neurons=words.size, mixer_options={"length_norm": "none"}, d_model=16, nhead=2, d_ffn=64,
        num_encoder_layers=1, num_decoder_layers=1,
    )  # fmt: skip
    bundle = save_bundle(scratch / "bundle", ASR(config), words, metrics={}, card="# Tiny\n")
    export_folder(bundle, folder)


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


def test_every_command_runs(checkout: Path, tiny_librispeech, on_hub: dict[str, str]) -> None:
    librispeech = tiny_librispeech(
        splits={"train-clean-100": 4, "train-clean-360": 2, "train-other-500": 2, "dev-clean": 2}
        | {"test-clean": 2, "test-other": 2}
    )
    digits = tiny_librispeech(splits={"train-digits": 12, "test-digits": 2})
    mini = tiny_librispeech(splits={"train-clean-5": 4, "dev-clean-2": 2})
    recordings = tiny_librispeech(splits={"train": 2}) / "train"
    for clip in recordings.rglob("*.flac"):
        clip.with_suffix(".txt").write_text("Yes.", encoding="utf-8")
    for transcript in recordings.rglob("*.trans.txt"):
        transcript.unlink()
    environment = Path(sys.executable).parents[1]
    outputs = {}
    for command in commands():
        if command == "make test" or command.startswith("pip install"):
            continue
        if command == "make demo":
            # This environment is the installed one: -o tells make not to install another.
            made = f"make -o {environment}/.installed demo VENV={environment} ARGS='--debug --noprogressbar'"
            outputs[command] = run(made, checkout)
        elif command.startswith("python train.py recipes/LibriSpeech/LM"):
            small = "--output_folder=results/small_lm/7775 --debug --noprogressbar"
            outputs[command] = run(f"{command} {small}", checkout)
            assert "perplexity of " in outputs[command]
            made = checkout / "results" / "small_lm"
            shutil.copytree(made / "7775_debug", made / "7775", dirs_exist_ok=True)
        elif command.startswith("hyperconformer ngram"):
            outputs[command] = run(command, checkout)
            assert ("discounts" if "--text" in command else "perplexity ") in outputs[command]
        elif command.startswith("torchrun"):
            real = command.replace("/path/to/LibriSpeech", str(librispeech)).replace("node=4", "node=2")
            small = "--device=cpu --debug --noprogressbar --decode=[greedy] --num_workers=0"
            outputs[command] = run(f"OMP_NUM_THREADS=1 {real} {small}", checkout)
            assert outputs[command].count("model folder: ") == 1
        elif command.startswith("python train.py"):
            real = command.replace("/path/to/LibriSpeech", str(librispeech))
            real = real.replace("/path/to/digits", str(digits)).replace("python", sys.executable, 1)
            small = "--debug --noprogressbar --beam_size=2 --max_decode_ratio=0.2 --num_workers=0"
            outputs[command] = run(f"{real} {small}", checkout)
            if "mini.yaml" in real:
                # Where the README's next commands look for a whole run.
                made = checkout / "results" / "mini"
                shutil.copytree(made / "7775_debug", made / "7775", dirs_exist_ok=True)
        elif command.startswith("hyperconformer prepare"):
            # All but the download: there is no network, and what it would bring is there.
            real = command.replace(" --download", "").replace("data/LibriSpeech", str(mini))
            outputs[command] = run(real.replace("/path/to/recordings", str(recordings)), checkout)
        elif command.startswith("hyperconformer import-speechbrain"):
            leave_speechbrain_run(checkout / command.split()[2])
            outputs[command] = run(command, checkout)
        elif command.startswith("hyperconformer check"):
            outputs[command] = run(command, checkout)
            assert outputs[command].endswith("\nok\n")
        elif command.startswith("hyperconformer push"):
            real = command.replace("OWNER", "owner").replace("NAME", "name")
            outputs[command] = run(real, checkout, **on_hub)
            pushed = outputs[command].strip()
        elif command.startswith("hyperconformer evaluate hf://"):
            real = command.replace("hf://OWNER/NAME@COMMIT", pushed)
            outputs[command] = run(f"{real} --limit 1 --beam_size 3", checkout, **on_hub)
            assert "WER %" in outputs[command]
        elif command.startswith("hyperconformer evaluate"):
            outputs[command] = run(f"{command} --limit 3 --beam_size 3", checkout)
            assert "WER %" in outputs[command]
            assert ("best: --decode" in outputs[command]) == ("--sweep" in command)
        elif command.startswith("echo "):
            outputs[command] = run(command, checkout)
        elif command == "hyperconformer doctor":
            outputs[command] = run(command, checkout)
            assert "FAULT" not in outputs[command]
        elif command.startswith("hyperconformer compare"):
            shutil.copytree(*(checkout / folder for folder in command.split()[2:]))
            outputs[command] = run(command, checkout)
            assert "No difference is shown" in outputs[command]
        elif command.startswith("hyperconformer bench train"):
            real = command.replace("/path/to/LibriSpeech", str(librispeech))
            outputs[command] = run(f"{real} {SMALL_RECIPE}", checkout)
            assert "waiting %" in outputs[command]
        elif command.startswith("hyperconformer bench decode"):
            outputs[command] = run(f"{command} {SMALL_SEARCH}", checkout)
            assert "pruned %" in outputs[command]
        elif command.startswith("hyperconformer bench transcribe"):
            outputs[command] = run(f"{command} {SMALL_TRANSCRIPTION}", checkout)
            assert "x of long recordings" in outputs[command]
        elif command.startswith("hyperconformer bench"):
            outputs[command] = run(f"{command} {SMALL_BENCH} {SMALLER[command.split()[2]]}", checkout)
        else:
            clips = sorted((checkout / "data" / "mini" / "test-mini").rglob("*.flac"))
            shutil.copy(clips[0], checkout / "more.flac")
            shutil.copy(clips[1], checkout / "speech.wav")
            outputs[command] = run(command, checkout)
    assert len(outputs) >= 6
    assert re.search(r"^reference +(3001-1-0000) [A-Z ]+\ntranscript \1", outputs["make demo"], re.MULTILINE)
    transcribed = next(
        said for command, said in outputs.items() if command.startswith("hyperconformer transcribe")
    )
    assert [line.split(":")[0] for line in transcribed.splitlines()] == ["speech.wav", "more.flac"]
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
