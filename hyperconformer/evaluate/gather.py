"""From utterances to what every search says of them, with the time that it took."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tqdm import tqdm

from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.evaluate.settings import Settings
from hyperconformer.evaluate.task import Answer, Asked, Done, Task
from hyperconformer.evaluate.work import Worker
from hyperconformer.inference.calibrating import load_calibrations
from hyperconformer.inference.jobs import share_work
from hyperconformer.inference.reading import Portion, plan_batches
from hyperconformer.types import Utterance


@dataclass
class Heard:
    """What came of a split.

    Attributes
    ----------
    utterances : list of Utterance
        Those that were decoded, in the order in which they were asked for.
    answers : list of dict of str to Answer
        For every variant of every search: by the utterance's id.
    seconds : dict of str to float
        Duration of each utterance, by id.
    faults : dict of str to str
        Why others were not, by id.
    times : dict of str to float
        Seconds by what they went to, as in :class:`~hyperconformer.evaluate.task.Done`, all jobs together.
    span : (float, float)
        When the first batch was begun and when the last one was done.

    Examples
    --------
    >>> heard = Heard([], [{}], seconds={"a": 60.0}, times={"encode": 0.5, "0": 0.3}, span=(7.0, 7.4))
    >>> heard.rate("encode"), heard.rate("encode", "0")
    (240.0, 150.0)
    """

    utterances: list[Utterance]
    answers: list[dict[str, Answer]]
    seconds: dict[str, float] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    span: tuple[float, float] = (math.inf, -math.inf)

    def add(self, done: Done, of: Sequence[Utterance]) -> None:
        """Take a batch.

        Parameters
        ----------
        done : Done
        of : sequence of Utterance
            Every file's.
        """
        self.span = min(self.span[0], done.span[0]), max(self.span[1], done.span[1])
        self.seconds |= {of[file].id: seconds for file, seconds in done.seconds.items()}
        self.faults |= {of[file].id: fault for file, fault in done.faults.items()}
        for kind, seconds in done.times.items():
            self.times[kind] = self.times.get(kind, 0.0) + seconds
        if done.answers:
            for into, answers in zip(self.answers, done.answers, strict=True):
                into |= {of[file].id: answer for file, answer in answers.items()}

    def rate(self, *kinds: str) -> float:
        """Seconds of audio a second, were there no other kinds of work than these.

        Each kind has the part of the time that went by which it has of all jobs' work: a job that had nothing
        to do makes nothing faster.
        """
        all_work = sum(self.times.values())
        took = sum(self.times.get(kind, 0.0) for kind in kinds)
        if not took:
            return 0.0
        return round(sum(self.seconds.values()) / ((self.span[1] - self.span[0]) * took / all_work), 1)


def gather(
    settings: Settings, corpus: Mapping[str, Sequence[Utterance]], asked: Sequence[Asked]
) -> dict[str, Heard]:
    """Decode splits; audio that cannot be decoded is reported on standard error, and the rest goes on.

    Parameters
    ----------
    settings : Settings
    corpus : mapping of str to sequence of Utterance
        By split.
    asked : sequence of Asked
        Searches.

    Returns
    -------
    dict of str to Heard
        By split; one of which no audio can be decoded has faults and no utterances.

    Raises
    ------
    InputError
        If a model or the device cannot be used, a job dies, or no audio at all can be decoded.

    Examples
    --------
    >>> gather(Settings("no/such/model", "data", ("dev",)), {"dev": []}, [])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the ...
    """
    check_device(settings.device)
    task, portions = _task(settings, asked), _portions(corpus, settings.batch_seconds)
    every = [utterance for utterances in corpus.values() for utterance in utterances]
    split_of = [split for split, utterances in corpus.items() for _ in utterances]
    variants = sum(len(one.variants) for one in asked)
    found = {split: Heard([], [{} for _ in range(variants)]) for split in corpus}
    begun = ready = time.perf_counter()
    hidden = None if settings.progress else True
    with tqdm(total=len(every), unit="utterance", desc="decoded", disable=hidden) as bar:
        for done in share_work(partial(Worker, task), portions, settings.jobs):
            if done is None:
                ready = time.perf_counter()
                continue
            found[split_of[done.files[0]]].add(done, every)
            for fault in done.faults.values():
                tqdm.write(f"error: {fault}", file=sys.stderr)
            bar.update(len(done.files))
    took = time.perf_counter() - ready
    for split, heard in found.items():
        heard.utterances = [utterance for utterance in corpus[split] if utterance.id in heard.seconds]
        if not heard.utterances:
            print(f"error: {_silent(split)}", file=sys.stderr)
    if not any(heard.utterances for heard in found.values()):
        raise InputError(_silent(*found))
    _say(found, settings, ready - begun, took)
    return found


def _silent(*splits: str) -> str:
    return f"no audio of split {', '.join(map(repr, splits))} can be decoded: copy it again"


def _task(settings: Settings, asked: Sequence[Asked]) -> Task:
    """What every process is told."""
    calibrations = (
        load_calibrations(Path(settings.calibration), settings.decode) if settings.calibration else {}
    )
    return Task(
        settings.model,
        tuple(asked),
        lm=settings.lm,
        ngram=settings.ngram,
        hotwords=settings.hotwords,
        device=settings.device,
        precision=settings.precision,
        word_timestamps=settings.word_timestamps,
        calibrations=calibrations,
    )


def _portions(corpus: Mapping[str, Sequence[Utterance]], batch_seconds: float) -> list[Portion]:
    """Batches of every split, by the numbers that utterances have in all splits together."""
    portions: list[Portion] = []
    before = 0
    for utterances in corpus.values():
        plan = plan_batches([utterance.seconds for utterance in utterances], batch_seconds)
        portions += [{before + file: utterances[file].path for file in batch} for batch in plan]
        before += len(utterances)
    return portions


def _say(found: Mapping[str, Heard], settings: Settings, loading: float, decoding: float) -> None:
    seconds = sum(sum(heard.seconds.values()) for heard in found.values())
    jobs = f" by {settings.jobs} jobs" if settings.jobs > 1 else ""
    speed = f"{seconds / decoding:.0f} x real time"
    print(
        f"{seconds / 60:.1f} min of audio in {decoding:.1f} s{jobs}, {speed} "
        f"(and {loading:.1f} s before that, to load the models)"
    )
    for split, heard in found.items():
        if heard.faults:
            whole = len(heard.faults) + len(heard.utterances)
            print(f"{split}: {len(heard.faults)} of {whole} utterances cannot be decoded and do not count")
