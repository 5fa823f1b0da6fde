"""The cases of ``bench text``'s first part: time and memory of classifiers against the length of texts."""

import json
from collections.abc import Sequence
from dataclasses import replace

from hyperconformer.bench.cases import FRAMES_PER_SECOND, Case
from hyperconformer.bench.runner import plan
from hyperconformer.bench.text_sizes import SYSTEMS, equal_config, system_config
from hyperconformer.models.config import ClassifierConfig


def plan_cost(
    template: Case,
    model: ClassifierConfig,
    systems: Sequence[str],
    lengths: Sequence[int],
    batch_tokens: int,
) -> list[Case]:
    """Lay out all cases in the order of a round.

    The classifiers are equally large at the shortest length. Where weights are tied to places they grow with
    the length, and the rest stays as it is. A pair of texts is measured as what it is for most mixers, one
    sequence.

    Parameters
    ----------
    template : Case
        Gives everything but the system, its classifier, the part, the length and the batch size.
    model : ClassifierConfig
        The recipe's classifier.
    systems : sequence of str
    lengths : sequence of int
        Tokens.
    batch_tokens : int
        As many texts as make so many tokens, at least one.

    Returns
    -------
    list of Case

    Raises
    ------
    InputError
        If a mixer is too large.

    Examples
    --------
    >>> template = Case("text", "identity", "forward", seconds=1.0, batch_size=1)
    >>> model = ClassifierConfig(output_neurons=2000, num_classes=150)
    >>> cases = plan_cost(template, model, ["gmlp"], [32, 64], batch_tokens=128)
    >>> [(case.name, case.batch_size) for case in cases[1:3]]
    [('text gmlp 32 tokens backward', 4), ('text gmlp 64 tokens forward', 2)]
    """
    model = replace(model, texts=1, pair="joined")
    cases = []
    for length in lengths:
        for system in (name for name in systems if SYSTEMS[name].pair == "joined"):
            equal = equal_config(model, system, min(lengths))
            config = replace(system_config(model, system, length), d_ffn=equal.d_ffn)
            own = replace(template, text=json.dumps(config.to_dict()))
            sizes = [(length / FRAMES_PER_SECOND, max(1, batch_tokens // length))]
            cases += plan(own, [system], sizes)
    return cases
