"""A model bundle as a folder that SpeechBrain's inference opens."""

from pathlib import Path
from typing import Any

import torch

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.export.folder import new_folder
from hyperconformer.export.speechbrain_yaml import hyperparams
from hyperconformer.features import MIN_STD_DB
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.speechbrain_sources import MODELS, NORMALIZER, SETTINGS, TOKENIZER
from hyperconformer.models.asr import ASR
from hyperconformer.models.speechbrain_compat import to_speechbrain

# The statistics count as measured on so many frames: more training leaves them as they are.
_MANY_FRAMES = 1_000_000_000


def _their_statistics(model: ASR) -> dict[str, Any]:
    """Content of ``normalizer.ckpt``; versions before 1.1 want the three empty tables."""
    measured = {
        "count": _MANY_FRAMES,
        "glob_mean": model.normalizer.mean.clone(),
        "glob_std": model.normalizer.std.clamp(min=MIN_STD_DB),
    }
    return measured | {f"spk_dict_{name}": {} for name in ("mean", "std", "count")}


def export_folder(bundle: Path | str, out: Path | str, options: SearchOptions | None = None) -> Path:
    """Write a model bundle as a folder that SpeechBrain's ``EncoderDecoderASR.from_hparams`` opens.

    Parameters
    ----------
    bundle : Path or str
        The model folder.
    out : Path or str
        A new folder for ``model.ckpt``, ``normalizer.ckpt``, ``tokenizer.ckpt`` and what is built of them,
        ``hyperparams.yaml``.
    options : SearchOptions or None
        Of its joint search, which hears no other model; None takes the defaults.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    InputError
        If the bundle cannot be opened, SpeechBrain has no such model, or the folder is not new.

    Examples
    --------
    >>> export_folder("no/such/model", "folder")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    bundle, out = Path(bundle), Path(out)
    model, tokenizer = load_bundle(bundle)
    try:
        state = to_speechbrain(model)
    except InputError as error:
        raise InputError(f"model '{bundle}': {error}") from error
    with new_folder(out) as draft:
        settings = hyperparams(model.config, tokenizer.size, options or SearchOptions())
        torch.save(state, draft / MODELS[0])
        torch.save(_their_statistics(model), draft / NORMALIZER)
        tokenizer.save(draft / TOKENIZER)
        (draft / SETTINGS).write_text(settings, encoding="utf-8")
    return out
