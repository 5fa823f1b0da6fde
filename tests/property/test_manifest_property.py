"""What is written is what is read, whatever people call their files and say in them."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hyperconformer.data.manifest import read_manifest, write_manifest
from hyperconformer.types import Utterance

one_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
awkward = one_line | st.text(st.sampled_from("\",;' \té漢\u2028\x00#\\"))
spoken = (awkward | st.text()).filter(lambda words: words.split())
utterances = st.lists(
    st.builds(
        Utterance,
        id=awkward.filter(lambda identity: identity.strip()),
        seconds=st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False),
        path=awkward.filter(bool),
        speaker=awkward,
        words=spoken,
    ),
    unique_by=lambda utterance: utterance.id,
    max_size=5,
)


@given(utterances)
def test_manifests_round_trip(rows: list[Utterance]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "a.csv")
        write_manifest(manifest, rows)
        read = read_manifest(manifest)
        assert read == [replace(row, words=" ".join(row.words.split())) for row in rows]
        first = manifest.read_bytes()
        write_manifest(manifest, read)
        assert manifest.read_bytes() == first
