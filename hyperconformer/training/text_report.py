"""What a classifier's run leaves behind for people: its closing table and its model card."""

from collections.abc import Mapping
from typing import Any

from hyperconformer.inference.card import TEXT_CLASSIFICATION, accuracy_results, front_matter


def closing_table(metrics: Mapping[str, Any]) -> str:
    """Render every split's accuracy, and how well texts of no class are known.

    Parameters
    ----------
    metrics : mapping
        What ``metrics.json`` holds.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"accuracy": 90.0, "low": 88.0, "high": 92.0, "macro_f1": 89.5, "texts": 1000}
    >>> print(closing_table({"texts": {"valid": row}, "strangers": {}}))
    accuracy of  accuracy %             95 %   macro-F1 %    texts
    valid             90.00    88.00 - 92.00        89.50     1000
    """
    width = max([13, *(len(name) + 2 for name in metrics["texts"])])
    lines = [f"{'accuracy of':<{width}}{'accuracy %':>10}{'95 %':>17}{'macro-F1 %':>13}{'texts':>9}"]
    for name, row in metrics["texts"].items():
        interval = f"{row['low']:.2f} - {row['high']:.2f}"
        lines.append(
            f"{name:<{width}}{row['accuracy']:>10.2f}{interval:>17}{row['macro_f1']:>13.2f}{row['texts']:>9}"
        )
    for name, row in metrics["strangers"].items():
        lines.append(
            f"{name}, {row['texts']} texts of no class: AUROC {row['auroc']:.2f} %; the threshold that keeps "
            f"95 % of valid keeps {row['kept']:.2f} % and rejects {row['rejected']:.2f} % of these"
        )
    return "\n".join(lines)


_EXAMPLES = {False: '"a text"', True: "$'first text\\tsecond text'"}


def model_card(metrics: Mapping[str, Any]) -> str:
    """Write a text classifier's README, with a head that the Hugging Face hub reads.

    Parameters
    ----------
    metrics : mapping
        What ``metrics.json`` holds.

    Returns
    -------
    str

    Examples
    --------
    >>> facts = dict.fromkeys(("name", "command", "commit", "hardware", "date", "corpus", "mixer"), "x")
    >>> facts |= dict.fromkeys(("parameters", "tokens", "output_neurons", "classes", "train_texts"), 7)
    >>> facts |= {"pairs": True, "seed": 1, "epochs": 2, "train_seconds": 60.0, "texts": {}, "strangers": {}}
    >>> "# x" in model_card(facts).splitlines()
    True
    """
    results = list(accuracy_results(metrics))
    head = front_matter(metrics["name"], TEXT_CLASSIFICATION, results, tags=[metrics["mixer"]])
    return f"""{head}
# {metrics["name"]}

A text classifier: {metrics["classes"]} classes, layers whose token mixer is `{metrics["mixer"]}`,
{metrics["parameters"]:,} parameters, {metrics["tokens"]} tokens ({metrics["output_neurons"]} output neurons).
Trained on {metrics["train_texts"]:,} texts of {metrics["corpus"]} for {metrics["epochs"]} epochs
with seed {metrics["seed"]}, in {metrics["train_seconds"] / 60:.2g} minutes.

```
{closing_table(metrics)}
```

`{metrics["command"]}`, commit {metrics["commit"] or "unknown"}, {metrics["hardware"]}, {metrics["date"]}.
The intervals are drawn over texts.

Use it, in this folder:

```bash
hyperconformer check .
hyperconformer classify --model . {_EXAMPLES[metrics["pairs"]]}
```

Opening it runs no code from it. Before you share it, say under which `license`, at the top.
"""
