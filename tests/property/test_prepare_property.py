"""What holds for every text and every way that a connection can break."""

import hashlib
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.data import download as module
from hyperconformer.data.download import download
from hyperconformer.data.words import CASES, plain_words
from tests.http_server import Manners, serving

texts = st.text() | st.text(st.sampled_from("aZé'’-, .1\u0301\n\u2028ßﬁ"))


@given(texts, st.sampled_from(sorted(CASES)), st.booleans())
def test_normalising_again_changes_nothing(text: str, case: str, strip: bool) -> None:
    once = plain_words(text, case=case, strip_punctuation=strip)
    assert once == " ".join(once.split())
    assert plain_words(once, case=case, strip_punctuation=strip) == once
    if strip:
        assert all(part.strip("'") == part for part in once.split())


@settings(deadline=None, max_examples=25)
@given(
    st.binary(min_size=1, max_size=2000),
    st.lists(st.integers(1, 500), max_size=4),
    st.integers(0, 2000),
    st.booleans(),
)
def test_wherever_it_breaks_the_file_arrives(body: bytes, cuts: list[int], there: int, ranges: bool) -> None:
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(module, "PAUSES_SECONDS", (0.0,) * 5),
        serving(Manners({"/a": body}, cuts=cuts, knows_ranges=ranges)) as address,
    ):
        Path(folder, "a.part").write_bytes(body[:there])
        assert download(f"{address}/a", Path(folder, "a"), checksum, progress=False).read_bytes() == body
        assert [path.name for path in Path(folder).iterdir()] == ["a"]
