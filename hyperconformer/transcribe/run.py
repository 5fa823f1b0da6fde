"""Files in, text out."""

import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from hyperconformer.errors import InputError
from hyperconformer.inference.transcriber import Transcriber
from hyperconformer.transcribe.inputs import STANDARD_INPUT, Input, find_inputs
from hyperconformer.transcribe.outputs import Outputs
from hyperconformer.transcribe.settings import Settings
from hyperconformer.types import Transcript

Found = tuple[int, Transcript | InputError]


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
        If the model or the output folder cannot be used, or two files would get the same name.

    Examples
    --------
    >>> transcribe(Settings(("a.wav",), "no/such/model"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    inputs, faults = find_inputs(settings.files)
    if any(one.path == STANDARD_INPUT for one in inputs) and sys.stdin.isatty():
        raise InputError("standard input is a terminal: send audio into it, or name a file")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may be no text; in JSON what replaces it is right as well.
        sys.stdout.reconfigure(errors="backslashreplace")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    model = Path(settings.model)
    outputs = Outputs(settings, model, several=len(inputs) > 1)
    wanted = [one for one in inputs if not outputs.done(one)]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if skipped := len(inputs) - len(wanted):
        print(f"{_files(skipped)} done before (--overwrite transcribes them again)", file=sys.stderr)
    if wanted and not _transcribe(wanted, _open(model, settings), outputs, settings):
        return 1
    return 1 if faults else 0


def _open(model: Path, settings: Settings) -> Transcriber:
    return Transcriber.load(
        model,
        settings.device,
        word_times=settings.word_times,
        longform=settings.longform,
        one_pass=settings.one_pass,
        precision=settings.precision,
        backend=settings.backend,
        decode=settings.decode,
        options=dict(settings.given),
        calibration=settings.calibration,
        **settings.helpers,
    )


def _transcribe(
    wanted: Sequence[Input], transcriber: Transcriber, outputs: Outputs, settings: Settings
) -> bool:
    """Whether all went well."""
    faults, seconds, begun = 0, 0.0, time.perf_counter()
    # None: a bar only where somebody sees it.
    hidden = None if settings.progress else True
    with tqdm(total=len(wanted), unit="file", disable=hidden, leave=False) as bar:
        for place, found in _in_order(_heard(wanted, transcriber, bar)):
            if isinstance(found, InputError):
                faults += 1
                tqdm.write(f"error: {found}", file=sys.stderr)
            else:
                seconds += found.seconds
            outputs.put(wanted[place], found, transcriber.tokenizer.decode)
    took = time.perf_counter() - begun
    if len(wanted) > 1 or outputs.folder is not None:
        print(
            f"{_files(len(wanted) - faults)}, {seconds / 60:.1f} min of audio in {took:.1f} s, "
            f"{seconds / took:.0f} x real time" + (f"; {_files(faults)} could not be read" if faults else ""),
            file=sys.stderr,
        )
    return not faults


def _heard(wanted: Sequence[Input], transcriber: Transcriber, bar: "tqdm[None]") -> Iterator[Found]:
    """Recordings as they get done; the bar says how much faster than real time that goes."""
    begun, seconds = time.perf_counter(), 0.0
    streams = [place for place, one in enumerate(wanted) if one.path == STANDARD_INPUT]
    files = [place for place, one in enumerate(wanted) if one.path != STANDARD_INPUT]
    paths = [wanted[place].path for place in files]

    def each() -> Iterator[Found]:
        for place in streams:
            try:
                yield place, transcriber.transcribe(sys.stdin.buffer)
            except InputError as error:
                yield place, error
        for file, found in transcriber.transcribe_files(paths):
            yield files[file], found

    for place, found in each():
        seconds += 0.0 if isinstance(found, InputError) else found.seconds
        bar.set_postfix_str(f"{seconds / (time.perf_counter() - begun):.0f} x real time", refresh=False)
        bar.update()
        yield place, found


def _in_order(found: Iterator[Found]) -> Iterator[Found]:
    """Hold back what came before its turn."""
    early: dict[int, Transcript | InputError] = {}
    turn = 0
    for place, one in found:
        early[place] = one
        while turn in early:
            yield turn, early.pop(turn)
            turn += 1


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
