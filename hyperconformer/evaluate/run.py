"""A test: every split by every search, scored, timed, and left behind in files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hyperconformer.calibration import calibration_of, judge, reliability_table
from hyperconformer.decoding.confidence import Calibration, fit_calibration
from hyperconformer.decoding.options import HEEDED, SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.evaluate.corpus import read_splits
from hyperconformer.evaluate.gather import Heard, gather
from hyperconformer.evaluate.record import record_test
from hyperconformer.evaluate.settings import Settings
from hyperconformer.evaluate.task import Answer, Asked, Said
from hyperconformer.inference.calibrating import CALIBRATION, save_calibrations
from hyperconformer.inference.trained import dials, spell
from hyperconformer.provenance import environment
from hyperconformer.scoring import report_row, score
from hyperconformer.tables import check_file
from hyperconformer.wer_files import Trial, find_trials, remove_trials, write_results
from hyperconformer.wer_tables import Column, closing_table

SPEED = (
    Column("encode x", lambda row: f"{row['encode_x']:.0f}"),
    Column("search x", lambda row: f"{row['search_x']:.0f}"),
    Column("total x", lambda row: f"{row['total_x']:.0f}"),
)
LEGEND = "x: seconds of audio a second, heard (encode), searched, and both with the wait for audio (total)"
SUMMARY = "evaluate.json"
DIGITS = 6
_WORDS = ("ngram", "words")
"""Parts that go together, and have a weight each."""


def evaluate(settings: Settings) -> int:
    """Decode, score, and say how good and how fast it was.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    int
        1 if some audio could not be decoded, else 0.

    Raises
    ------
    InputError
        If the model or the data cannot be used, or a result not be written.

    Examples
    --------
    >>> evaluate(Settings("model", "/nowhere", ("dev-clean",)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder '/nowhere' does not exist or is no folder: point ...
    """
    if settings.record:
        check_file("--record", Path(settings.record))
    if settings.output_dir:
        check_output(Path(settings.output_dir), settings)
    options = {decode: settings.combinations(decode)[0] for decode in settings.decode}
    chosen = {decode: dials(options[decode], HEEDED[decode]) for decode in settings.decode}
    for decode in settings.decode:
        print(spell(decode, chosen[decode]))
    corpus = read_splits(
        Path(settings.data_folder), settings.splits, limit=settings.limit, progress=settings.progress
    )
    heard = gather(settings, corpus, [Asked(*each) for each in options.items()])
    metrics = _all_results(heard, settings, options)
    print(closing_table(metrics, SPEED))
    print(LEGEND)
    found = {
        "model": settings.source or settings.model,
        **environment(),
        "options": {decode: asdict(of_search) for decode, of_search in options.items()},
        "dials": {decode: _models(settings, decode) | chosen[decode] for decode in settings.decode},
        "splits": metrics,
    }
    if settings.output_dir:
        path = Path(settings.output_dir) / SUMMARY
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(f"-> {path.parent}")
        if settings.fit_calibration:
            save_calibrations(path.with_name(CALIBRATION), _fitted(settings.decode, heard))
    if settings.record:
        record_test(Path(settings.record), found)
    return 1 if any(of_split.faults for of_split in heard.values()) else 0


def check_output(folder: Path, settings: Settings) -> None:
    """Make the folder of the results, and refuse one that holds others which these do not replace.

    Parameters
    ----------
    folder : Path
    settings : Settings

    Raises
    ------
    InputError
        If it cannot be written, holds those of a training run's own test, which ``compare`` could not tell
        from the new ones, or those of another split, of which ``evaluate.json`` would say nothing any more.

    Examples
    --------
    >>> check_output(Path("/proc/results"), Settings("model", "data", ("dev",)))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --output_dir '/proc/results' cannot be written (...): choose another ...
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"--output_dir '{folder}' cannot be written ({reason}): choose another folder"
        ) from error
    for trial, path in find_trials(folder).items():
        if trial.split not in settings.splits and (folder / SUMMARY).exists():
            raise InputError(
                f"--output_dir '{folder}' holds a test of {trial.split}, which this one does not replace: "
                f"choose another folder, or test {trial.split} as well"
            )
        if trial.split in settings.splits and path.stem != _stem(trial):
            raise InputError(
                f"--output_dir '{folder}' holds the results of a run's own test ({path.name}): choose another"
            )


def _stem(trial: Trial) -> str:
    return f"wer_{trial.split}_{trial.search}"


def _models(settings: Settings, decode: str) -> dict[str, Any]:
    """What helps a search."""
    if decode == "greedy":
        return {}
    named = {"lm": settings.lm, "ngram": settings.ngram, "hotwords": settings.hotwords}
    return {name: path for name, path in named.items() if path is not None}


def _all_results(
    heard: Mapping[str, Heard], settings: Settings, options: Mapping[str, SearchOptions]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Score all splits of which some audio could be decoded; of the others nothing older stays either."""
    if settings.output_dir:
        for split in heard:
            remove_trials(Path(settings.output_dir), split)
    return {
        split: _results(split, of_split, settings, options)
        for split, of_split in heard.items()
        if of_split.utterances
    }


def _results(
    split: str, heard: Heard, settings: Settings, options: Mapping[str, SearchOptions]
) -> dict[str, dict[str, Any]]:
    """Score every search of a split, and write its files if there is a folder for them."""
    rows: dict[str, dict[str, Any]] = {}
    for place, (decode, answers) in enumerate(zip(settings.decode, heard.answers, strict=True)):
        report = score([(u, answers[u.id].text) for u in heard.utterances], split)
        if settings.output_dir:
            trial = Trial(split, decode)
            further = {
                name: details(heard.seconds[name], answer, options[decode])
                for name, answer in answers.items()
            }
            write_results(report, trial, Path(settings.output_dir) / f"{_stem(trial)}.txt", further)
        rows[decode] = {
            **report_row(report),
            "unreadable": len(heard.faults),
            "audio_seconds": round(sum(heard.seconds.values()), 3),
            "jobs": settings.jobs,
            "encode_x": heard.rate("encode"),
            "search_x": heard.rate(str(place)),
            "total_x": heard.rate("wait", "encode", str(place)),
        }
        if settings.word_timestamps and any(answer.words for answer in answers.values()):
            judged = calibration_of((each, answers[each.id].words or ()) for each in report.utterances)
            rows[decode]["calibration_error"] = round(judged.ece, DIGITS)
            print(f"confidences of {split}, {decode}:\n{reliability_table(judged)}")
    return rows


def _fitted(decodes: Sequence[str], heard: Mapping[str, Heard]) -> dict[str, Calibration]:
    """What the confidences of each search are worth, by all splits."""
    fitted = {}
    for place, decode in enumerate(decodes):
        judged: list[tuple[float, bool]] = []
        for split, of_split in heard.items():
            answers = of_split.answers[place]
            report = score([(u, answers[u.id].text) for u in of_split.utterances], split)
            for each in report.utterances:
                judged += judge(each, answers[each.id].words or ())
        fitted[decode] = fit_calibration([sure for sure, _ in judged], [right for _, right in judged])
    return fitted


def details(seconds: float, answer: Answer, options: SearchOptions) -> dict[str, Any]:
    """What the line of an utterance says beside its words.

    Parameters
    ----------
    seconds : float
        Its duration.
    answer : Answer
    options : SearchOptions
        Of its search.

    Returns
    -------
    dict

    Examples
    --------
    >>> from hyperconformer.evaluate.task import Said
    >>> details(1.5, Answer((Said("ONE", -0.5, {"ctc": -0.5}),)), SearchOptions())
    {'seconds': 1.5, 'score': -0.5, 'parts': {'ctc': -0.5}}
    """
    found: dict[str, Any] = {"seconds": seconds, **_scores(answer.nbest[0], options)}
    if len(answer.nbest) > 1:
        found["nbest"] = [{"text": said.text, **_scores(said, options)} for said in answer.nbest]
    if answer.words is not None:
        found["words"] = [
            {
                "word": word.text,
                "start": round(word.start, 3),
                "end": round(word.end, 3),
                "confidence": round(word.confidence, 4),
            }
            for word in answer.words
        ]
    return found


def _scores(said: Said, options: SearchOptions) -> dict[str, Any]:
    """A hypothesis's score and its parts, without those of words that have no weight."""
    parts = {
        name: round(part, DIGITS)
        for name, part in said.parts.items()
        if name not in _WORDS or options.weight(name)
    }
    return {"score": round(said.score, DIGITS), "parts": parts}
