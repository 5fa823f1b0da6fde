"""Our joint search finds what SpeechBrain's finds, where that does not stop too soon."""

from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, END
from hyperconformer.decoding.exhaustive import ExhaustiveSearch
from hyperconformer.decoding.joint_beam import JointSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.types import Hypothesis
from tests.golden import searcher_oracle
from tests.helpers import randomise

D_MODEL = 32
# Beam, vocabulary (more than twice the beam: else SpeechBrain's fills up with what is impossible), cases.
SYSTEMS = [(1, 12, 60), (5, 16, 60), (10, 30, 60), (66, 140, 20)]


@dataclass(frozen=True)
class Case:
    """A small system whose two heads were never trained, but whose CTC hears a sentence."""

    model: ASR
    language_model: LanguageModel | None
    memory_td: Tensor
    options: SearchOptions


class Dice:
    """Draws that depend on a case's number alone."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def one(self, *values: float | None) -> float | None:
        return values[self.whole(0, len(values))]

    def whole(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.generator))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator)


def draw(beam: int, vocabulary: int, number: int) -> Case:
    """A case: peaky CTC, so that hypotheses end; attention that prefers ends and shuns the begin symbol."""
    seed = 1000 * beam + number
    dice = Dice(seed)
    sizes = {"output_neurons": vocabulary, "nhead": 2, "d_ffn": 16}
    torch.manual_seed(seed)
    model = ASR(ModelConfig(**sizes, d_model=D_MODEL, num_encoder_layers=1, num_decoder_layers=1))
    lm = LanguageModel(LanguageModelConfig(**sizes, d_model=16, num_layers=1)) if number % 2 else None
    with torch.no_grad():
        head = randomise(model, seed).eval().ctc_head.weight
        head.copy_(torch.nn.functional.normalize(dice.normal(*head.shape), dim=1))
        model.decoder.out.weight.mul_(dice.one(0.4, 0.8, 1.2))
        model.decoder.out.bias[BEGIN] -= 6
        model.decoder.out.bias[END] += dice.one(2, 4)
        frames = dice.whole(5, 31)
        labels_t = torch.zeros(frames, dtype=torch.long)
        spoken = dice.whole(1, max(3, frames // 2))
        places = torch.randperm(frames, generator=dice.generator)[:spoken]
        labels_t[places] = torch.randint(3, vocabulary, (spoken,), generator=dice.generator)
        memory_td = dice.one(7, 10) * head[labels_t] + dice.one(0.2, 0.5) * dice.normal(frames, D_MODEL)
    options = SearchOptions(
        beam_size=beam,
        ctc_weight=dice.one(0.3, 0.4, 0.6),
        lm_weight=0.0 if lm is None else dice.one(0.2, 0.6),
        temperature=dice.one(1.0, 1.15, 0.8),
        lm_temperature=dice.one(1.0, 1.2),
        min_decode_ratio=dice.one(0.0, 0.1),
        max_decode_ratio=dice.one(1.0, 0.7),
        eos_threshold=dice.one(None, 1.5),
    )
    return Case(model, lm and randomise(lm, seed + 1).eval(), memory_td, options)


def exact(case: Case, tokens: tuple[int, ...]) -> float:
    """The score of a hypothesis, worked out on its own."""
    search = ExhaustiveSearch(case.model, case.options, case.language_model)
    ((hypothesis,), _) = search.scored(case.memory_td, [tokens])
    return hypothesis.score


def verdict(case: Case, theirs: searcher_oracle.Finding, ours: Hypothesis) -> str:
    """What becomes of a case."""
    tolerance = max(1e-3, 1e-5 * abs(ours.score))
    assert ours.score == pytest.approx(exact(case, ours.tokens), abs=tolerance)
    if not theirs.finished or theirs.scores[0] < -1e10:
        return "unfinished there"
    if BEGIN in theirs.tokens:
        return "begin symbol there"
    if abs(ours.score - theirs.scores[0]) <= tolerance:
        return "same" if ours.tokens == theirs.tokens else "tie"
    if exact(case, ours.tokens) > exact(case, theirs.tokens) + tolerance:
        return "better here"
    return "DIFFERENT"


@pytest.mark.parametrize(("beam", "vocabulary", "cases"), SYSTEMS)
def test_the_best_hypothesis_is_speechbrains(beam: int, vocabulary: int, cases: int) -> None:
    verdicts: Counter[str] = Counter()
    lengths: Counter[int] = Counter()
    for number in range(cases):
        case = draw(beam, vocabulary, number)
        theirs = searcher_oracle.search(case.model, case.memory_td, case.options, case.language_model)
        ours = JointSearch(case.model, case.options, case.language_model)
        ((hypothesis, *_),) = ours(case.memory_td.unsqueeze(0), torch.tensor([len(case.memory_td)]))
        found = verdict(case, theirs, hypothesis)
        verdicts[found] += 1
        lengths[len(hypothesis.tokens)] += found == "same"
        assert found != "DIFFERENT", (number, theirs, hypothesis)
    print(f"beam {beam}: {dict(verdicts)}, tokens: cases {dict(sorted(lengths.items()))}")
    # Of 200 cases at least 160 are compared, sentences of several tokens among them.
    assert verdicts["same"] >= 0.8 * cases, verdicts
    assert verdicts["better here"] <= 0.05 * cases, verdicts
    assert sum(count for length, count in lengths.items() if length >= 3) >= 0.25 * cases, lengths
