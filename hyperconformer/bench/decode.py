"""The search of an utterance, ours or SpeechBrain's, on the same encoder output: time, memory and find."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hyperconformer.audio import read_audio
from hyperconformer.bench.cases import Case, Outcome
from hyperconformer.bench.checks import CheckFailed
from hyperconformer.bench.decoding import Decoding, Found
from hyperconformer.bench.gauges import peak_memory, start_memory, synchronise
from hyperconformer.bench.workload import speech
from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.candidates import SearchStats
from hyperconformer.decoding.exhaustive import ExhaustiveSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.errors import InputError
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.language_model_bundle import load_language_model
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig
from hyperconformer.models.language_model import LanguageModel, fit_width
from hyperconformer.nn.layout import lay_for_search

WARM_UP_STEPS = 2
# Nats between two implementations of one network, or one network in two ways, in float32.
SAME_NATS = 1e-3
COMPARED_TOKENS = 6
# Nats that the end is ahead of other tokens in a drawn decoder, and what never happens.
END_AHEAD, NEVER = 12.0, -1e4
# Nats that a peak of CTC is ahead of the blank.
ABOVE_BLANK = 4.0


class Subject(NamedTuple):
    """What is decoded by every system alike.

    Attributes
    ----------
    model : ASR
    language_model : LanguageModel or None
    memory_btd : Tensor, shape (1, T, D)
        Encoder output of the utterance.

    Examples
    --------
    >>> Subject._fields
    ('model', 'language_model', 'memory_btd')
    """

    model: ASR
    language_model: LanguageModel | None
    memory_btd: Tensor

    @property
    def frames(self) -> int:
        """Encoder frames T."""
        return self.memory_btd.shape[1]


Search = Callable[[Tensor], Found]


def _decoding(case: Case) -> Decoding:
    assert case.decoding is not None, "nothing to decode"
    return case.decoding


def load(case: Case) -> Subject:
    """Open or draw the models of a case, and encode its utterance.

    A drawn recogniser says as many tokens as the case has steps: its CTC head has as many blanks as the other
    frames, and its decoder ends as soon as it may, which min_decode_ratio puts at the last step.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Subject

    Raises
    ------
    InputError
        If a folder or the recording cannot be read.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> small = Sizes(d_model=16, heads=2, layers=1, output_neurons=20)
    >>> case = Case("decode", "joint", "search", seconds=2.0, batch_size=1, sizes=small,
    ...             decoding=Decoding(beam=2, steps=5))
    >>> load(case).memory_btd.shape
    torch.Size([1, 50, 16])
    """
    decoding = _decoding(case)
    torch.manual_seed(case.seed)
    if decoding.model:
        model, _ = load_bundle(Path(decoding.model), case.device)
    else:
        model = ASR(replace(case, system="hypermixing").config()).to(case.device).eval()
    samples_bs = speech(case).samples_bs[:1]
    if decoding.audio:
        samples_bs = torch.from_numpy(read_audio(decoding.audio)).unsqueeze(0).to(case.device)
    with torch.no_grad():
        memory_btd, _ = model.encode(samples_bs, torch.tensor([samples_bs.shape[1]], device=case.device))
    subject = Subject(model, _language_model(case, model), memory_btd)
    if decoding.steps is not None:
        _set_biases(subject, decoding.steps)
        if decoding.ctc == "peaked":
            _set_peaks(subject, decoding.steps - 1)
    for part in (subject.model.decoder, subject.language_model):
        if part is not None:
            lay_for_search(part)
    return subject


def _set_biases(subject: Subject, steps: int) -> None:
    """Make a drawn recogniser say one token a step."""
    if steps >= subject.frames:
        raise InputError(f"{steps} steps need more than {subject.frames} frames of 40 ms: give fewer --steps")
    model = subject.model
    blanks = (subject.frames - steps) / steps
    with torch.no_grad():
        model.ctc_head.bias[BLANK] += math.log(model.config.output_neurons * blanks)
        model.decoder.out.bias[END] += math.log(model.config.output_neurons) + END_AHEAD
        # SpeechBrain's search may say it again, ours may not.
        model.decoder.out.bias[BEGIN] = NEVER
        model.ctc_head.bias[BEGIN] = NEVER


def _set_peaks(subject: Subject, count: int) -> None:
    """Make a drawn CTC head hear some tokens in the encoder output, evenly spread, each for sure."""
    head, frames_td = subject.model.ctc_head, subject.memory_btd[0].double()
    features = frames_td.shape[1]
    if 2 * count > features:
        raise InputError(
            f"a peaked CTC head of {features} features tells half as many tokens apart, not {count}: "
            "give fewer --steps or --ctc flat"
        )
    at = ((torch.arange(count, device=frames_td.device) + 0.5) * len(frames_td) / count).long()
    tokens = END + 1 + torch.randperm(len(head.bias) - END - 1)[:count].to(frames_td.device)
    wanted_tn = torch.zeros(len(frames_td), count, dtype=torch.float64, device=frames_td.device)
    wanted_tn[at, torch.arange(count, device=at.device)] = 1.0
    # The mean goes into the bias: what all frames share tells nothing.
    mean_d = frames_td.mean(dim=0)
    weights_dn = torch.linalg.pinv(frames_td - mean_d, rtol=1e-3) @ wanted_tn
    heights_n = ((frames_td - mean_d) @ weights_dn)[at, torch.arange(count, device=at.device)]
    weights_nd = (weights_dn * (head.bias[BLANK] + ABOVE_BLANK) / heights_n).T.to(head.weight.dtype)
    with torch.no_grad():
        head.weight[tokens] += weights_nd
        head.bias[tokens] -= weights_nd @ mean_d.to(head.weight.dtype)


def _language_model(case: Case, model: ASR) -> LanguageModel | None:
    decoding, tokens = _decoding(case), model.config.output_neurons
    if not decoding.has_language_model:
        return None
    if decoding.language_model == "random":
        config = LanguageModelConfig(
            output_neurons=tokens,
            d_model=decoding.lm_d_model,
            nhead=decoding.lm_heads,
            d_ffn=4 * decoding.lm_d_model,
            num_layers=decoding.lm_layers,
        )
        return LanguageModel(config).to(case.device).eval()
    return load_language_model(Path(decoding.language_model), case.device)[0]


def _options(case: Case, subject: Subject) -> SearchOptions:
    decoding = _decoding(case)
    least, most = decoding.ratios(subject.frames)
    return SearchOptions(
        beam_size=decoding.beam,
        ctc_weight=decoding.ctc_weight,
        lm_weight=0.0 if subject.language_model is None else decoding.lm_weight,
        min_decode_ratio=least,
        max_decode_ratio=most,
    )


def _ours(case: Case, subject: Subject) -> Search:
    models = Models(subject.model, subject.language_model)
    search = make_search(case.system, models, _options(case, subject))
    # Of joint search alone: the other scores mean something else.
    stats: SearchStats | None = getattr(search, "stats", None)

    def run(memory_btd: Tensor) -> Found:
        lengths_b = torch.tensor([memory_btd.shape[1]], device=memory_btd.device)
        best = search(memory_btd, lengths_b)[0][0]
        if stats is None:
            return Found(best.tokens)
        return Found(best.tokens, best.score, stats.pruned, stats.fallback_rate)

    return run


def _theirs(case: Case, subject: Subject) -> Search:
    # SpeechBrain need not be there for ours.
    from hyperconformer.bench import upstream_decode

    language_model = subject.language_model
    if language_model is not None:
        language_model = fit_width(language_model, subject.model.config.output_neurons)
    return upstream_decode.make_search(subject.model, language_model, _decoding(case), subject.frames)


def _check_score(case: Case, subject: Subject, found: Found) -> None:
    """Hold the score of our find against the slow reference: it may be better than SpeechBrain's."""
    if case.is_upstream or found.score is None:
        return
    model, language_model, memory_btd = subject
    if language_model is not None:
        language_model = fit_width(language_model, model.config.output_neurons)
    reference = ExhaustiveSearch(model, _options(case, subject), language_model)
    [truth], _ = reference.scored(memory_btd[0], [found.tokens])
    if found.ahead_of(Found(truth.tokens, truth.score)):
        said = f"its hypothesis scores {found.score:.6g}, by the reference {truth.score:.6g}"
        raise CheckFailed(f"{case.name}: {said}")


def check(case: Case, subject: Subject) -> None:
    """See that the networks of a search are what they should be.

    Ours give step by step what they give for a sentence at once; SpeechBrain's do so with our weights.

    Parameters
    ----------
    case : Case
    subject : Subject

    Raises
    ------
    CheckFailed
        If they differ.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> small = Sizes(d_model=16, heads=2, layers=1, output_neurons=20)
    >>> case = Case("decode", "upstream:joint", "search", seconds=2.0, batch_size=1, sizes=small,
    ...             decoding=Decoding(beam=2, steps=5))
    >>> check(case, load(case))
    """
    vocabulary = subject.model.config.output_neurons
    if subject.language_model is not None:
        vocabulary = min(vocabulary, subject.language_model.config.output_neurons)
    tokens_bl = torch.randint(END + 1, vocabulary, (2, COMPARED_TOKENS), device=case.device)
    tokens_bl[:, 0] = BEGIN
    begin = torch.tensor([BEGIN], device=case.device)
    with torch.no_grad():
        logits = _upstream_logits if case.is_upstream else _stepwise_logits
        for name, one, other in logits(subject, tokens_bl):
            # A drawn decoder's begin symbol is far below all others.
            gaps = (one.log_softmax(-1) - other.log_softmax(-1)).abs().index_fill(-1, begin, 0.0)
            if not (off := float(gaps.max())) <= SAME_NATS:
                what = (
                    "SpeechBrain's differ from ours" if case.is_upstream else "single steps differ from all"
                )
                raise CheckFailed(f"{case.name}: {name}: {what} by {off:.1e} nats")


Compared = list[tuple[str, Tensor, Tensor]]


def _upstream_logits(subject: Subject, tokens_bl: Tensor) -> Compared:
    from hyperconformer.bench import upstream_decode

    model, language_model, memory_btd = subject
    memory_btd = memory_btd.expand(len(tokens_bl), -1, -1)
    transformer, seq_lin, ctc_lin = upstream_decode.decoder_of(model)
    found = [
        (
            "decoder",
            seq_lin(transformer.decode(tokens_bl, memory_btd)[0]),
            model.decoder(tokens_bl, memory_btd, None),
        ),
        ("CTC head", ctc_lin(memory_btd), model.ctc_head(memory_btd)),
    ]
    if language_model is not None:
        theirs = upstream_decode.language_model_of(language_model)
        found.append(("language model", theirs(tokens_bl), language_model(tokens_bl)))
    return found


def _stepwise_logits(subject: Subject, tokens_bl: Tensor) -> Compared:
    model, language_model, memory_btd = subject
    memory_btd = memory_btd.expand(len(tokens_bl), -1, -1)
    whole = {"decoder": model.decoder(tokens_bl, memory_btd, None)}
    state, last = model.decoder.start(memory_btd, None), {}
    for tokens_b in tokens_bl.unbind(dim=1):
        last["decoder"], state = model.decoder.step(tokens_b.unsqueeze(1), state)
    if language_model is not None:
        whole["language model"] = language_model(tokens_bl)
        tree = language_model.start(len(tokens_bl))
        for tokens_b in tokens_bl.unbind(dim=1):
            last["language model"], tree = language_model.step(tokens_b.unsqueeze(1), tree)
    return [(name, last[name][:, 0], whole[name][:, -1]) for name in whole]


def measure_decoding(case: Case) -> Outcome:
    """Search a case's utterance, as often as patience allows but once at least.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Outcome

    Raises
    ------
    CheckFailed
        If a network or the score is not correct, or the search takes another number of steps than it should.

    Examples
    --------
    >>> from hyperconformer.bench.cases import Sizes
    >>> small = Sizes(d_model=16, heads=2, layers=1, output_neurons=20)
    >>> case = Case("decode", "joint", "search", seconds=2.0, batch_size=1, sizes=small, repeats=2,
    ...             decoding=Decoding(beam=2, steps=5))
    >>> found = measure_decoding(case)
    >>> len(found.times_ms), len(found.found.tokens)
    (2, 4)
    """
    decoding, subject = _decoding(case), load(case)
    check(case, subject)
    make = _theirs if case.is_upstream else _ours
    with torch.no_grad():
        make(replace(case, decoding=replace(decoding, steps=WARM_UP_STEPS)), subject)(subject.memory_btd)
        search = make(case, subject)
        start, times, found = start_memory(case), list[float](), Found()
        while len(times) < case.repeats and sum(times) + max(times, default=0.0) <= decoding.patience:
            synchronise(case)
            begun = time.perf_counter()
            found = search(subject.memory_btd)
            synchronise(case)
            times.append(time.perf_counter() - begun)
    if decoding.steps is not None and found.score is not None and len(found.tokens) != decoding.steps - 1:
        raise CheckFailed(f"{case.name}: it said {len(found.tokens)} tokens in {decoding.steps} steps")
    peak_bytes = peak_memory(case, start)
    _check_score(case, subject, found)
    models = [subject.model, *([subject.language_model] if subject.language_model is not None else [])]
    return Outcome(
        case,
        "ok",
        times_ms=tuple(1000 * seconds for seconds in times),
        peak_bytes=peak_bytes,
        parameters=sum(weight.numel() for model in models for weight in model.parameters()),
        found=found,
    )
