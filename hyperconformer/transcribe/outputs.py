"""Where transcripts go: files that a second run finds done, lines of JSON, or plain text."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyperconformer.errors import InputError, one_line
from hyperconformer.inference.writers import WRITERS, Spell, as_json, write_transcript
from hyperconformer.transcribe.inputs import STANDARD_INPUT, Input
from hyperconformer.transcribe.settings import Settings
from hyperconformer.types import Transcript

MADE_BY = ".transcribe.json"
"""What the files of an output folder were made by."""
_WEIGHTS = ("config.json", "model.safetensors", "encoder.onnx")


class Outputs:
    """Takes transcripts.

    Parameters
    ----------
    settings : Settings
    model : Path
        Its folder.
    several : bool
        Text that is printed says which file it is of.

    Raises
    ------
    InputError
        If the folder cannot be written, or holds transcripts that were made otherwise.

    Examples
    --------
    >>> Outputs(Settings(("a.wav",), "model"), Path("model"), several=False).put(
    ...     Input("a.wav", "a"), Transcript(1.0, ()))
    <BLANKLINE>
    """

    def __init__(self, settings: Settings, model: Path, *, several: bool) -> None:
        self.settings, self.several = settings, several
        self.folder = None if settings.output_dir is None else Path(settings.output_dir)
        if self.folder is not None:
            self._claim(self.folder, made_by(settings, model))

    def done(self, one: Input) -> bool:
        """Whether every file of a recording is there and younger than the recording."""
        if self.folder is None or self.settings.overwrite or one.path == STANDARD_INPUT:
            return False
        try:
            heard = os.stat(one.path).st_mtime
            return all(os.stat(path).st_mtime >= heard for path in self._files(one, self.folder))
        except OSError:
            return False

    def put(self, one: Input, found: Transcript | InputError, spell: Spell | None = None) -> None:
        """Write and print what came of a recording; a complaint only as a line of JSON."""
        if self.folder is not None and isinstance(found, Transcript):
            write_transcript(self.folder, one.stem, found, self.settings.formats, spell)
        if self.settings.jsonl:
            row = {"error": str(found)} if isinstance(found, InputError) else as_json(found, spell)
            print(json.dumps({"file": one.path} | row, ensure_ascii=False), flush=True)
        elif self.folder is None and isinstance(found, Transcript):
            self._print(one, found, spell)

    def _print(self, one: Input, found: Transcript, spell: Spell | None) -> None:
        (form,) = self.settings.formats
        text = WRITERS[form](found, spell)
        if form != "txt":
            print(f"{one.path}:\n{text}" if self.several else text, end="", flush=True)
        else:
            print(f"{one.path}: {found.text}" if self.several else found.text, flush=True)

    def _files(self, one: Input, folder: Path) -> list[Path]:
        return [folder / f"{one.stem}.{name}" for name in self.settings.formats]

    def _claim(self, folder: Path, made: dict[str, Any]) -> None:
        """Make the folder, and write into it what its transcripts are made by."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / MADE_BY
            if path.exists() and not self.settings.overwrite:
                _check_same(folder, json.loads(path.read_text(encoding="utf-8")), made)
            path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(
                f"--output_dir '{folder}' cannot be used ({one_line(error, 200)}): choose another"
            ) from error


def made_by(settings: Settings, model: Path) -> dict[str, Any]:
    """All that the text of a recording depends on.

    Parameters
    ----------
    settings : Settings
    model : Path
        Its folder.

    Returns
    -------
    dict
        Of plain values, fit for JSON.

    Examples
    --------
    >>> made_by(Settings(("a.wav",), "model"), Path("no/such/model"))["decode"]
    'greedy'
    """
    sums = hashlib.sha256()
    for name in _WEIGHTS:
        path = model / name
        if path.is_file():
            with path.open("rb") as file:
                sums.update(hashlib.file_digest(file, "sha256").digest())
    names = ("decode", "word_timestamps", "precision", "backend", "calibration", "one_pass")
    longform = {name: value for name, value in asdict(settings.longform).items() if name != "batch_seconds"}
    return {
        "model": sums.hexdigest(),
        **{name: getattr(settings, name) for name in names},
        **settings.helpers,
        **settings.given,
        **longform,
    }


def _check_same(folder: Path, there: Any, here: dict[str, Any]) -> None:
    before = there if isinstance(there, dict) else {}
    for name in here.keys() | before.keys():
        if before.get(name) != here.get(name):
            which = (
                "another model" if name == "model" else f"{name} {before.get(name)}, and not {here.get(name)}"
            )
            raise InputError(
                f"--output_dir '{folder}' holds transcripts made with {which}: choose another folder, or "
                "--overwrite them"
            )
