"""What SpeechBrain's joint search is told: the options of ours that it has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError
from hyperconformer.inference.trained import trained_options

TOLD = (
    "beam_size",
    "ctc_weight",
    "temperature",
    "length_normalization",
    "min_decode_ratio",
    "max_decode_ratio",
    "eos_threshold",
)
"""The options that go with a model; language models, n-grams and hotwords do not."""


def search_options(model: Path, given: Mapping[str, Any]) -> SearchOptions:
    """Complete what was given by what the model was tested with.

    Parameters
    ----------
    model : Path
        Model folder.
    given : mapping of str to value
        Options by name.

    Returns
    -------
    SearchOptions

    Raises
    ------
    InputError
        If a value is out of range, or SpeechBrain's search does something else with it.

    Examples
    --------
    >>> search_options(Path("model"), {"beam_size": 4}).beam_size
    4
    >>> search_options(Path("model"), {"ctc_weight": 1.0})
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ctc_weight 1 cannot be exported, SpeechBrain's search then adds each \
step to the ones before: give --ctc_weight below 1
    """
    try:
        options = SearchOptions(**{**trained_options(model, "joint"), **given})
    except ValueError as error:
        raise InputError(str(error)) from error
    if options.ctc_weight == 1:
        raise InputError(
            "ctc_weight 1 cannot be exported, SpeechBrain's search then adds each step to the ones before: "
            "give --ctc_weight below 1"
        )
    return options
