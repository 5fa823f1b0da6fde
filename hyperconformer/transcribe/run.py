"""Files in, text out."""

import errno
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from hyperconformer.errors import InputError
from hyperconformer.inference.bundle_files import TOKENIZER
from hyperconformer.inference.writers import Spell
from hyperconformer.transcribe.inputs import STANDARD_INPUT, Input, find_inputs
from hyperconformer.transcribe.outputs import Outputs
from hyperconformer.transcribe.settings import Settings
from hyperconformer.types import Transcript

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Faults that the next file would meet as well."""

if TYPE_CHECKING:
    from hyperconformer.inference.reading import Portion
    from hyperconformer.inference.transcriber import Heard, Transcriber


def transcribe(settings: Settings) -> int:
    """Transcribe files; one that cannot be read is reported on standard error, and the rest goes on.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    int
        1 if some could not be read, else 0.

    Raises
    ------
    InputError
        If the model or the output folder cannot be used, or files would be written over.

    Examples
    --------
    >>> transcribe(Settings(("a.wav",), "no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    inputs, faults = find_inputs(settings.files)
    if settings.output_dir is None and len(inputs) > 1 and not {"txt"}.issuperset(settings.formats):
        raise InputError(
            f"several files as {settings.output_format} cannot share one output: give --output_dir or --jsonl"
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may be no text; in JSON what replaces it is right as well.
        sys.stdout.reconfigure(errors="backslashreplace")
    outputs = Outputs(settings, several=len(inputs) > 1)
    wanted = [one for one in inputs if not outputs.done(one)]
    outputs.check_foreign(wanted)
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if skipped := len(inputs) - len(wanted):
        print(f"{_files(skipped)} done before (--overwrite transcribes them again)", file=sys.stderr)
    # Each job loads the model: none without a file.
    if wanted and not _transcribe(wanted, outputs, replace(settings, jobs=min(settings.jobs, len(wanted)))):
        return 1
    return 1 if faults else 0


def _opened(
    settings: Settings, standard_input: int | None
) -> "Callable[[Iterable[Portion]], Iterator[Heard]]":
    """Open the model: it hears standard input, if that is among the recordings, and portions of files."""
    from hyperconformer.inference.transcriber import Transcriber  # slow

    transcriber = Transcriber.load(
        settings.model,
        settings.device,
        precision=settings.precision,
        backend=settings.backend,
        decode=settings.decode,
        options=settings.given,
        calibration=settings.calibration,
        word_times=settings.word_times,
        longform=settings.longform,
        one_pass=settings.one_pass,
        **settings.helpers,
    )
    return partial(_hear, transcriber, standard_input)


def _hear(
    transcriber: "Transcriber", standard_input: int | None, portions: "Iterable[Portion]"
) -> "Iterator[Heard]":
    """What a process hears."""
    if standard_input is not None and sys.stdin is None:
        yield (
            standard_input,
            InputError("standard input is closed: send audio into it, as in '- < speech.wav'"),
        )
    elif standard_input is not None:
        yield from transcriber.hear_alone(standard_input, sys.stdin.buffer)
    yield from transcriber.hear(portions)


def _shared(wanted: Sequence[Input], settings: Settings) -> "Iterator[Heard | None]":
    """What all processes hear, after None once they are ready."""
    import torch  # slow

    from hyperconformer.inference.jobs import share_work
    from hyperconformer.inference.reading import plan_files

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    paths = [(place, one.path) for place, one in enumerate(wanted)]
    standard_input = next((place for place, path in paths if path == STANDARD_INPUT), None)
    portions = plan_files((file for file in paths if file[0] != standard_input), settings.longform)
    return share_work(partial(_opened, settings, standard_input), portions, settings.jobs)


def _transcribe(wanted: Sequence[Input], outputs: Outputs, settings: Settings) -> bool:
    """Whether all went well."""
    begun = ready = time.perf_counter()
    spell: Spell | None = None
    faults = turn = 0
    early: dict[int, Transcript | InputError] = {}
    # None: a bar only where somebody sees it.
    hidden = None if settings.progress else True
    with tqdm(total=len(wanted), unit="file", disable=hidden, leave=False) as bar:
        progress = _Progress(bar)
        for heard in _shared(wanted, settings):
            if heard is None:
                ready, spell = progress.begin(), _speller(settings.model)
                continue
            if isinstance(heard, float):
                progress(heard)
                continue
            place, found = heard
            found = _written(wanted[place], found, outputs, spell)
            if isinstance(found, InputError):
                faults += 1
                tqdm.write(f"error: {found}", file=sys.stderr)
            early[place] = found
            bar.update()
            # Printed in the order in which the files were given.
            while turn in early:
                outputs.show(wanted[turn], early.pop(turn), spell)
                turn += 1
    if len(wanted) > 1 or outputs.folder is not None:
        took = time.perf_counter() - ready
        jobs = f" by {settings.jobs} jobs" if settings.jobs > 1 else ""
        heard_files = f"{_files(len(wanted) - faults)}, {progress.seconds / 60:.1f} min of audio"
        said = f"{heard_files} in {took:.1f} s{jobs}, {progress.seconds / took:.0f} x real time"
        unread = f"; {_files(faults)} could not be read" if faults else ""
        where = f" -> {outputs.folder}" if outputs.folder is not None else ""
        print(f"{said} (and {ready - begun:.1f} s before, to load){unread}{where}", file=sys.stderr)
    return not faults


def _written(
    one: Input, found: Transcript | InputError, outputs: Outputs, spell: Spell | None
) -> Transcript | InputError:
    """What was found, or why it could not be written, unless the next file would meet that as well."""
    try:
        outputs.write(one, found, spell)
    except InputError as error:
        if getattr(error.__cause__, "errno", None) in FULL:
            raise
        return error
    return found


class _Progress:
    """Counts seconds of audio, and says how much faster than real time they go by."""

    def __init__(self, bar: "tqdm[None]") -> None:
        self.seconds, self._begun, self._bar = 0.0, time.perf_counter(), bar

    def begin(self) -> float:
        """Count time from now on."""
        self._begun = time.perf_counter()
        return self._begun

    def __call__(self, seconds: float) -> None:
        self.seconds += seconds
        rate = self.seconds / (time.perf_counter() - self._begun)
        self._bar.set_postfix_str(f"{self.seconds / 60:.1f} min, {rate:.0f} x real time")


def _speller(model: str) -> Spell:
    """What spells hypotheses, of a model folder that has been opened."""
    from hyperconformer.text import Tokenizer  # slow

    return Tokenizer.load(Path(model) / TOKENIZER).decode


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
