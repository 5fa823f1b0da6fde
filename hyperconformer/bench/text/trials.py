"""What the trials of ``bench text``'s tuning say: the best score that one may expect of so many."""

from collections.abc import Sequence

from hyperconformer.bench.text.tables import Found
from hyperconformer.bench.text.tuning import SPACE, expected_best
from hyperconformer.bench.trainings.planned import Planned, how_many, of_system, systems_of, what_failed
from hyperconformer.bench.trainings.tables import Table, percent


def common_trials(planned: Sequence[Planned], found: Found) -> list[int]:
    """Choose the trials that ended, well or diverged, for every system that has any: all have the same draws.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound
        By the run's key.

    Returns
    -------
    list of int

    Examples
    --------
    >>> common_trials([], {})
    []
    """
    ended: dict[str, set[int]] = {}
    for one in planned:
        if found[one.run.key].status in ("ok", "diverged"):
            ended.setdefault(one.system, set()).add(one.number)
    return sorted(set.intersection(*ended.values())) if ended else []


def trial_scores(planned: Sequence[Planned], found: Found) -> dict[str, list[float]]:
    """Validation accuracy of every common trial, by system; one that diverged has none right.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound

    Returns
    -------
    dict of str to list of float
        Without systems none of whose trials ended.

    Examples
    --------
    >>> trial_scores([], {})
    {}
    """
    common = common_trials(planned, found)
    scores: dict[str, list[float]] = {}
    for one in planned:
        if one.number in common and found[one.run.key].status in ("ok", "diverged"):
            scores.setdefault(one.system, []).append(found[one.run.key].accuracy.get("valid", 0.0))
    return scores


def shown_trials(most: int) -> list[int]:
    """Choose the numbers of trials that a table shows: powers of two, and all.

    Parameters
    ----------
    most : int

    Returns
    -------
    list of int

    Examples
    --------
    >>> shown_trials(20), shown_trials(1)
    ([1, 2, 4, 8, 16, 20], [1])
    """
    powers = [2**n for n in range(most.bit_length()) if 2**n < most]
    return [*powers, most]


def tuning_table(planned: Sequence[Planned], found: Found) -> Table:
    """Lay out the best validation accuracy to be expected of so many random trials.

    Parameters
    ----------
    planned : sequence of Planned
    found : mapping of str to TextFound

    Returns
    -------
    Table

    Examples
    --------
    >>> tuning_table([], {}).rows
    []
    """
    trials, common = {one.number for one in planned}, common_trials(planned, found)
    shown = shown_trials(max(1, len(common)))
    header = ["corpus", "system", "trials", "diverged", *(f"best of {n} %" for n in shown), "the best trial"]
    rows, scores = [], trial_scores(planned, found)
    for system in systems_of(planned):
        own, best = of_system(planned, system), expected_best(scores.get(system, []))
        counted = [one for one in own if one.number in common]
        diverged = sum(found[one.run.key].status == "diverged" for one in counted)
        cells = [percent(best[n - 1] if best else None) for n in shown]
        chosen = _best_trial(counted, found)
        corpus = str(own[0].run.decided["corpus"])
        rows.append([corpus, system, how_many(own, len(best)), str(diverged), *cells, chosen])
    notes = what_failed(planned, found)
    if len(common) < len(trials):
        notes.append(f"{len(common)} of {len(trials)} trials count: the others did not end for every system")
    return Table("### Tuning", header, rows, notes)


def _best_trial(own: Sequence[Planned], found: Found) -> str:
    ended = [one for one in own if found[one.run.key].status == "ok"]
    if not ended:
        return "-"
    winner = max(ended, key=lambda one: found[one.run.key].accuracy["valid"])
    return ", ".join(f"{key} {winner.run.decided[key]}" for key in (*SPACE, "d_ffn"))
