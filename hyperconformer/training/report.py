"""What a run leaves behind for people: metrics and a model card."""

from typing import Any

from hyperconformer.data.archives import ARCHIVES
from hyperconformer.decoding.options import HEEDED
from hyperconformer.inference.card import RECOGNITION, front_matter, wer_results
from hyperconformer.models.asr import ASR
from hyperconformer.provenance import environment
from hyperconformer.training.settings import Settings
from hyperconformer.wer_tables import Metrics, closing_table


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
        "language": _language(settings),
        "epochs": settings.number_of_epochs,
        "train_hours": train_hours,
        "audio_hours": audio_hours,
        "decode": {search: _dials(settings, search) for search in settings.decode},
        "splits": metrics,
    }


def _language(settings: Settings) -> str | None:
    """English where the corpus is known to be; other corpora lie in LibriSpeech's layout too."""
    known = settings.corpus == "mini" or all(split in ARCHIVES for split in settings.train_splits)
    return "en" if known and settings.train_splits else None


DIALS = {
    "beam_size": "beam_size",
    "ctc_weight_decode": "ctc_weight",
    "max_decode_ratio": "max_decode_ratio",
    "length_normalization": "length_normalization",
}
"""Settings that are told of a search that heeds them, by the names that its options have."""
PARTNER = ("language_model", "lm_weight", "lm_temperature")
"""Those of a language model, where one was asked."""


def _dials(settings: Settings, search: str) -> dict[str, Any]:
    """What a search's result depends on."""
    asked = PARTNER if settings.lm_weight and "lm_weight" in HEEDED[search] else ()
    heeded = [dial for dial, option in DIALS.items() if option in HEEDED[search]]
    return {dial: getattr(settings, dial) for dial in (*heeded, *asked)}


def model_card(metrics: dict[str, Any]) -> str:
    """Write a bundle's README, with a head that the Hugging Face hub reads.

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
    >>> "# mini" in card.splitlines(), "pipeline_tag: automatic-speech-recognition" in card
    (True, True)
    """
    trained_on = ", ".join(metrics["train_splits"])
    head = front_matter(
        metrics["name"],
        RECOGNITION,
        list(wer_results(metrics)),
        tags=["speech", "ctc", metrics["mixer"]],
        language=metrics.get("language"),
    )
    took = f", in {metrics['train_hours']:.2g} hours" if metrics["train_hours"] else ""
    return f"""{head}
# {metrics["name"]}

A speech recogniser: a Conformer encoder whose token mixer is `{metrics["mixer"]}`,
{metrics["parameters"]:,} parameters, {metrics["tokens"]} tokens ({metrics["output_neurons"]} output neurons).
Trained on {trained_on} for {metrics["epochs"]} epochs with seed {metrics["seed"]}{took}.

```
{closing_table(metrics["splits"])}
```

`{metrics["command"]}`, commit {metrics["commit"] or "unknown"}, {metrics["hardware"]}, {metrics["date"]}.
The intervals are drawn over speakers; S, D and I are words substituted, deleted and inserted.

Use it, in this folder or from the hub:

```bash
hyperconformer check .
hyperconformer transcribe --model . speech.flac
hyperconformer transcribe --model hf://OWNER/NAME@COMMIT speech.flac
```

```python
from hyperconformer.inference.transcriber import Transcriber

print(Transcriber.load(".").transcribe("speech.flac").text)
```

Opening it runs no code from it. Before you share it, say under which `license`, at the top.
"""
