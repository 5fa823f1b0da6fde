"""The utterances of a test: of splits in LibriSpeech's layout, or of prepared manifests."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hyperconformer.audio import audio_seconds
from hyperconformer.data.librispeech import existing_folder, scan_split, splits_in
from hyperconformer.data.manifest import read_manifest
from hyperconformer.data.missing import no_split
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance


def read_splits(
    data_folder: Path | None, splits: Sequence[str], *, limit: int | None = None, progress: bool = False
) -> dict[str, list[Utterance]]:
    """List the utterances of splits; audio that cannot be read is left for its reader to complain of.

    Parameters
    ----------
    data_folder : Path or None
        Holds a manifest ``<split>.csv``, or else a folder ``<split>`` in LibriSpeech's layout.
    splits : sequence of str
    limit : int or None
        Take the first ones by id.
    progress : bool
        Show bars.

    Returns
    -------
    dict of str to list of Utterance
        By split, sorted by id. Audio whose length is not known has 0 seconds.

    Raises
    ------
    InputError
        If a split is missing, faulty, empty, or named twice.

    Examples
    --------
    >>> read_splits(Path("/nowhere"), ["dev-clean"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder '/nowhere' does not exist or is no folder: point ...
    """
    corpus = existing_folder(data_folder)
    manifests = sorted(path.stem for path in corpus.glob("*.csv"))
    found: dict[str, list[Utterance]] = {}
    for split in splits:
        if split in found:
            raise InputError(f"split {split!r} is named twice: name it once")
        manifest = corpus / f"{split}.csv"
        if manifest.is_file():
            # Paths in a manifest may begin at its folder.
            rows = [replace(row, path=str(corpus / row.path)) for row in read_manifest(manifest)]
        elif manifests and split not in (folders := splits_in(corpus)):
            raise no_split(corpus, split, sorted({*folders, *manifests}))
        else:
            rows = scan_split(corpus, split, measure=_seconds, progress=progress)
        if not rows:
            raise InputError(f"manifest {str(manifest)!r} has no utterances: prepare it again")
        found[split] = sorted(rows, key=lambda utterance: utterance.id)[:limit]
    return found


def _seconds(path: Path) -> float:
    try:
        return audio_seconds(path)
    except InputError:
        return 0.0
