"""A model folder and a data folder, as far as they can be tried."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hyperconformer.doctor.findings import Finding, fault, ok
from hyperconformer.errors import InputError
from hyperconformer.types import Utterance


def model(folder: Path) -> Iterator[Finding]:
    """Open a model, with every check, and let a recogniser hear a second of noise.

    Parameters
    ----------
    folder : Path
        What training wrote.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.said for finding in model(Path("no/such/model"))]
    ["model 'no/such/model' is not a folder: give the 'model' folder that training wrote"]
    """
    from hyperconformer.inference.bundle_check import FORMAT, KINDS
    from hyperconformer.inference.bundle_summary import summarise

    try:
        found = summarise(folder)
        hears = found.kind == KINDS[FORMAT]
        if hears:
            _hear(folder)
    except InputError as error:
        yield fault("model", str(error))
        return
    does = "opens and hears" if hears else f"is {found.kind}, and opens"
    yield ok("model", f"'{folder}' {does}: {found.parameters:,} parameters, {found.tokens} tokens")


def _hear(folder: Path) -> None:
    import numpy as np
    import soundfile

    from hyperconformer.constants import SAMPLE_RATE
    from hyperconformer.inference.transcriber import Transcriber

    transcriber = Transcriber.load(folder)
    with tempfile.TemporaryDirectory() as scratch:
        noise = 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
        soundfile.write(f"{scratch}/noise.wav", noise, SAMPLE_RATE)
        transcriber.transcribe(f"{scratch}/noise.wav")


def data(folder: Path) -> Iterator[Finding]:
    """Check every split of a corpus, and decode an utterance of each.

    Parameters
    ----------
    folder : Path
        In LibriSpeech's layout, or with a manifest ``<split>.csv`` for each split.

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.level for finding in data(Path("no/such/corpus"))]
    ['FAULT']
    """
    from hyperconformer.data.librispeech import existing_folder, scan_split
    from hyperconformer.data.manifest import read_manifest

    try:
        corpus = existing_folder(folder)
    except InputError as error:
        yield fault("data", str(error))
        return
    layout = [path for within in ("", "LibriSpeech/") for path in corpus.glob(f"{within}*/*/*/*.trans.txt")]
    for split in sorted({path.parents[2].name for path in layout}):
        yield _split(corpus, split, partial(scan_split, corpus, split, progress=True))
    manifests = sorted(corpus.glob("*.csv"))
    for manifest in manifests:
        yield _split(corpus, manifest.stem, partial(read_manifest, manifest))
    if not layout and not manifests:
        said = f"'{folder}' holds no split: no <split>/<speaker>/<chapter>/*.trans.txt and no <split>.csv"
        yield fault("data", said, "point --data_folder at the folder that holds the splits")


def _split(folder: Path, split: str, read: Callable[[], Sequence[Utterance]]) -> Finding:
    from hyperconformer.audio import read_audio

    try:
        utterances = read()
        for utterance in utterances[:1]:
            # In a manifest paths may be relative to its folder.
            read_audio(folder / utterance.path)
    except InputError as error:
        return fault("data", str(error))
    if not utterances:
        return fault("data", f"{split}: no utterances", "prepare it again")
    hours = sum(utterance.seconds for utterance in utterances) / 3600
    speakers = len({utterance.speaker for utterance in utterances})
    return ok("data", f"{split}: {len(utterances)} utterances, {hours:.2f} h, {speakers} speakers")
