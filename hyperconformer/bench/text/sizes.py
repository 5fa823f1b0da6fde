"""The classifiers that are compared: a mixer each, and feed-forward networks that make them equally large."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from hyperconformer.bench.trainings.sizes import Unequal, as_large, weights_of
from hyperconformer.errors import InputError
from hyperconformer.mixers import MIXERS, mixer_options
from hyperconformer.models.classifier import Classifier
from hyperconformer.models.config import ClassifierConfig, with_mixer

REFERENCE = "hypermixing"
# How far the weights of a whole classifier may be from the reference's.
TOLERANCE = 0.01


@dataclass(frozen=True)
class TextSystem:
    """A mixer with its options.

    Attributes
    ----------
    mixer : str
    options : mapping
        Beside those that the recipe gives this mixer.
    pair : {"joined", "cross"}
        How two texts are read.

    Examples
    --------
    >>> SYSTEMS["hypermixing:tied"].options
    {'tied': True}
    """

    mixer: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pair: Literal["joined", "cross"] = "joined"


SYSTEMS: Mapping[str, TextSystem] = {
    "hypermixing": TextSystem("hypermixing"),
    "hypermixing:tied": TextSystem("hypermixing", {"tied": True}),
    "hypermixing:cross": TextSystem("hypermixing", pair="cross"),
    **{name: TextSystem(name) for name in MIXERS if name != "hypermixing"},
}
DEFAULT = (
    "hypermixing",
    "hypermixing:tied",
    "attention",
    "mlp",
    "gmlp",
    "fourier",
    "summary",
    "identity",
)


def check_text_systems(systems: Sequence[str], *, texts: int) -> None:
    """Refuse systems that do not exist, or cannot read what is to be classified.

    Parameters
    ----------
    systems : sequence of str
    texts : int
        1, or 2 for pairs.

    Raises
    ------
    InputError

    Examples
    --------
    >>> check_text_systems(["hypermixing:untied"], texts=1)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixers hypermixing:untied: choose from hypermixing, ...
    """
    for system in systems:
        if system not in SYSTEMS:
            raise InputError(f"--mixers {system}: choose from {', '.join(SYSTEMS)}")
        if SYSTEMS[system].pair == "cross" and texts == 1:
            raise InputError(f"--mixers {system} compares two texts, and the recipe has one: leave it out")


def count_weights(config: ClassifierConfig) -> int:
    """Count the weights of a classifier, without any memory for them.

    Parameters
    ----------
    config : ClassifierConfig

    Returns
    -------
    int

    Raises
    ------
    InputError
        If sizes do not go together.

    Examples
    --------
    >>> count_weights(ClassifierConfig(output_neurons=2000, num_classes=150, mixer="identity"))
    408470
    """
    return _count(json.dumps(config.to_dict(), sort_keys=True))


@cache
def _count(said: str) -> int:
    """Count once what seeds and shares ask again and again."""
    try:
        return weights_of(lambda: Classifier(ClassifierConfig.from_dict(json.loads(said))))
    except ValueError as error:
        raise InputError(str(error)) from error


def system_config(template: ClassifierConfig, system: str, longest: int) -> ClassifierConfig:
    """Give a classifier another mixer, and leave all else as it is.

    Parameters
    ----------
    template : ClassifierConfig
        The recipe's; its mixer's options hold for that mixer alone.
    system : str
        A key of :data:`SYSTEMS`.
    longest : int
        Tokens: what a mixer whose weights are tied to places is made for.

    Returns
    -------
    ClassifierConfig

    Examples
    --------
    >>> template = ClassifierConfig(output_neurons=30, num_classes=2)
    >>> system_config(template, "gmlp", 40).mixer_options
    {'max_frames': 40}
    """
    chosen = SYSTEMS[system]
    frames = {"max_frames": longest} if "max_frames" in mixer_options(chosen.mixer) else {}
    return with_mixer(template, chosen.mixer, {**chosen.options, **frames}, pair=chosen.pair)


def equal_config(template: ClassifierConfig, system: str, longest: int) -> ClassifierConfig:
    """Give a classifier another mixer, and feed-forward networks that make it as large as HyperMixing's.

    Parameters
    ----------
    template : ClassifierConfig
        The recipe's: with HyperMixing it is the measure.
    system : str
        A key of :data:`SYSTEMS`.
    longest : int
        Tokens, as of :func:`system_config`.

    Returns
    -------
    ClassifierConfig
        Its weights are within :data:`TOLERANCE` of the measure's.

    Raises
    ------
    Unequal
        If the mixer is too large for that, or the networks are too few to be tuned so finely.

    Examples
    --------
    >>> template = ClassifierConfig(output_neurons=2000, num_classes=150)
    >>> [equal_config(template, name, 40).d_ffn for name in ("hypermixing", "attention", "identity")]
    [256, 166, 421]
    """
    wanted = count_weights(system_config(template, REFERENCE, longest))
    config = system_config(template, system, longest)
    if system == REFERENCE:
        return config
    config, more = as_large(config, count_weights, wanted)
    if abs(more) > TOLERANCE:
        raise Unequal(f"{system} for {longest} tokens has {more:+.0%} weights: give a larger --d_ffn")
    return config
