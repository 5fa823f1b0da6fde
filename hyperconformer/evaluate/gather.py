"""From utterances to what every search says of them, with the time that it took."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from hyperconformer.device import check_device
from hyperconformer.errors import InputError
from hyperconformer.evaluate.jobs import run_jobs
from hyperconformer.evaluate.settings import Settings
from hyperconformer.evaluate.task import Answer, Asked, Done, Task
from hyperconformer.inference.calibrating import load_calibrations
from hyperconformer.inference.reading import plan_batches
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
    task, split_of = _task(settings, corpus, asked)
    every = [utterance for utterances in corpus.values() for utterance in utterances]
    variants = sum(len(one.variants) for one in asked)
    found = {split: Heard([], [{} for _ in range(variants)]) for split in corpus}
    begun = ready = time.perf_counter()
    hidden = None if settings.progress else True
    with tqdm(total=len(every), unit="utterance", desc="decoded", disable=hidden) as bar:
        for done in run_jobs(task, settings.jobs):
            if done is None:
                ready = time.perf_counter()
                continue
            found[split_of[done.number]].add(done, every)
            for fault in done.faults.values():
                tqdm.write(f"error: {fault}", file=sys.stderr)
            bar.update(len(task.plan[done.number]))
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


def _task(
    settings: Settings, corpus: Mapping[str, Sequence[Utterance]], asked: Sequence[Asked]
) -> tuple[Task, list[str]]:
    """What every process is told, and the split that each batch is of."""
    plan: list[list[int]] = []
    paths: list[str] = []
    split_of: list[str] = []
    for split, utterances in corpus.items():
        own = plan_batches([utterance.seconds for utterance in utterances], settings.batch_seconds)
        plan += [[len(paths) + file for file in batch] for batch in own]
        split_of += [split] * len(own)
        paths += [utterance.path for utterance in utterances]
    calibrations = (
        load_calibrations(Path(settings.calibration), settings.decode) if settings.calibration else {}
    )
    task = Task(
        settings.model,
        tuple(paths),
        plan,
        tuple(asked),
        lm=settings.lm,
        ngram=settings.ngram,
        hotwords=settings.hotwords,
        device=settings.device,
        precision=settings.precision,
        word_timestamps=settings.word_timestamps,
        calibrations=calibrations,
    )
    return task, split_of


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
