"""The head of a model card: what the Hugging Face hub reads of a bundle's README.md."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

LIBRARY = "hyperconformer"
RECOGNITION, TEXT_GENERATION = "automatic-speech-recognition", "text-generation"
TEXT_CLASSIFICATION = "text-classification"


class Result(NamedTuple):
    """A number of a test.

    Attributes
    ----------
    data : str
        What it was tested on.
    metric : str
        ``wer``, ``cer``, ``perplexity`` or ``accuracy``, as the hub calls it.
    said : str
        More about it.
    value : float

    Examples
    --------
    >>> Result("test-clean", "wer", "WER in percent, greedy", 2.9).value
    2.9
    """

    data: str
    metric: str
    said: str
    value: float


def wer_results(metrics: Mapping[str, Any]) -> Iterator[Result]:
    """Take the WERs from what ``metrics.json`` holds of a recogniser.

    Parameters
    ----------
    metrics : mapping

    Yields
    ------
    Result

    Examples
    --------
    >>> row = {"wer": 2.5, "low": 2.0, "high": 3.0}
    >>> [result.said for result in wer_results({"splits": {"test": {"greedy": row}}})]
    ['WER in percent, greedy, 95 % interval 2.00 to 3.00']
    """
    for split, rows in metrics["splits"].items():
        for search, row in rows.items():
            yield Result(split, "wer", f"WER in percent, {search}, {_interval(row)}", row["wer"])


def perplexity_results(metrics: Mapping[str, Any]) -> Iterator[Result]:
    """Take the perplexities from what ``metrics.json`` holds of a language model.

    Parameters
    ----------
    metrics : mapping

    Yields
    ------
    Result

    Examples
    --------
    >>> [result.value for result in perplexity_results({"texts": {"valid": {"perplexity_word": 80.0}}})]
    [80.0]
    """
    for text, row in metrics["texts"].items():
        yield Result(text, "perplexity", "perplexity per word", row["perplexity_word"])


def accuracy_results(metrics: Mapping[str, Any]) -> Iterator[Result]:
    """Take the accuracies from what ``metrics.json`` holds of a text classifier.

    Parameters
    ----------
    metrics : mapping

    Yields
    ------
    Result

    Examples
    --------
    >>> row = {"accuracy": 90.0, "low": 88.0, "high": 92.0}
    >>> [result.said for result in accuracy_results({"texts": {"test": row}})]
    ['accuracy in percent, 95 % interval 88.00 to 92.00']
    """
    for text, row in metrics["texts"].items():
        yield Result(text, "accuracy", f"accuracy in percent, {_interval(row)}", row["accuracy"])


def _interval(row: Mapping[str, float]) -> str:
    return f"95 % interval {row['low']:.2f} to {row['high']:.2f}"


def front_matter(
    name: str, task: str, results: Sequence[Result], *, tags: Sequence[str] = (), language: str | None = None
) -> str:
    """Write the head of a card.

    Whose the weights are, nobody here knows: the licence is ``unknown`` until their owner names one.

    Parameters
    ----------
    name : str
        Of the model.
    task : str
        What the hub calls what it does.
    results : sequence of Result
        Those that are no finite numbers are left out.
    tags : sequence of str
        Further words to be found by.
    language : str or None
        ISO 639-1 code, where it is known.

    Returns
    -------
    str
        YAML between two lines of dashes.

    Examples
    --------
    >>> print(front_matter("mini", RECOGNITION, [Result("test", "wer", "WER in percent, greedy", 2.9)]))
    ---
    license: unknown
    library_name: hyperconformer
    pipeline_tag: automatic-speech-recognition
    tags:
    - hyperconformer
    model-index:
    - name: mini
      results:
      - task:
          type: automatic-speech-recognition
        dataset:
          name: test
          type: test
        metrics:
        - type: wer
          name: WER in percent, greedy
          value: 2.9
    ---
    """
    head: dict[str, Any] = {"license": "unknown", "library_name": LIBRARY, "pipeline_tag": task}
    if language:
        head["language"] = language
    head["tags"] = [LIBRARY, *tags]
    listed = [_entry(task, result) for result in results if math.isfinite(result.value)]
    if listed:
        head["model-index"] = [{"name": name, "results": listed}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"


def _entry(task: str, result: Result) -> dict[str, Any]:
    return {
        "task": {"type": task},
        "dataset": {"name": result.data, "type": result.data},
        "metrics": [{"type": result.metric, "name": result.said, "value": result.value}],
    }
