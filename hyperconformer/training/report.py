"""What a run leaves behind for people: WER files, metrics, a model card and a closing table."""

from pathlib import Path
from typing import Any

from hyperconformer.models.asr import ASR
from hyperconformer.scoring import report_row, score
from hyperconformer.training.brain import Pairs
from hyperconformer.training.experiment import environment
from hyperconformer.training.settings import Settings
from hyperconformer.wer_files import Trial, file_stem, remove_trials, write_results

Metrics = dict[str, dict[str, dict[str, Any]]]


def report_split(split: str, decoded: dict[str, Pairs], folder: Path) -> dict[str, dict[str, Any]]:
    """Score what each search decoded; write its alignments, and its words for programs.

    The last search writes ``wer_<split>.txt`` and ``.jsonl``, the others ``wer_<split>_<search>.*``. What an
    earlier test of the split left goes, so that the folder holds results of the same weights.

    Parameters
    ----------
    split : str
    decoded : dict of str to list of (Utterance, str)
        By search.
    folder : Path
        The run's output folder.

    Returns
    -------
    dict of str to dict
        By search: WER in percent with its 95 % interval, and the counts.

    Examples
    --------
    >>> report_split("test", {}, Path("."))
    {}
    """
    reports = {search: score(pairs, split) for search, pairs in decoded.items()}
    remove_trials(folder, split)
    for search, report in reports.items():
        trial = Trial(split, search)
        write_results(report, trial, folder / f"{file_stem(trial, list(decoded)[-1])}.txt")
    return {search: report_row(report) for search, report in reports.items()}


def closing_table(metrics: Metrics) -> str:
    """Render every split's and search's WER with what it is made of.

    Parameters
    ----------
    metrics : dict
        By split, then by search.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"wer": 3.0, "low": 2.0, "high": 4.0, "words": 100, "utterances": 9}
    >>> row |= {"substitutions": 2, "deletions": 1, "insertions": 0}
    >>> print(closing_table({"test-mini": {"greedy": row}}))
    split           search     WER %   95 % interval      S      D      I    words
    test-mini       greedy      3.00     2.00 - 4.00      2      1      0      100
    """
    lines = [
        f"{'split':<16}{'search':<8}{'WER %':>8}{'95 % interval':>16}{'S':>7}{'D':>7}{'I':>7}{'words':>9}"
    ]
    for split, rows in metrics.items():
        for search, row in rows.items():
            interval = f"{row['low']:.2f} - {row['high']:.2f}"
            kinds = "".join(f"{row[kind]:>7}" for kind in ("substitutions", "deletions", "insertions"))
            # The space between columns stays where a name is longer than its column.
            names = f"{split:<15} {search:<7} "
            lines.append(f"{names}{row['wer']:>8.2f}{interval:>16}{kinds}{row['words']:>9}")
    return "\n".join(lines)


def run_metrics(
    settings: Settings,
    model: ASR,
    pieces: int,
    metrics: Metrics,
    *,
    train_hours: float | None = None,
    audio_hours: float | None = None,
) -> dict[str, Any]:
    """Gather what ``metrics.json`` holds.

    Parameters
    ----------
    settings : Settings
    model : ASR
    pieces : int
        Tokens in the tokenizer.
    metrics : dict
        By split, then by search.
    train_hours : float or None
        Hours that the training took, all calls of a continued run together.
    audio_hours : float or None
        Hours of audio in the training set.

    Returns
    -------
    dict

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {"seed": 3, "decode": ["greedy", "joint"]})
    >>> found = run_metrics(settings, ASR(settings.model), 150, {}, train_hours=0.1)
    >>> found["tokens"], found["train_hours"], found["decode"]["joint"]["beam_size"]
    (150, 0.1, 10)
    """
    return {
        "name": settings.name,
        "seed": settings.seed,
        **environment(),
        "mixer": settings.model.mixer,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens": pieces,
        "output_neurons": settings.model.output_neurons,
        "train_splits": settings.train_splits,
        "epochs": settings.number_of_epochs,
        "train_hours": train_hours,
        "audio_hours": audio_hours,
        "decode": {search: _dials(settings, search) for search in settings.decode},
        "splits": metrics,
    }


def _dials(settings: Settings, search: str) -> dict[str, Any]:
    """The settings that a search heeds."""
    known = ("beam_size", "ctc_weight_decode", "length_normalization", "lm_weight")
    dials = () if search == "greedy" else known
    return {dial: getattr(settings, dial) for dial in dials}


def model_card(metrics: dict[str, Any]) -> str:
    """Write a bundle's README.

    Parameters
    ----------
    metrics : dict
        From :func:`run_metrics`.

    Returns
    -------
    str

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {})
    >>> card = model_card(run_metrics(settings, ASR(settings.model), 40, {}))
    >>> card.splitlines()[0]
    '# mini'
    """
    trained_on = ", ".join(metrics["train_splits"])
    took = f", in {metrics['train_hours']:.2g} hours" if metrics["train_hours"] else ""
    return f"""# {metrics["name"]}

A speech recogniser: a Conformer encoder whose token mixer is `{metrics["mixer"]}`,
{metrics["parameters"]:,} parameters, {metrics["tokens"]} tokens ({metrics["output_neurons"]} output neurons).
Trained on {trained_on} for {metrics["epochs"]} epochs with seed {metrics["seed"]}{took}.

```
{closing_table(metrics["splits"])}
```

`{metrics["command"]}`, commit {metrics["commit"] or "unknown"}, {metrics["hardware"]}, {metrics["date"]}.
The intervals are drawn over speakers; S, D and I are words substituted, deleted and inserted.

Use it: `hyperconformer transcribe --model THIS_FOLDER speech.flac` (decodes greedily).
"""
