"""The cases of ``bench text``'s first part: time and memory of classifiers against the length of texts."""

import json
from collections.abc import Sequence
from dataclasses import replace

from hyperconformer.bench.cases import FRAMES_PER_SECOND, Case, Outcome
from hyperconformer.bench.runner import plan
from hyperconformer.bench.text.sizes import equal_config, system_config
from hyperconformer.bench.trainings.sizes import Unequal
from hyperconformer.models.config import ClassifierConfig

# Two texts of a token each, and the symbol between them.
SHORTEST_PAIR = 3


def plan_cost(
    template: Case,
    model: ClassifierConfig,
    systems: Sequence[str],
    lengths: Sequence[int],
    batch_tokens: int,
) -> tuple[list[Case], list[Outcome]]:
    """Lay out all cases in the order of a round.

    The classifiers are equally large at the shortest length. Where weights are tied to places they grow with
    the length, and the rest stays as it is. A pair of texts, two equally long ones, has the length with the
    symbol between them: most mixers see one sequence.

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
    cases : list of Case
    unfit : list of Outcome
        Those of systems that cannot be equally large, with the reason.

    Examples
    --------
    >>> template = Case("text", "identity", "forward", seconds=1.0, batch_size=1)
    >>> model = ClassifierConfig(output_neurons=2000, num_classes=150)
    >>> cases, _ = plan_cost(template, model, ["gmlp"], [32, 64], batch_tokens=128)
    >>> [(case.name, case.batch_size) for case in cases[1:3]]
    [('text gmlp 32 tokens backward', 4), ('text gmlp 64 tokens forward', 2)]
    """
    cases: list[Case] = []
    unfit: list[Outcome] = []
    places = {length: max(length, SHORTEST_PAIR) if model.texts == 2 else length for length in lengths}
    for length in lengths:
        for system in systems:
            config, reason = system_config(model, system, places[length]), ""
            try:
                config = replace(config, d_ffn=equal_config(model, system, min(places.values())).d_ffn)
            except Unequal as error:
                reason = str(error)
            own = replace(template, text=json.dumps(config.to_dict()))
            some = plan(own, [system], [(length / FRAMES_PER_SECOND, max(1, batch_tokens // length))])
            if reason:
                unfit += [Outcome(case, "fails", reason) for case in some]
            else:
                cases += some
    return cases, unfit
