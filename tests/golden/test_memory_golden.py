"""What a training step keeps for backward, against SpeechBrain's encoder of the same sizes."""

import pytest

from hyperconformer.bench.cases import Case, Sizes
from hyperconformer.bench.measure import saved_bytes
from hyperconformer.bench.systems import build

SIZES = Sizes(d_model=144, heads=8, layers=2)


def kept(system: str, seconds: float = 15.0) -> int:
    load = build(Case("encoder", system, "backward", seconds=seconds, batch_size=1, sizes=SIZES)).train()
    return saved_bytes(load.forward, [*load.module.parameters(), *load.inputs])


def test_at_most_sixty_percent_of_what_speechbrain_keeps() -> None:
    assert kept("hypermixing") <= 0.6 * kept("upstream:hypermixing")


@pytest.mark.parametrize("system", ["hypermixing", "identity", "summary"])
def test_linear_mixers_keep_in_proportion_to_length(system: str) -> None:
    assert kept(system, 60.0) == pytest.approx(4 * kept(system, 15.0), rel=0.05)
