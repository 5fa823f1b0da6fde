"""Join the utterances of a split to long recordings, and print the WER of every way to hear them.

``python -m tests.recipe.longform_wer MODEL DATA_FOLDER SPLIT --minutes 10`` joins in drawn order, with
digital silence of drawn length between utterances (``--least_pause``, ``--most_pause``).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import jiwer
import numpy as np
import torch

from hyperconformer.audio import read_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.data.librispeech import scan_split
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.longform import transcribe_stream
from hyperconformer.inference.longform_options import LongformOptions
from hyperconformer.inference.one_pass import one_pass
from hyperconformer.types import Segment, Utterance
from tests.recipe.longform_memory import Listener, Samples


def joined_recording(
    utterances: Sequence[Utterance], seconds: float, pauses: tuple[float, float], seed: int
) -> tuple[Samples, str, list[Samples]]:
    """A recording, what is said in it, and the utterances one by one."""
    rng = np.random.default_rng(seed)
    clips: list[Samples] = []
    blocks: list[Samples] = []
    words = []
    order: list[int] = []
    while sum(map(len, blocks)) < seconds * SAMPLE_RATE:
        order = order or rng.permutation(len(utterances)).tolist()
        utterance = utterances[order.pop()]
        clips.append(read_audio(utterance.path))
        blocks += [np.zeros(round(rng.uniform(*pauses) * SAMPLE_RATE), np.float32), clips[-1]]
        words.append(utterance.words)
    return np.concatenate(blocks), " ".join(words), clips


def ways(listener: Listener) -> dict[str, Callable[[Samples, list[Samples]], Sequence[Segment]]]:
    """How a recording can be heard, by name."""

    def cut(**options: float | str) -> Callable[[Samples, list[Samples]], Sequence[Segment]]:
        chosen = LongformOptions(**options)  # type: ignore[arg-type]  # names and numbers by their keys
        return lambda samples, _: list(transcribe_stream([samples], listener.of_samples, chosen))

    def whole(samples: Samples, _: list[Samples]) -> Sequence[Segment]:
        return list(one_pass(samples, listener.hear, listener.model.ctc_head, listener.of_memories))

    return {
        "one by one": lambda _, clips: [listener.of_samples([clip])[0] for clip in clips],
        "segments": cut(),
        "segments, webrtc": cut(vad="webrtc"),
        "segments of 10 s at most": cut(max_segment_seconds=10.0),
        "segments of 30 s at most": cut(max_segment_seconds=30.0),
        "cut every 20 s, overlap 2 s": cut(vad="none"),
        "cut every 20 s, no overlap": cut(vad="none", overlap_seconds=0.0),
        "cut every 5 s, overlap 2 s": cut(vad="none", max_segment_seconds=5.0),
        "cut every 5 s, no overlap": cut(vad="none", max_segment_seconds=5.0, overlap_seconds=0.0),
        "one pass": whole,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data_folder", type=Path)
    parser.add_argument("split")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--least_pause", type=float, default=0.3)
    parser.add_argument("--most_pause", type=float, default=2.0)
    parser.add_argument("--recordings", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    listener = Listener(*load_bundle(asked.model))
    utterances = scan_split(asked.data_folder, asked.split)
    made = [
        joined_recording(utterances, 60 * asked.minutes, (asked.least_pause, asked.most_pause), seed)
        for seed in range(asked.recordings)
    ]
    for name, way in ways(listener).items():
        said = [" ".join(segment.text for segment in way(samples, clips)) for samples, _, clips in made]
        print(f"{name:30} {100 * jiwer.wer([words for _, words, _ in made], said):6.2f} %")


if __name__ == "__main__":
    main()
