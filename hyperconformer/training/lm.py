"""Training a language model: from a recipe to a folder that search and rescoring can open."""

from typing import Any

from hyperconformer.data.token_batches import TokenLoader
from hyperconformer.data.tokens import TokenBatch, TokenText
from hyperconformer.errors import InputError
from hyperconformer.inference.card import TEXT_GENERATION, front_matter, perplexity_results
from hyperconformer.inference.language_model_bundle import save_language_model
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.provenance import environment
from hyperconformer.training import distributed
from hyperconformer.training.experiment import open_folder, record_settings
from hyperconformer.training.lm_brain import LanguageModelBrain
from hyperconformer.training.lm_settings import LanguageModelSettings
from hyperconformer.training.lm_text import Texts, prepare_texts
from hyperconformer.training.setup import token_loader
from hyperconformer.training.task import Task

Metrics = dict[str, Any]


class LanguageModelTask(Task[LanguageModelSettings, LanguageModel, Texts, LanguageModelBrain]):
    """Train by cross-entropy on a text, validate and test by perplexity.

    Examples
    --------
    >>> LanguageModelTask.settings_type.__name__
    'LanguageModelSettings'
    """

    settings_type = LanguageModelSettings

    def make_model(self) -> LanguageModel:
        """Build the language model."""
        if "record" in self.run_options:
            raise InputError(
                "--record keeps word error rates: a language model's perplexities are in metrics.json"
            )
        try:
            return LanguageModel(self.settings.model)
        except ValueError as error:
            raise InputError(str(error)) from error

    def prepare(self) -> Texts:
        """Encode the texts into the run's folder."""
        open_folder(self.settings)
        texts = prepare_texts(self.settings, debug=self.debug)
        record_settings(self.settings)
        return texts

    def make_brain(self, model: LanguageModel, data: Texts) -> LanguageModelBrain:
        """Bring the language model to its device."""
        brain = LanguageModelBrain(model, self.settings, self.run_options)
        brain.data_key = data.train.key
        if self.run_options.get("compile", False):
            model.compile(dynamic=True)
        return brain

    def train_loader(self, data: Texts) -> TokenLoader[TokenBatch]:
        """Batches in a new order every epoch."""
        return self._loader(data.train, shuffle=True)

    def valid_loader(self, data: Texts) -> TokenLoader[TokenBatch]:
        """The validation text from long to short."""
        return self._loader(data.valid, shuffle=False)

    def _loader(self, text: TokenText, *, shuffle: bool) -> TokenLoader[TokenBatch]:
        most = self.settings.max_batch_tokens
        return token_loader(text, text.lengths, self.settings, max_batch_tokens=most, shuffle=shuffle)

    def finish(self, brain: LanguageModelBrain, data: Texts) -> Metrics:
        """Measure the perplexity of the validation text and every test text; write the model folder."""
        results = {}
        for name, text in {"valid": data.valid, **data.tests}.items():
            brain.evaluate(self._loader(text, shuffle=False))
            results[name] = {**brain.row(), "left_out": text.facts.strange}
        if not distributed.is_main():
            return {}
        metrics = {
            "name": self.settings.name,
            "seed": self.settings.seed,
            **environment(),
            "parameters": sum(parameter.numel() for parameter in brain.model.parameters()),
            "tokens": data.tokenizer.size,
            "output_neurons": self.settings.model.output_neurons,
            "text": self.settings.text,
            "train_words": data.train.facts.words,
            "epochs": self.settings.number_of_epochs,
            "train_hours": brain.progress.total_seconds / 3600,
            "texts": results,
        }
        folder = self.settings.folder / "model"
        save_language_model(folder, brain.model, data.tokenizer, metrics=metrics, card=model_card(metrics))
        print(closing_table(results))
        return metrics


def closing_table(results: dict[str, Metrics]) -> str:
    """Render every text's perplexities.

    Parameters
    ----------
    results : dict
        By text.

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"sentences": 9, "words": 100, "perplexity_token": 5.0, "perplexity_word": 80.0}
    >>> bad = {"sentences": 9, "words": 10**8, "perplexity_token": 99999.0, "perplexity_word": 123456789.0}
    >>> print(closing_table({"valid": row, "strange": bad}))
    perplexity of    a token      a word  sentences        words
    valid               5.00        80.0          9          100
    strange         99999.00    1.23e+08          9    100000000
    """
    width = max([13, *map(len, results)])
    lines = [f"{'perplexity of':<{width}}{'a token':>11}{'a word':>12}{'sentences':>11}{'words':>13}"]
    for name, row in results.items():
        token, word = _short(row["perplexity_token"], 2), _short(row["perplexity_word"], 1)
        lines.append(f"{name:<{width}}{token:>11}{word:>12}{row['sentences']:>11}{row['words']:>13}")
    return "\n".join(lines)


def _short(perplexity: float, digits: int) -> str:
    """At most nine characters: what is huge, a model that has learnt nothing, as a power of ten."""
    return f"{perplexity:.{digits}f}" if perplexity < 1e6 else f"{perplexity:.2e}"


def model_card(metrics: Metrics) -> str:
    """Write a language model's README, with a head that the Hugging Face hub reads.

    Parameters
    ----------
    metrics : dict
        What ``metrics.json`` holds.

    Returns
    -------
    str

    Examples
    --------
    >>> facts = dict.fromkeys(("name", "command", "commit", "hardware", "date", "seed", "epochs"), "x")
    >>> numbers = dict.fromkeys(("parameters", "tokens", "output_neurons", "train_words", "train_hours"), 7)
    >>> "# x" in model_card({**facts, **numbers, "text": ["a.txt"], "texts": {}}).splitlines()
    True
    """
    sources = ", ".join(metrics["text"])
    head = front_matter(metrics["name"], TEXT_GENERATION, list(perplexity_results(metrics)))
    return f"""{head}
# {metrics["name"]}

A language model: a causal Transformer over subword tokens, {metrics["parameters"]:,} parameters,
{metrics["tokens"]} tokens ({metrics["output_neurons"]} output neurons).
Trained on {metrics["train_words"]:,} words of {sources} for {metrics["epochs"]} epochs
with seed {metrics["seed"]}, in {metrics["train_hours"]:.2g} hours.

```
{closing_table(metrics["texts"])}
```

Use it beside a recogniser with the same tokens: `hyperconformer evaluate MODEL ... --lm . --lm_weight 0.3`.
Before you share it, say under which `license`, at the top.

The end of a sentence counts as a token and as a word; words are spelt, so none is unknown.
`{metrics["command"]}`, commit {metrics["commit"] or "unknown"}, {metrics["hardware"]}, {metrics["date"]}.
"""
