"""Small systems that several tests search with: never trained, but their hypotheses end."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, END
from hyperconformer.decoding.exhaustive import ExhaustiveSearch
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from tests.helpers import randomise

D_MODEL = 32


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
