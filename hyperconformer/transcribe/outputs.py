"""Where transcripts go: files that a second run finds done, lines of JSON, or plain text."""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle_files import METRICS, TOKENIZER, WEIGHTS
from hyperconformer.inference.onnx_files import FILES as ONNX_FILES
from hyperconformer.inference.writers import WRITERS, Spell, as_json, write_transcript
from hyperconformer.transcribe.inputs import STANDARD_INPUT, Input
from hyperconformer.transcribe.settings import Settings
from hyperconformer.types import Transcript

RECORD = ".transcribe.jsonl"
"""In an output folder: a line for every file that was written, with a sum of all that it depends on."""


class Outputs:
    """Takes transcripts.

    Parameters
    ----------
    settings : Settings
    several : bool
        Text that is printed says which file it is of.

    Raises
    ------
    InputError
        If the folder cannot be written.

    Examples
    --------
    >>> outputs = Outputs(Settings(("a.wav",), "model"), several=False)
    >>> outputs.show(Input("a.wav", "a"), Transcript(1.0, ()))
    <BLANKLINE>
    """

    def __init__(self, settings: Settings, *, several: bool) -> None:
        self.settings, self.several = settings, several
        self.folder = None if settings.output_dir is None else Path(settings.output_dir)
        self._made_by: dict[str, str] = {}
        self._there: dict[str, tuple[str, str]] = {}
        if self.folder is not None:
            sums = sums_of(settings)
            self._made_by = {name: made_by(settings, name, sums) for name in settings.formats}
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._there = dict(_read(self.folder / RECORD))
                with (self.folder / RECORD).open("a", encoding="utf-8"):
                    pass
            except OSError as error:
                raise InputError(
                    f"--output_dir '{self.folder}' cannot be used ({error.strerror}): choose another"
                ) from error

    def done(self, one: Input) -> bool:
        """Whether every file of a recording is there, made the same way and younger than the recording."""
        if self.folder is None or self.settings.overwrite or one.path == STANDARD_INPUT:
            return False
        try:
            heard, source = os.stat(one.path).st_mtime, os.path.abspath(one.path)
            return all(
                self._there.get(name) == (source, self._made_by[form])
                and stat.S_ISREG((written := os.stat(self.folder / name)).st_mode)
                and written.st_mtime >= heard
                for form, name in self._names(one)
            )
        except OSError:
            return False

    def check_foreign(self, inputs: Sequence[Input]) -> None:
        """Refuse to write over the text of other recordings, or files that this command did not write."""
        if self.folder is None or self.settings.overwrite:
            return
        for one in inputs:
            for _, name in self._names(one):
                source, _ = self._there.get(name, ("", ""))
                if os.path.abspath(one.path) != source and os.path.exists(self.folder / name):
                    whose = f"holds the text of {source!r}" if source else "was not written by this command"
                    raise InputError(
                        f"'{self.folder / name}' {whose}: --overwrite it, or choose another --output_dir"
                    )

    def write(self, one: Input, found: Transcript | InputError, spell: Spell | None = None) -> None:
        """Leave what was said in files; as soon as it is known, so that a second run finds it.

        Raises
        ------
        InputError
            If a file cannot be written, for instance because its name would be too long.
        """
        if self.folder is None or isinstance(found, InputError):
            return
        # Should this end in between, the file is known to be ours, and not to be done.
        self._note(self.folder, one, dict.fromkeys(self._made_by, ""))
        write_transcript(self.folder, one.stem, found, self.settings.formats, spell)
        self._note(self.folder, one, self._made_by)

    def _note(self, folder: Path, one: Input, made_by: Mapping[str, str]) -> None:
        source = os.path.abspath(one.path)
        rows = [{"file": name, "of": source, "made_by": made_by[form]} for form, name in self._names(one)]
        try:
            with (folder / RECORD).open("a", encoding="utf-8") as record:
                record.write("".join(json.dumps(row) + "\n" for row in rows))
        except OSError as error:
            raise InputError(
                f"'{folder / RECORD}' cannot be written ({error.strerror}): make room"
            ) from error

    def show(self, one: Input, found: Transcript | InputError, spell: Spell | None = None) -> None:
        """Print what was said, or a line of JSON also for what was not."""
        if self.settings.jsonl:
            row = {"error": str(found)} if isinstance(found, InputError) else as_json(found, spell)
            _print(json.dumps({"file": one.path} | row, ensure_ascii=False) + "\n")
        elif self.folder is None and isinstance(found, Transcript):
            (form,) = self.settings.formats
            plain = f"{one.path}: {found.text}\n" if self.several else f"{found.text}\n"
            _print(plain if form == "txt" else WRITERS[form](found, spell))

    def _names(self, one: Input) -> list[tuple[str, str]]:
        return [(form, f"{one.stem}.{form}") for form in self.settings.formats]


def _print(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still held back would be written again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"standard output cannot be written ({error.strerror}): make room") from error


def _read(record: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Files, whose text they hold, and what they were made by; a torn line says nothing."""
    if not record.exists():
        return
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            yield str(row["file"]), (str(row["of"]), str(row["made_by"]))
        except (ValueError, KeyError, TypeError):
            continue


def sums_of(settings: Settings) -> list[str | None]:
    """Sum up the files that the text of a recording depends on: of the model, and of what helps its search.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    list of str or None
        SHA-256 sums, None for a file that is not there.

    Examples
    --------
    >>> set(sums_of(Settings(("a.wav",), "no/such/model")))
    {None}
    """
    model = Path(settings.model)
    files = [model / name for name in (WEIGHTS, TOKENIZER, METRICS, *ONNX_FILES)]
    for helper in (*settings.helpers.values(), settings.calibration):
        if helper is not None:
            path = Path(helper)
            files += [path / WEIGHTS, path / TOKENIZER] if path.is_dir() else [path]
    return [_sum(path) for path in files]


def made_by(settings: Settings, form: str, sums: Sequence[str | None]) -> str:
    """Sum up all that a file of text depends on.

    Parameters
    ----------
    settings : Settings
    form : str
        Its format.
    sums : sequence of str or None
        Of :func:`sums_of`.

    Returns
    -------
    str

    Examples
    --------
    >>> one, other = (Settings(("a.wav",), "model", decode=decode) for decode in ("greedy", "prefix"))
    >>> made_by(one, "txt", []) == made_by(other, "txt", [])
    False
    """
    names = ("decode", "precision", "backend", "one_pass", *(["word_timestamps"] if form == "json" else []))
    longform = {name: value for name, value in asdict(settings.longform).items() if name != "batch_seconds"}
    said = {**{name: getattr(settings, name) for name in names}, **settings.given, **longform, "files": sums}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _sum(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
