"""What trained weights are asked: errors of every recording, and of long ones."""

import hashlib
from collections.abc import Mapping, Sequence

import jiwer
import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from hyperconformer.bench.contest.found import GREEDY, Judged, together
from hyperconformer.bench.contest.joined import join, read_joined
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.greedy_logits import greedy_search
from hyperconformer.models.asr import ASR
from hyperconformer.scoring import UtteranceScore, score
from hyperconformer.text import Tokenizer
from hyperconformer.types import Utterance

Pairs = Sequence[tuple[Utterance, str]]
DIGEST_DIGITS = 16


def count_errors(
    decoded: Mapping[str, Pairs], split: str, losses: Mapping[str, float] | None = None
) -> Judged:
    """Count the errors of every recording.

    Parameters
    ----------
    decoded : mapping of str to sequence of (Utterance, str)
        By search: each recording with its hypothesis; all searches heard the same.
    split : str
        Named in messages.
    losses : mapping of str to float or None
        Nats of every recording, by its id.

    Returns
    -------
    Judged

    Raises
    ------
    InputError
        If there is nothing to score.

    Examples
    --------
    >>> spoken = [Utterance("b", 1.0, "", "1", "TWO"), Utterance("a", 1.0, "", "1", "ONE TWO")]
    >>> tested = count_errors({"greedy": [(spoken[0], "TO"), (spoken[1], "ONE TWO")]}, "test")
    >>> tested.words, tested.word_edits, tested.character_edits
    ([2, 1], {'greedy': [0, 1]}, {'greedy': [0, 1]})
    """
    reports = {search: score(pairs, split) for search, pairs in decoded.items()}
    spoken = sorted((utterance for utterance, _ in next(iter(decoded.values()))), key=lambda one: one.id)
    digest = hashlib.sha256()
    for one in spoken:
        digest.update(f"{one.id} {one.words}\n".encode())
    rows = {search: report.utterances for search, report in reports.items()}
    first = next(iter(rows.values()))
    return Judged(
        digest.hexdigest()[:DIGEST_DIGITS],
        sum(one.seconds for one in spoken),
        [row.counts.reference_words for row in first],
        [len(row.reference) for row in first],
        {search: [row.counts.edits for row in own] for search, own in rows.items()},
        {search: list(map(_character_edits, own)) for search, own in rows.items()},
        [] if losses is None else [round(losses[one.id], 5) for one in spoken],
    )


def _character_edits(row: UtteranceScore) -> int:
    found = jiwer.process_characters(row.reference, row.hypothesis)
    return int(found.substitutions + found.deletions + found.insertions)


def hear_joined(
    model: ASR, tokenizer: Tokenizer, utterances: Sequence[Utterance], seconds: float, orders: int = 1
) -> Judged:
    """Join utterances, hear each recording in one pass of the encoder, and follow CTC's best path.

    The path is cut where the utterances meet, in time; where words suit best would be freer in longer ones.

    Parameters
    ----------
    model : ASR
        In evaluation mode; or what has its interface.
    tokenizer : Tokenizer
    utterances : sequence of Utterance
    seconds : float
        A recording's greatest length.
    orders : int
        In how many orders they are joined.

    Returns
    -------
    Judged
        Errors of every utterance, all orders together, so that lengths are compared utterance by utterance.
        Nothing but a note, where the model cannot hear a recording of such a length.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> hear_joined(SimpleNamespace(ctc_head=torch.nn.Linear(1, 1)), None, [], 15.0).note
    'nothing to hear'
    """
    if not utterances:
        return Judged(note="nothing to hear")
    heard = []
    for order in range(orders):
        pairs: list[tuple[Utterance, str]] = []
        for recording in join(utterances, seconds, order):
            samples, ends = read_joined(recording)
            try:
                words = _hear_parts(model, tokenizer, samples, ends)
            except (RuntimeError, AssertionError) as error:
                # Some systems are made for a greatest length, or need more memory than there is.
                said = (str(error) or "no message").splitlines()[0]
                return Judged(note=f"{len(samples) / SAMPLE_RATE:.1f} s: {said}")
            pairs += zip(recording, words, strict=True)
        heard.append(count_errors({GREEDY: pairs}, f"joined to {seconds:g} s"))
    return together(heard)


@torch.inference_mode()
def _hear_parts(
    model: ASR, tokenizer: Tokenizer, samples: npt.NDArray[np.float32], ends: npt.NDArray[np.int64]
) -> list[str]:
    """Encode a recording in one pass, and read each of its parts from the frames of its time."""
    device = next(model.ctc_head.parameters()).device
    samples_bs = torch.from_numpy(samples)[None].to(device)
    features = model.features(samples_bs, torch.tensor([len(samples)], device=device))
    memory_btd, [frames] = model.encode_features(*features)
    sizes = np.diff(np.round(ends * (int(frames) / ends[-1])).astype(int), prepend=0)
    parts_bte = pad_sequence(memory_btd[0, :frames].split(sizes.tolist()), batch_first=True)
    found = greedy_search(model.ctc_head, parts_bte, torch.from_numpy(sizes).to(device))
    return [tokenizer.decode(part.tokens) for part in found]
