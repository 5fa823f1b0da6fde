"""What trained weights are asked: errors of every recording, and of long ones."""

import hashlib
from collections.abc import Mapping, Sequence

import jiwer
import torch

from hyperconformer.bench.contest.found import GREEDY, Judged, together
from hyperconformer.bench.contest.joined import join, read_joined, share_out
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
            samples = torch.from_numpy(read_joined(recording))[None]
            try:
                words = _greedy_words(model, tokenizer, samples)
            except (RuntimeError, AssertionError) as error:
                # Some systems are made for a greatest length, or need more memory than there is.
                said = (str(error) or "no message").splitlines()[0]
                return Judged(note=f"{samples.shape[1] / SAMPLE_RATE:.1f} s: {said}")
            pairs += share_out(recording, words)
        heard.append(count_errors({GREEDY: pairs}, f"joined to {seconds:g} s"))
    return together(heard)


@torch.inference_mode()
def _greedy_words(model: ASR, tokenizer: Tokenizer, samples: torch.Tensor) -> str:
    """CTC's best path through one recording, (1, samples)."""
    device = next(model.ctc_head.parameters()).device
    features = model.features(samples.to(device), torch.tensor([samples.shape[1]], device=device))
    [found] = greedy_search(model.ctc_head, *model.encode_features(*features))
    return tokenizer.decode(found.tokens)
