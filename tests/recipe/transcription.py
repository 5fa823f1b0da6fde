"""What a trained recogniser must do for people: every way in, every format out, the right text."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
import srt
import webvtt

from hyperconformer.audio import read_audio
from hyperconformer.data.librispeech import scan_split
from hyperconformer.export.onnx_folder import export_onnx
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.inference.writers import WRITERS
from hyperconformer.scoring import score
from hyperconformer.types import Transcript, Utterance


def command(*arguments: object, **given: object) -> str:
    """Run ``hyperconformer transcribe`` and return what it printed."""
    words = [sys.executable, "-m", "hyperconformer.cli", "transcribe", *map(str, arguments)]
    return subprocess.run(words, check=True, capture_output=True, **given).stdout.decode()


def check_every_way_in(bundle: Path, data_folder: Path, split: str, scratch: Path) -> None:
    """Files, a folder, standard input and three other formats give the text of the files themselves."""
    utterances = scan_split(data_folder, split)
    transcriber = Transcriber.load(bundle)
    alone = {u.path: transcriber.transcribe(u.path).text for u in utterances}
    assert sum(alone[u.path] == u.words for u in utterances) >= 0.95 * len(utterances)
    rows = map(json.loads, command("--model", bundle, "--jsonl", *alone).splitlines())
    assert {row["file"]: row["text"] for row in rows} == alone
    out = scratch / "texts"
    command("--model", bundle, data_folder / split, "-o", out, "-f", "all")
    for u in utterances:
        check_files(out / Path(u.path).relative_to(data_folder / split).with_suffix(""), alone[u.path], u)
    first = utterances[0]
    with open(first.path, "rb") as file:
        assert command("--model", bundle, "-", stdin=file).strip() == alone[first.path]
    samples = read_audio(first.path)
    high = soxr.resample(samples, 16_000, 44_100)
    soundfile.write(scratch / "a.wav", np.stack((high, high), axis=1), 44_100)
    soundfile.write(scratch / "a.mp3", samples, 16_000)
    soundfile.write(scratch / "a.flac", samples, 16_000, subtype="PCM_24")
    for name in ("a.wav", "a.mp3", "a.flac"):
        assert command("--model", bundle, scratch / name).strip() == alone[first.path], name


def check_files(stem: Path, text: str, utterance: Utterance) -> None:
    """Every format holds the text, and strict readers take the subtitles."""
    content = {name: Path(f"{stem}.{name}").read_text(encoding="utf-8") for name in WRITERS}
    assert content["txt"] == f"{text}\n"
    assert json.loads(content["json"])["text"] == text
    assert content["tsv"].splitlines()[1].split("\t")[2] == text
    assert " ".join(cue.content for cue in srt.parse(content["srt"])).split() == text.split()
    cues = webvtt.from_string(content["vtt"])
    assert " ".join(cue.text for cue in cues).split() == text.split()
    assert all(0 <= cue.start_in_seconds <= cue.end_in_seconds <= utterance.seconds for cue in cues)


def check_many(bundle: Path, data_folder: Path, splits: tuple[str, ...], count: int) -> None:
    """Many files in batches say what each says alone."""
    paths = [u.path for split in splits for u in scan_split(data_folder, split)]
    paths = (paths * (1 + count // len(paths)))[:count]
    transcriber = Transcriber.load(bundle)
    together = dict(transcriber.transcribe_files(paths))
    alone = {path: transcriber.transcribe(path).text for path in set(paths)}
    for file, path in enumerate(paths):
        found = together[file]
        assert isinstance(found, Transcript) and found.text == alone[path], path


def check_onnx(bundle: Path, data_folder: Path, split: str, scratch: Path) -> None:
    """onnxruntime hears the same; with eight bits it errs in half a percent more words at most."""
    utterances = scan_split(data_folder, split)
    paths = [u.path for u in utterances]
    texts: dict[str, list[str]] = {}
    for name in ("torch", "onnx", "int8"):
        folder = bundle if name == "torch" else export_onnx(bundle, scratch / name, int8=name == "int8")
        backend = "torch" if name == "torch" else "onnxruntime"
        found = dict(Transcriber.load(folder, backend=backend).transcribe_files(paths))
        texts[name] = [found[file].text for file in range(len(paths))]
    assert texts["onnx"] == texts["torch"]
    wrong = {
        name: 100 * score(list(zip(utterances, said, strict=True)), split).wer for name, said in texts.items()
    }
    print(f"WER %, {len(utterances)} utterances: {wrong}")
    assert wrong["int8"] <= wrong["torch"] + 0.5
