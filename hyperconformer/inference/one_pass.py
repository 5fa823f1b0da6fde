"""A whole recording in one forward pass, which costs a linear-time mixer no more per second than a short one.

The encoder hears everything at once; what comes after it works on slices of its output, cut where CTC says
blank for long. It loses no word at a cut, but the mixer blends speakers and silences that it was trained to
hear one at a time, at positions far beyond those of training. Segments were a little better, and with pauses
that the model was not trained on far better: see RESULTS.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hyperconformer.audio import Samples
from hyperconformer.constants import BLANK, SAMPLE_RATE
from hyperconformer.decoding.alignment import SECONDS_PER_FRAME
from hyperconformer.errors import InputError
from hyperconformer.inference.encoding import NO_SCORES
from hyperconformer.inference.longform import recognised
from hyperconformer.inference.longform_options import DEFAULT, LongformOptions
from hyperconformer.inference.recogniser import Hear
from hyperconformer.models.config import ModelConfig
from hyperconformer.types import Segment

Head = Callable[[Tensor], Tensor]
RecogniseMemory = Callable[[list[Tensor]], Sequence[Segment]]

QUADRATIC = ("attention", "relative")
"""Mixers whose time grows with the square of the length; in `relative` memory does so too."""

MOST_QUADRATIC_SECONDS = 300.0
"""Scores of all pairs of frames of 5 minutes are 1.8 GB with eight heads."""

_SILENCE = round(1.2 / SECONDS_PER_FRAME)
"""As many blanks as these, in frames, or more are between words: a slice always ends there."""

_ROWS = 4096
"""Frames whose logits are held at once."""


def longest_heard(config: ModelConfig) -> float:
    """Tell how many seconds a mixer can hear at once.

    Parameters
    ----------
    config : ModelConfig
        Of the model.

    Returns
    -------
    float
        Infinite for most mixers.

    Examples
    --------
    >>> longest_heard(ModelConfig(output_neurons=30, mixer="mlp", mixer_options={"max_frames": 101}))
    4.0
    """
    frames = config.mixer_options.get("max_frames")
    # Of n frames the last one begins at n - 1.
    return float("inf") if frames is None else SECONDS_PER_FRAME * (frames - 1)


def check_one_pass(config: ModelConfig, seconds: float) -> None:
    """Refuse a recording that a model cannot hear in one pass.

    Parameters
    ----------
    config : ModelConfig
        Of the model.
    seconds : float
        Duration of the recording.

    Raises
    ------
    InputError
        If the mixer's cost is quadratic and the recording longer than 5 minutes, or if the mixer has a
        longest utterance and this is longer.

    Examples
    --------
    >>> check_one_pass(ModelConfig(output_neurons=30), 7200.0)
    >>> check_one_pass(ModelConfig(output_neurons=30, mixer="attention"), 7200.0)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: one pass over 7200 s is too much for mixer 'attention', which hears \
300 s at most: leave --one_pass out, and the recording is cut into segments
    """
    most = min(longest_heard(config), MOST_QUADRATIC_SECONDS if config.mixer in QUADRATIC else float("inf"))
    if seconds > most:
        raise InputError(
            f"one pass over {seconds:.0f} s is too much for mixer {config.mixer!r}, which hears {most:.0f} s "
            "at most: leave --one_pass out, and the recording is cut into segments"
        )


@torch.inference_mode()
def one_pass(
    samples: Samples,
    hear: Hear,
    head: Head,
    recognise: RecogniseMemory,
    options: LongformOptions = DEFAULT,
) -> Iterator[Segment]:
    """Transcribe a recording from a single pass of the encoder over all of it.

    Memory grows by about half a gigabyte an hour beside the samples, for small models.

    Parameters
    ----------
    samples : ndarray, shape (samples,), float32
        Mono audio at 16 kHz, all of it; for whether the model may hear it see :func:`check_one_pass`.
    hear : callable
        Samples (1, S) and their number (1,) -> encoder output (1, T, D) and its frames (1,), as
        :func:`~hyperconformer.inference.encoding.encode` gives them.
    head : callable
        Encoder output (N, D) -> CTC logits (N, V).
    recognise : callable
        Slices of the encoder output, each (T, D), to as many segments; their times count from a slice's
        first frame. Any search will do, since a slice ends where CTC says blank.
    options : LongformOptions
        Its ``longest_seconds`` is the longest slice, its ``batch_seconds`` what is searched at once.

    Yields
    ------
    Segment
        In order of time, none without text, none beyond the recording's end; from the first word to the last
        one if there are words.

    Raises
    ------
    InputError
        If the encoder gives numbers that are not finite.

    Examples
    --------
    >>> def hear(samples_bs, lengths_b):
    ...     return torch.eye(3)[torch.tensor([[0, 2, 0, 0]])], torch.tensor([4])
    >>> def recognise(memories):
    ...     return [Segment(0.0, 0.04 * len(memory_td), "TWO") for memory_td in memories]
    >>> list(one_pass(np.zeros(2_000, np.float32), hear, lambda memory_nd: memory_nd, recognise))
    [Segment(start=0.0, end=0.125, text='TWO', words=(), hypotheses=())]
    """
    memory_td = _heard(samples, hear)
    blank_t = torch.cat([head(rows).argmax(dim=-1) == BLANK for rows in memory_td.split(_ROWS)])
    longest = round(options.longest_seconds / SECONDS_PER_FRAME)
    ended = len(samples) / SAMPLE_RATE
    pieces = (
        (SECONDS_PER_FRAME * first, min(SECONDS_PER_FRAME * stop, ended), memory_td[first:stop])
        for first, stop in slices(blank_t.cpu().numpy(), longest)
    )
    for segment in recognised(pieces, recognise, options.batch_seconds):
        if segment.text:
            yield _to_words(segment)


def _to_words(segment: Segment) -> Segment:
    """From its first word to its last one, if these have times."""
    if not segment.words:
        return segment
    return replace(segment, start=segment.words[0].start, end=segment.words[-1].end)


def _heard(samples: Samples, hear: Hear) -> Tensor:
    """Encoder output of all of the recording, (T, D)."""
    memory_btd, frames_b = hear(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
    memory_td = memory_btd[0, : int(frames_b[0])]
    if not memory_td.isfinite().all():
        raise InputError(f"the recording {NO_SCORES}")
    return memory_td


def slices(blank_t: npt.NDArray[np.bool_], longest: int) -> list[tuple[int, int]]:
    """Cut frames where CTC says blank for long: the tokens of all slices together are those of the whole.

    Parameters
    ----------
    blank_t : ndarray, shape (T,), bool
        Whether the blank is each frame's best label.
    longest : int
        Frames that no slice exceeds. One that would is cut in the middle of the longest run of blanks after
        a quarter of that; only where there is no blank at all it is cut between two labels.

    Returns
    -------
    list of (int, int)
        First frame and stop of each slice; what is nothing but blanks is left out.

    Examples
    --------
    >>> blank_t = np.ones(100, dtype=np.bool_)
    >>> blank_t[[10, 20, 80]] = False
    >>> slices(blank_t, longest=500), slices(blank_t, longest=12)
    ([(0, 50), (50, 100)], [(6, 14), (14, 23), (77, 85)])
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], blank_t, [False]))))
    starts, stops = edges[::2], edges[1::2]
    silent = stops - starts >= _SILENCE
    middles = (starts + stops) // 2
    found, first = [], 0
    for stop in [*middles[silent].tolist(), len(blank_t)]:
        while stop - first > longest:
            lows, highs = starts.clip(min=first + longest // 4), stops.clip(max=first + longest)
            widths = np.append(highs - lows, 0)
            # Of equals the last one.
            best = len(widths) - 1 - int(widths[::-1].argmax())
            cut = int(lows[best] + highs[best]) // 2 if widths[best] > 0 else first + longest
            found.append((first, cut))
            first = cut
        found.append((first, stop))
        first = stop
    return [(first, stop) for first, stop in found if not blank_t[first:stop].all()]
