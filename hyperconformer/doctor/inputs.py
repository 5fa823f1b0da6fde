"""A model folder and a data folder, as far as they can be tried."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from hyperconformer.doctor.findings import Finding, fault, ok
from hyperconformer.errors import InputError


def model(folder: Path) -> Iterator[Finding]:
    """Open a model and let it hear a second of noise.

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
    import numpy as np
    import soundfile

    from hyperconformer.constants import SAMPLE_RATE
    from hyperconformer.inference.transcriber import Transcriber

    try:
        transcriber = Transcriber.load(folder)
        with tempfile.TemporaryDirectory() as scratch:
            noise = 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
            soundfile.write(f"{scratch}/noise.wav", noise, SAMPLE_RATE)
            transcriber.transcribe(f"{scratch}/noise.wav")
    except InputError as error:
        yield fault("model", str(error))
        return
    weights = sum(parameter.numel() for parameter in transcriber.model.parameters())
    yield ok(
        "model", f"'{folder}' opens and hears: {weights:,} parameters, {transcriber.tokenizer.size} tokens"
    )


def data(folder: Path) -> Iterator[Finding]:
    """Check every split of a corpus in LibriSpeech's layout, and decode an utterance of each.

    Parameters
    ----------
    folder : Path

    Yields
    ------
    Finding

    Examples
    --------
    >>> [finding.level for finding in data(Path("no/such/corpus"))]
    ['FAULT']
    """
    from hyperconformer.audio import read_audio
    from hyperconformer.data.librispeech import existing_folder, scan_split

    try:
        corpus = existing_folder(folder)
    except InputError as error:
        yield fault("data", str(error))
        return
    transcripts = [
        path for within in ("", "LibriSpeech/") for path in corpus.glob(f"{within}*/*/*/*.trans.txt")
    ]
    splits = sorted({path.parents[2].name for path in transcripts})
    for split in splits:
        try:
            utterances = scan_split(corpus, split, progress=True)
            read_audio(utterances[0].path)
        except InputError as error:
            yield fault("data", str(error))
            continue
        hours = sum(utterance.seconds for utterance in utterances) / 3600
        speakers = len({utterance.speaker for utterance in utterances})
        yield ok("data", f"{split}: {len(utterances)} utterances, {hours:.2f} h, {speakers} speakers")
    if not splits:
        said = f"'{folder}' holds no split (<split>/<speaker>/<chapter>/*.trans.txt)"
        yield fault("data", said, "point --data_folder at the folder that holds the splits")
