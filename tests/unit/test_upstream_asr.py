"""SpeechBrain's modules in our recogniser's place: the same numbers with the same weights, and they learn."""

from dataclasses import replace

import pytest
import torch

from hyperconformer.bench.upstream_asr import UpstreamASR
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig
from hyperconformer.models.speechbrain_compat import to_speechbrain
from hyperconformer.nn.masks import padding_mask

CONFIG = ModelConfig(
    output_neurons=14, mixer_options={"length_norm": "none", "hypernet_size": 32}, d_model=16, nhead=2,
    d_ffn=32, num_encoder_layers=2, num_decoder_layers=2, transformer_dropout=0.0,
)  # fmt: skip
LENGTHS = torch.tensor([80, 80])
TOKENS = torch.tensor([[1, 5, 7, 9], [1, 8, 8, 3]])


def pair() -> tuple[ASR, UpstreamASR]:
    """Our recogniser, and SpeechBrain's with its weights."""
    torch.manual_seed(0)
    ours, theirs = ASR(CONFIG).eval(), UpstreamASR(CONFIG).eval()
    state = to_speechbrain(ours)
    for index, part in enumerate((theirs.front_end, theirs.transformer)):
        part.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith(f"{index}.")})
    for index, head in ((2, theirs.seq_head), (3, theirs.ctc_head)):
        head.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith(f"{index}.w.")})
    return ours, theirs


def features() -> torch.Tensor:
    return torch.randn(2, 80, 80, generator=torch.Generator().manual_seed(1))


def test_the_same_weights_give_the_same_logits() -> None:
    ours, theirs = pair()
    for one, other in zip(
        ours(features(), LENGTHS, TOKENS), theirs(features(), LENGTHS, TOKENS), strict=False
    ):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)
    memory_btd, frames_b = theirs.encode_features(features(), LENGTHS)
    torch.testing.assert_close(memory_btd, ours.encode_features(features(), LENGTHS)[0], rtol=1e-4, atol=1e-4)
    padding = padding_mask(frames_b, memory_btd.shape[1])
    torch.testing.assert_close(
        theirs.decoder(TOKENS, memory_btd, padding),
        ours.decoder(TOKENS, memory_btd, padding),
        rtol=1e-4,
        atol=1e-4,
    )


def test_its_weights_come_back_as_ours() -> None:
    _, theirs = pair()
    again = theirs.as_ours()
    outputs = again(features(), LENGTHS, TOKENS), theirs(features(), LENGTHS, TOKENS)
    for name in ("ctc_btv", "attention_blv"):
        torch.testing.assert_close(*(getattr(one, name) for one in outputs), rtol=1e-4, atol=1e-4)
    memory_btd, frames_b = theirs.encode_features(features(), LENGTHS)
    options = SearchOptions(beam_size=4)
    found = [
        make_search("joint", Models(model), options)(memory_btd, frames_b)[0][0].tokens
        for model in (pair()[0], again)
    ]
    assert found[0] == found[1]


def test_lengths_are_those_of_ours_and_beyond_them_is_nothing() -> None:
    ours, theirs = pair()
    lengths = torch.tensor([80, 41])
    outputs = theirs(features(), lengths, TOKENS)
    assert outputs.lengths_b.tolist() == ours(features(), lengths, TOKENS).lengths_b.tolist() == [20, 11]
    memory_btd, _ = theirs.encode_features(features(), lengths)
    assert memory_btd[1, 11:].abs().max() == 0 < memory_btd[1, 10].abs().max()


def test_every_weight_learns_and_the_statistics_of_features_are_no_weights() -> None:
    model = UpstreamASR(replace(CONFIG, mixer_options={})).train()
    outputs = model(features(), LENGTHS, TOKENS)
    (outputs.ctc_btv.square().mean() + outputs.attention_blv.square().mean()).backward()
    assert all(weight.grad is not None for weight in model.parameters())
    names = {name for name, _ in model.named_parameters()}
    assert names.isdisjoint({"normalizer.mean", "normalizer.std"}) and "normalizer.mean" in model.state_dict()


def test_it_has_no_layers_on_the_way() -> None:
    with pytest.raises(AssertionError, match="no taps"):
        UpstreamASR(CONFIG)(features(), LENGTHS, TOKENS, (1,))


def test_it_learns_in_sixteen_bits() -> None:
    model = UpstreamASR(CONFIG).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(features(), torch.tensor([80, 41]), TOKENS)
        loss = outputs.ctc_btv.float().log_softmax(-1).mean() + outputs.attention_blv.float().mean()
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
