"""Which weights suit a dev set: every combination of some options, each utterance heard once.

Nothing is kept but words: while a batch's encoder output is in memory, every combination searches it. Where
combinations differ only in what ranks rescored hypotheses and has no part in finding them, one search serves
them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from hyperconformer.decoding.options import HEEDED, SearchOptions
from hyperconformer.evaluate.corpus import read_splits
from hyperconformer.evaluate.gather import Heard, gather
from hyperconformer.evaluate.settings import Settings
from hyperconformer.evaluate.task import Asked
from hyperconformer.inference.search_flags import HELPERS, OPTIONS
from hyperconformer.inference.trained import dials, spell
from hyperconformer.scoring import report_row, score


class Tried(NamedTuple):
    """A combination, and how it did.

    Attributes
    ----------
    decode : str
    values : mapping of str to value
        Those of the swept options that the search heeds.
    row : dict
        Its WER in percent, with its interval and counts.

    Examples
    --------
    >>> Tried("joint", {"lm_weight": 0.3}, {"wer": 2.5}).row["wer"]
    2.5
    """

    decode: str
    values: Mapping[str, Any]
    row: dict[str, float]


def sweep(settings: Settings) -> int:
    """Try every combination, and print them by their WER over all splits, the lowest first.

    Parameters
    ----------
    settings : Settings
        With options to sweep.

    Returns
    -------
    int
        1 if some audio could not be decoded, else 0.

    Raises
    ------
    InputError
        If the model or the data cannot be used.

    Examples
    --------
    >>> sweep(Settings("model", "/nowhere", ("dev-clean",), ("joint",), sweep={"beam_size": (1, 10)}))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: data_folder '/nowhere' does not exist or is no folder: point ...
    """
    corpus = read_splits(
        Path(settings.data_folder), settings.splits, limit=settings.limit, progress=settings.progress
    )
    asked = []
    for decode in settings.decode:
        combinations = settings.combinations(decode)
        chosen = dials(combinations[0], HEEDED[decode])
        print(spell(decode, {name: value for name, value in chosen.items() if name not in settings.sweep}))
        asked += searches(decode, combinations)
    heard = gather(settings, corpus, asked)
    tried = []
    for place, (decode, options) in enumerate((one.decode, each) for one in asked for each in one.variants):
        values = {name: getattr(options, name) for name in settings.sweep if name in HEEDED[decode]}
        tried.append(Tried(decode, values, _row(settings, heard, place)))
    defaults = {decode: settings.trained(decode) for decode in settings.decode}
    tried.sort(key=lambda one: (one.row["wer"], distance(settings.sweep, one.values, defaults[one.decode])))
    print(table(list(settings.sweep), tried))
    ties = sum(one.row["wer"] == tried[0].row["wer"] for one in tried)
    if ties > 1:
        print(f"{ties} share the lowest WER: of these the one nearest to the options' defaults is named")
    print(f"best: {flags(settings, tried[0])}")
    return 1 if any(of_split.faults for of_split in heard.values()) else 0


def searches(decode: str, combinations: Sequence[SearchOptions]) -> list[Asked]:
    """Fit combinations into as few searches as give the same results.

    Parameters
    ----------
    decode : str
        Name of the search.
    combinations : sequence of SearchOptions

    Returns
    -------
    list of Asked

    Examples
    --------
    >>> tried = [SearchOptions(ctc_weight=ctc, beam_size=beam) for beam in (5, 10) for ctc in (0.2, 0.4)]
    >>> len(searches("joint", tried)), len(searches("rescore", tried))
    (4, 2)
    >>> len(searches("prefix", tried)), len(searches("greedy", tried))
    (2, 1)
    """
    if decode == "greedy":
        return [Asked(decode, SearchOptions())]
    unheard: dict[str, Any] = {
        name: option.default for name, option in OPTIONS.items() if name not in HEEDED[decode]
    }
    combinations = list(dict.fromkeys(replace(options, **unheard) for options in combinations))
    if decode != "rescore":
        return [Asked(decode, options) for options in combinations]
    # What one of them listens to must be asked for all.
    ctc, lm = min(one.ctc_weight for one in combinations), max(one.lm_weight for one in combinations)
    groups: dict[SearchOptions, list[SearchOptions]] = {}
    for options in combinations:
        base = replace(
            options, nbest=options.beam_size, ctc_weight=ctc, lm_weight=lm, length_normalization=False
        )
        groups.setdefault(base, []).append(options)
    return [Asked(decode, base, tuple(ranked)) for base, ranked in groups.items()]


def distance(
    swept: Mapping[str, Sequence[Any]], values: Mapping[str, Any], defaults: Mapping[str, Any]
) -> float:
    """How far values are from the options' defaults.

    Parameters
    ----------
    swept : mapping of str to sequence of value
        All values of each option.
    values : mapping of str to value
    defaults : mapping of str to value
        The model's own, where they are not those of the options.

    Returns
    -------
    float
        The sum over options, each in units of the widest step that its values and its default allow.

    Examples
    --------
    >>> swept = {"ctc_weight": (0.2, 0.5), "lm_weight": (0.0, 2.0)}
    >>> distance(swept, {"ctc_weight": 0.2, "lm_weight": 2.0}, {}), distance(swept, {"lm_weight": 0.0}, {})
    (2.0, 0.0)
    >>> distance(swept, {"ctc_weight": 0.5}, {"ctc_weight": 0.5})
    0.0
    """
    total = 0.0
    for name, value in values.items():
        default = defaults.get(name, OPTIONS[name].default)
        # No threshold for the end is as good as an endless one.
        wanted = max(swept[name]) if default is None else default
        widest = max(abs(each - wanted) for each in swept[name])
        total += abs(value - wanted) / widest if widest else 0.0
    return total


def _row(settings: Settings, heard: dict[str, Heard], place: int) -> dict[str, float]:
    """The WER of one combination over all splits."""
    pairs = [(u, one.answers[place][u.id].text) for one in heard.values() for u in one.utterances]
    return report_row(score(pairs, " + ".join(split for split, one in heard.items() if one.utterances)))


def table(names: Sequence[str], tried: Sequence[Tried]) -> str:
    """Render the combinations, a line each.

    Parameters
    ----------
    names : sequence of str
        Of the swept options.
    tried : sequence of Tried

    Returns
    -------
    str

    Examples
    --------
    >>> row = {"wer": 3.0, "low": 2.0, "high": 4.0, "substitutions": 2, "deletions": 1, "insertions": 0}
    >>> print(table(["lm_weight"], [Tried("joint", {"lm_weight": 0.3}, row), Tried("greedy", {}, row)]))
    search    lm_weight   WER %   95 % interval      S      D      I
    joint           0.3    3.00     2.00 - 4.00      2      1      0
    greedy            -    3.00     2.00 - 4.00      2      1      0
    """
    widths = [max(11, len(name) + 2) for name in names]
    titles = "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    lines = [f"{'search':<8}{titles}{'WER %':>8}{'95 % interval':>16}{'S':>7}{'D':>7}{'I':>7}"]
    for decode, values, row in tried:
        cells = "".join(
            f"{values.get(name, '-')!s:>{width}}" for name, width in zip(names, widths, strict=True)
        )
        interval = f"{row['low']:.2f} - {row['high']:.2f}"
        kinds = "".join(f"{row[kind]:>7}" for kind in ("substitutions", "deletions", "insertions"))
        lines.append(f"{decode:<8}{cells}{row['wer']:>8.2f}{interval:>16}{kinds}")
    return "\n".join(lines)


def flags(settings: Settings, best: Tried) -> str:
    """What to paste to decode with a combination.

    Parameters
    ----------
    settings : Settings
    best : Tried

    Returns
    -------
    str

    Examples
    --------
    >>> settings = Settings("m", "d", ("dev",), ("joint",), {"beam_size": 20}, {"ctc_weight": (0.2, 0.3)})
    >>> flags(settings, Tried("joint", {"ctc_weight": 0.3}, {}))
    '--decode joint --beam_size 20 --ctc_weight 0.3'
    """
    chosen = {**settings.given, **best.values}
    given: dict[str, Any] = {}
    for helper, option in HELPERS.items():
        if chosen.get(option) and option in HEEDED[best.decode]:
            given[helper] = getattr(settings, helper)
        else:
            # What has no say would be refused.
            chosen.pop(option, None)
    if "lm" not in given:
        chosen.pop("lm_temperature", None)
    given |= {name: value for name, value in chosen.items() if name in HEEDED[best.decode]}
    switches = {True: "--", False: "--no-"}
    spelt = [
        f"{switches[value]}{name}" if isinstance(value, bool) else f"--{name} {value}"
        for name, value in given.items()
    ]
    return " ".join([f"--decode {best.decode}", *spelt])
