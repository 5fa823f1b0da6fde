"""What is to be transcribed, and what its files of text are called."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from hyperconformer.errors import InputError

STANDARD_INPUT = "-"
SOUND = ".wav .flac .mp3 .ogg .oga .opus .m4a .m4b .aac .wma .aif .aiff .aifc .au .caf .w64 .rf64 .amr .ac3"
FILM = ".mp4 .mka .mkv .webm .mov .avi .3gp"
EXTENSIONS = frozenset(f"{SOUND} {FILM}".split())
"""Of the files that are taken from a folder; a file that is named is taken whatever its name."""


@dataclass(frozen=True)
class Input:
    """A recording.

    Attributes
    ----------
    path : str
        As it was given, or found in a folder; ``-`` is standard input.
    stem : str
        Where its text goes, without the ending: a path below the output folder.

    Examples
    --------
    >>> Input("talks/one.wav", "one").stem
    'one'
    """

    path: str
    stem: str


def find_inputs(given: Sequence[str]) -> tuple[list[Input], list[InputError]]:
    """List the recordings of files and folders.

    Parameters
    ----------
    given : sequence of str
        Files, folders, whose audio files are found at any depth, and ``-`` for standard input. Links to
        folders inside a folder are not followed. Whether a file exists shows when it is read.

    Returns
    -------
    list of Input
        In the order given, files of a folder sorted; each once. A file of a folder keeps its place in it. The
        name of the audio file stays whole where two differ only in their endings, and of files of one name
        that lie in different places the place is kept.
    list of InputError
        Of folders that hold no audio.

    Raises
    ------
    InputError
        If two files would still get the same name.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.wav", "a.flac", "a.mp3", "notes.txt"):
    ...         (pathlib.Path(folder) / name).touch()
    ...     [each.stem for each in find_inputs([folder, "talk.opus", "-"])[0]]
    ['a.flac', 'a.mp3', 'b', 'talk', 'stdin']
    """
    # An absolute path names a file once, however it was given.
    found: dict[str, tuple[str, PurePath]] = {}
    faults: list[InputError] = []
    for each in given:
        try:
            for path, place in _expand(each):
                found.setdefault(path if path == STANDARD_INPUT else os.path.abspath(path), (path, place))
        except InputError as error:
            faults.append(error)
    twice = {stem for stem, count in Counter(place for _, place in found.values()).items() if count > 1}
    places = [(path, _below(path) if place in twice else place) for path, place in found.values()]
    plain = Counter(place.with_suffix("") for _, place in places)
    inputs: dict[str, Input] = {}
    for path, place in places:
        one = Input(path, str(place.with_suffix("") if plain[place.with_suffix("")] == 1 else place))
        if (other := inputs.setdefault(one.stem, one)) is not one:
            raise InputError(
                f"{other.path!r} and {path!r} would both be written to '{one.stem}': rename one of them"
            )
    return list(inputs.values()), faults


def _below(path: str) -> PurePath:
    """All of a path that can lie below a folder."""
    return PurePath(*PurePath(os.path.abspath(path)).parts[1:])


def _expand(given: str) -> Iterator[tuple[str, PurePath]]:
    """Paths and their places below the output folder."""
    if given == STANDARD_INPUT:
        yield given, PurePath("stdin")
    elif not given:
        raise InputError("a file's name is empty: is a variable unset?")
    elif os.path.isdir(given):
        inside = sorted(_audio_files(given))
        if not inside:
            raise InputError(
                f"folder {given!r} holds no audio file (.wav, .flac, .mp3, .opus, ...): give another"
            )
        for path in inside:
            yield path, PurePath(os.path.relpath(path, given))
    else:
        yield given, PurePath(os.path.basename(given.rstrip(os.sep)) or given)


def _unreadable(error: OSError) -> None:
    raise InputError(f"folder {error.filename!r} cannot be read ({error.strerror}): check its permissions")


def _audio_files(folder: str) -> Iterator[str]:
    for parent, _, names in os.walk(folder, onerror=_unreadable):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                yield os.path.join(parent, name)
