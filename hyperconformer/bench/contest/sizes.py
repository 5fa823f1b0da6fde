"""Systems of equal size, by the width of their feed-forward networks."""

import json
from functools import cache

from hyperconformer.bench.contest.entries import Entry
from hyperconformer.bench.contest.task import MODULES
from hyperconformer.bench.trainings.sizes import Unequal, as_large, weights_of
from hyperconformer.errors import InputError
from hyperconformer.models.config import ModelConfig, with_mixer

# How far the weights of a whole recogniser may be from the reference's.
TOLERANCE = 0.03
MULTIPLE = 8
"""Of which a width is one: it suits hardware, and heads that share the hypernetworks of SpeechBrain's."""


def count_weights(config: ModelConfig, modules: str) -> int:
    """Count the weights of a recogniser, without any memory for them.

    Parameters
    ----------
    config : ModelConfig
    modules : {"ours", "speechbrain"}

    Returns
    -------
    int

    Raises
    ------
    InputError
        If sizes do not go together.

    Examples
    --------
    >>> config = ModelConfig(output_neurons=5000)
    >>> count_weights(config, "ours"), count_weights(config, "speechbrain")
    (7924832, 7924832)
    """
    return _count(json.dumps(config.to_dict(), sort_keys=True), modules)


@cache
def _count(said: str, modules: str) -> int:
    """Count once what seeds ask again and again."""
    try:
        return weights_of(lambda: MODULES[modules](ModelConfig.from_dict(json.loads(said))))
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error


def entry_config(template: ModelConfig, entry: Entry) -> ModelConfig:
    """Make a system's model of a recipe's, before its size is changed.

    Parameters
    ----------
    template : ModelConfig
        The recipe's; the options of its mixer hold for that mixer alone.
    entry : Entry

    Returns
    -------
    ModelConfig

    Raises
    ------
    InputError
        If an option does not exist, or sizes cannot be.

    Examples
    --------
    >>> template = ModelConfig(output_neurons=30, mixer_options={"tied": True})
    >>> entry_config(template, Entry("fan", {"mixer_options": {"init": "fan"}})).mixer_options["tied"]
    True
    >>> entry_config(template, Entry("attention", {"mixer": "attention"})).mixer_options
    {'dropout': 0.0}
    """
    keys = {key: value for key, value in entry.keys.items() if key in ModelConfig.__dataclass_fields__}
    mixer, options = keys.pop("mixer", template.mixer), keys.pop("mixer_options", {})
    try:
        return with_mixer(template, mixer, options, **keys)
    except ValueError as error:
        raise InputError(f"{entry.name}: {error}") from error


def equal_config(template: ModelConfig, entry: Entry, reference: Entry) -> ModelConfig:
    """Make a system's model with feed-forward networks that make it as large as the reference's.

    Parameters
    ----------
    template : ModelConfig
        The recipe's.
    entry, reference : Entry

    Returns
    -------
    ModelConfig
        Its weights are within :data:`TOLERANCE` of the reference's.

    Raises
    ------
    Unequal
        If that cannot be.

    Examples
    --------
    >>> template = ModelConfig(output_neurons=300, d_model=128, nhead=4, d_ffn=384, num_encoder_layers=4)
    >>> ours, identity = Entry("ours", {}), Entry("identity", {"mixer": "identity"})
    >>> [equal_config(template, entry, ours).d_ffn for entry in (ours, identity)]
    [384, 440]
    """
    config = entry_config(template, reference)
    wanted = count_weights(config, reference.modules)
    if entry == reference:
        return config
    config = entry_config(template, entry)
    config, more = as_large(config, lambda one: count_weights(one, entry.modules), wanted, MULTIPLE)
    if abs(more) > TOLERANCE:
        raise Unequal(
            f"{entry.name} has {more:+.1%} weights, more than {TOLERANCE:.0%} off: change its sizes"
        )
    return config
