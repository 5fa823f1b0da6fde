"""Cut a sequence of words anywhere, spoil it near the edges, and stitch it: the whole comes back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hyperconformer.inference.stitching import stitch
from hyperconformer.types import Word

SPOILT_SECONDS = 0.4
"""How near to its edge a piece may hear wrongly."""
JITTER_SECONDS = 0.08


@st.composite
def recordings(draw: st.DrawFn) -> list[Word]:
    """Words from a small vocabulary, so that the same one often comes twice in a row."""
    words, time = [], 0.0
    for text in draw(st.lists(st.sampled_from(["SIX", "SEVEN", "OH"]), min_size=1, max_size=30)):
        time += draw(st.floats(0.0, 0.8))
        end = time + draw(st.floats(0.18, 0.7))
        words.append(Word(text, time, end, 1.0))
        time = end
    return words


def piece(draw: st.DrawFn, words: list[Word], start: float, stop: float) -> list[Word]:
    """What a recogniser makes of a stretch: other times, and near an inner edge other words or none."""
    found = []
    for word in words:
        if word.end <= start or word.start >= stop:
            continue
        low, high = (
            time + draw(st.floats(-JITTER_SECONDS, JITTER_SECONDS)) for time in (word.start, word.end)
        )
        low, high = max(low, start), min(high, stop)
        text = word.text
        if word.start < start + SPOILT_SECONDS or word.end > stop - SPOILT_SECONDS:
            text = draw(st.sampled_from([text, "UH", ""]))
        if text and high > low:
            found.append(Word(text, low, high, 1.0))
    return found


@settings(deadline=None, max_examples=300)
@given(data=st.data(), words=recordings())
def test_no_word_is_doubled_and_none_is_lost(data: st.DataObject, words: list[Word]) -> None:
    end = words[-1].end
    cut, overlap = data.draw(st.floats(0.0, end)), data.draw(st.floats(2.5, 6.0))
    start, stop = cut - overlap / 2, cut + overlap / 2
    # The outer edges of the recording are no edges: nothing is cut off there.
    left = piece(data.draw, words, -1e9, min(stop, 1e9) if stop < end else 1e9)
    right = piece(data.draw, words, start if start > 0 else -1e9, 1e9)
    ours, theirs = stitch(left, right, start, stop)
    assert [word.text for word in ours + theirs] == [word.text for word in words]
    assert all(one.end <= other.start for one, other in zip(ours[-1:], theirs[:1], strict=False))


@settings(deadline=None, max_examples=100)
@given(left=recordings(), right=recordings(), start=st.floats(0.0, 5.0), overlap=st.floats(0.0, 5.0))
def test_anything_is_taken_and_order_is_kept(
    left: list[Word], right: list[Word], start: float, overlap: float
) -> None:
    """Also pieces that have nothing in common: what remains are their own words, in their own order."""
    stop = start + overlap
    ours, theirs = stitch(left, right, start, stop)
    assert [word.text for word in ours] == [word.text for word in left[: len(ours)]]
    assert [word.text for word in theirs] == [word.text for word in right[len(right) - len(theirs) :]]
