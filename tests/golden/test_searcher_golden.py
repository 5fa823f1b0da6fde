"""Our cached decoder inside SpeechBrain's search finds what its own uncached searcher finds."""

import pytest
import torch
from speechbrain.decoders.scorer import CTCScorer, ScorerBuilder
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.training.searcher import JointSearcher
from tests.helpers import randomise


class Uncached(torch.nn.Module):
    """What SpeechBrain's searcher asks of a Transformer: the whole prefix, every time."""

    def __init__(self, model: ASR) -> None:
        super().__init__()
        self.decoder = model.decoder

    def decode(self, tokens, states, lengths):
        return self.decoder(tokens.long(), states, None), None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("normalise", [False, True])
def test_same_hypotheses_and_scores(seed: int, beam: int, normalise: bool) -> None:
    torch.manual_seed(seed)
    config = ModelConfig(
        output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1, num_decoder_layers=2
    )
    model = randomise(ASR(config), seed).eval()
    memory = torch.randn(1, 9, 8)
    ctc = CTCScorer(ctc_fc=model.ctc_head, blank_index=BLANK, eos_index=END)
    theirs = S2STransformerBeamSearcher(
        modules=[Uncached(model), torch.nn.Identity()],
        bos_index=BEGIN,
        eos_index=END,
        min_decode_ratio=0.0,
        max_decode_ratio=1.0,
        beam_size=beam,
        using_eos_threshold=False,
        length_normalization=normalise,
        scorer=ScorerBuilder(full_scorers=[ctc], weights={"ctc": 0.4}),
    )
    theirs.set_n_out = lambda: 12
    with torch.no_grad():
        tokens, _, scores, _ = theirs(memory, torch.ones(1))
    ours = JointSearcher(
        model, beam_size=beam, ctc_weight=0.4, max_decode_ratio=1.0, length_normalization=normalise
    )
    (hypothesis,) = ours(memory, torch.tensor([9]))
    assert hypothesis.tokens == tuple(tokens[0])
    assert hypothesis.score == pytest.approx(float(scores[0]), abs=1e-4)


def test_a_padded_batch_is_searched_as_its_utterances_alone() -> None:
    config = ModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_encoder_layers=1)
    model = randomise(ASR(config)).eval()
    search = JointSearcher(model, beam_size=3, ctc_weight=0.4, max_decode_ratio=1.0)
    memory = torch.randn(2, 9, 8)
    together = search(memory, torch.tensor([9, 5]))
    assert together[0] == search(memory[:1], torch.tensor([9]))[0]
    assert together[1] == search(memory[1:, :5], torch.tensor([5]))[0]
