"""Transcribe a recording that goes on for so many minutes, and print the peak memory of this process.

``python -m tests.recipe.longform_memory MODEL segments|pass MINUTES FOLDER`` repeats the opus files of a
folder, with half a second of silence after each.
"""

import argparse
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.audio import read_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.alignment import SECONDS_PER_FRAME, words
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.encoding import encode
from hyperconformer.inference.longform import transcribe_stream
from hyperconformer.inference.one_pass import one_pass
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Segment

Samples = np.ndarray[tuple[int], np.dtype[np.float32]]


class Listener:
    """A model that hears arrays, or slices of its own encoder output."""

    def __init__(self, model: ASR, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def hear(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor]:
        return encode(self.model, samples_bs, lengths_b)

    @torch.inference_mode()
    def of_memories(self, memories: Sequence[Tensor]) -> list[Segment]:
        said = []
        for memory_td in memories:
            log_probs_btv = self.model.ctc_log_probs(memory_td[None])
            [hypothesis] = ctc_greedy(log_probs_btv)
            found = tuple(words(log_probs_btv[0], hypothesis.tokens, self.tokenizer))
            text = " ".join(word.text for word in found)
            said.append(Segment(0.0, SECONDS_PER_FRAME * len(memory_td), text, found, (hypothesis,)))
        return said

    def of_samples(self, arrays: Sequence[Samples]) -> list[Segment]:
        samples_bs = pad_sequence([torch.from_numpy(samples) for samples in arrays], batch_first=True)
        memory_btd, frames_b = self.hear(samples_bs, torch.tensor([len(samples) for samples in arrays]))
        rows = zip(memory_btd, frames_b.tolist(), strict=True)
        return self.of_memories([memory_td[:frames] for memory_td, frames in rows])


def peak_mib() -> int:
    """Most memory that this process has had; what getrusage says may be that of the one that started it."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found, "the kernel does not tell"
    return int(found[1]) // 1024


def repeated(clips: Sequence[Samples], minutes: float) -> Iterator[Samples]:
    """The clips, again and again."""
    pause, left = np.zeros(SAMPLE_RATE // 2, np.float32), round(60 * minutes * SAMPLE_RATE)
    while True:
        for clip in clips:
            for block in (clip, pause):
                yield block[:left]
                left -= len(block)
                if left <= 0:
                    return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("way", choices=["segments", "pass"])
    parser.add_argument("minutes", type=float)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    listener = Listener(*load_bundle(asked.model))
    clips = [read_audio(path) for path in sorted(asked.folder.rglob("*.opus"))]
    before, start = peak_mib(), time.perf_counter()
    blocks = repeated(clips, asked.minutes)
    if asked.way == "segments":
        said = transcribe_stream(blocks, listener.of_samples)
    else:
        samples = np.concatenate(list(blocks))
        said = one_pass(samples, listener.hear, listener.model.ctc_head, listener.of_memories)
    count = sum(len(segment.words) for segment in said)
    row = {"way": asked.way, "minutes": asked.minutes, "before_mib": before, "peak_mib": peak_mib()}
    row |= {"words": count, "seconds": round(time.perf_counter() - start, 1)}
    print(json.dumps(row))


if __name__ == "__main__":
    main()
