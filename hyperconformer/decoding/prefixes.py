"""The live prefixes of one utterance's CTC prefix search, in flat arrays, and the trie they hang in."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hyperconformer.constants import BLANK, END
from hyperconformer.decoding.ctc_probability import sequence_log_probs
from hyperconformer.decoding.fusion import Floats, Fusion, Integers
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.types import Hypothesis

FIRST_TOKEN = END + 1
"""Labels below are signs and no tokens."""

# By how much, relative to their size, sums of logarithms may be wrong: bounds give way by that.
_ROUNDING = 1e-6
# Below what anything possible has; finite, so that it can be subtracted from itself.
_LEAST = -1e30


class Trie:
    """The prefixes of a batch: nodes 0 to B - 1 are the empty ones, every other is its parent and a token.

    Parameters
    ----------
    utterances : int
        Batch size B.

    Examples
    --------
    >>> trie = Trie(2)
    >>> node = trie.child(trie.child(1, 7), 5)
    >>> node, trie.spell(node), trie.child(1, 7)
    (3, (7, 5), 2)
    """

    def __init__(self, utterances: int) -> None:
        self._parents, self._tokens = [-1] * utterances, [BLANK] * utterances
        self._children: dict[tuple[int, int], int] = {}

    def child(self, parent: int, token: int) -> int:
        """The one node of a prefix, also when it comes back after it had left the beam."""
        node = self._children.setdefault((parent, token), len(self._parents))
        if node == len(self._parents):
            self._parents.append(parent)
            self._tokens.append(token)
        return node

    def spell(self, node: int) -> tuple[int, ...]:
        """The tokens of a prefix."""
        tokens = []
        while self._parents[node] >= 0:
            tokens.append(self._tokens[node])
            node = self._parents[node]
        return tuple(reversed(tokens))


class FusedScores:
    """All that is fused in: its P parts one below the other, and what each of them weighs.

    Parameters
    ----------
    fusions : sequence of Fusion
    utterances : int
        Batch size.
    options : SearchOptions
        The weights.

    Examples
    --------
    >>> FusedScores([], 1, SearchOptions()).most(np.array([0]))
    0.0
    """

    def __init__(self, fusions: Sequence[Fusion], utterances: int, options: SearchOptions) -> None:
        self.names = [name for fusion in fusions for name in fusion.parts]
        self.weights_p = np.array([options.weight(name) for name in self.names])
        self._scorers = [fusion.start(utterances) for fusion in fusions]

    def prepare(self, live: Sequence[Integers], asked: Sequence[Integers]) -> None:
        """Tell all of each utterance's live prefixes, and of those that will be asked for."""
        for scorer in self._scorers:
            scorer.prepare(live, asked)

    def most(self, nodes_k: Integers) -> float:
        """No token adds more to any of the prefixes, weighted and summed."""
        most_p = [most for scorer in self._scorers for most in scorer.most(nodes_k).tolist()]
        weights = self.weights_p.tolist()
        return sum((max(0.0, weight * most) for weight, most in zip(weights, most_p, strict=True)), 0.0)

    def scores(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        """What each token adds to each part of each prefix, (P, K, C)."""
        added = [scorer.scores(utterance, nodes_k, tokens_c) for scorer in self._scorers]
        return np.concatenate([np.empty((0, len(nodes_k), len(tokens_c))), *added])

    def grow(self, parents: Sequence[int], tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Tell all of prefixes that are kept."""
        for scorer in self._scorers:
            scorer.grow(parents, tokens, nodes)

    def finish(self, utterance: int, nodes_k: Integers) -> Floats:
        """What the end adds to each part of each prefix, (P, K)."""
        added = [scorer.finish(utterance, nodes_k) for scorer in self._scorers]
        return np.concatenate([np.empty((0, len(nodes_k))), *added])


class Beam:
    """The live prefixes of one utterance, K rows.

    The mass of a row lies in two logarithms: of its paths that end in a blank, and of those that end in the
    prefix's last token.

    Parameters
    ----------
    root : int
        The node of the empty prefix.
    frames_tv : array, shape (T, V)
        Log-probabilities, without padding.
    size : int
        Most rows.
    scores : FusedScores
    trie : Trie

    Examples
    --------
    >>> frames_tv = np.log([[0.5, 0.1, 0.1, 0.3], [0.2, 0.1, 0.1, 0.6]])
    >>> beam = Beam(0, frames_tv, 2, FusedScores([], 1, SearchOptions()), Trie(1))
    >>> while beam.advance():
    ...     beam.extend()
    >>> [(found.tokens, round(float(np.exp(found.score)), 2)) for found in beam.finish(2)]
    [((3,), 0.54), ((), 0.1)]
    """

    def __init__(
        self,
        root: int,
        frames_tv: npt.NDArray[np.floating],
        size: int,
        scores: FusedScores,
        trie: Trie,
    ) -> None:
        self.root, self.size = root, size
        self.scores, self.trie = scores, trie
        self.frames_tv, self.frame = frames_tv, 0
        self.peak_t = frames_tv[:, FIRST_TOKEN:].max(axis=1, initial=-np.inf).tolist()
        self.nodes_k, self.parents_k, self.last_k = np.array([[root], [-1], [BLANK]])
        self.blank_k, self.token_k = np.array([[0.0], [-np.inf]])
        self.parts_pk = np.zeros((len(scores.names), 1))
        self._settle()

    def _settle(self) -> None:
        """Note what stays true until a prefix comes or goes."""
        order_k = self.nodes_k.argsort()
        places_k = self.nodes_k.searchsorted(self.parents_k, sorter=order_k)
        up_k = order_k.take(places_k, mode="clip")
        # A row whose parent is in the beam as well gains by its last token; a token behind the same token
        # needs a blank in between.
        self.child_j = np.flatnonzero(self.nodes_k[up_k] == self.parents_k)
        self.up_j = up_k[self.child_j]
        self.double_j = self.last_k[self.up_j] == self.last_k[self.child_j]
        self.fused_k: Floats = self.scores.weights_p @ self.parts_pk
        self.gain = self.scores.most(self.nodes_k) if self.scores.names else 0.0

    def advance(self) -> bool:
        """Go on to the next frame at which a new prefix may enter the beam.

        Returns
        -------
        bool
            Whether there is one, and then ``asked_k`` are the nodes of rows that it may grow from; else all
            frames are done.
        """
        while self.frame < len(self.frames_tv):
            self._stay()
            self.floor = float(self._floor(self.base_k.max()))
            if self.peak_t[self.frame] >= self.floor:
                self.rows_r = np.flatnonzero(self._floor(self.base_k) <= self.peak_t[self.frame])
                self.asked_r = self.nodes_k[self.rows_r]
                return True
            self.blank_k, self.token_k = self.next_blank_k, self.next_token_k
            self.frame += 1
        self.asked_r = self.nodes_k
        return False

    def _stay(self) -> None:
        """Work out what the next frame makes of the rows."""
        frame_v = self.frames_tv[self.frame]
        self.whole_k = np.logaddexp(self.blank_k, self.token_k)
        emit_k = frame_v[self.last_k]
        self.next_blank_k = self.whole_k + float(frame_v[BLANK])
        self.next_token_k = self.token_k + emit_k
        if len(self.child_j):
            arriving_j = np.where(self.double_j, self.blank_k[self.up_j], self.whole_k[self.up_j])
            arriving_j += emit_k[self.child_j]
            self.next_token_k[self.child_j] = np.logaddexp(self.next_token_k[self.child_j], arriving_j)
        self.base_k = self.whole_k + self.fused_k
        self.rank_k = np.logaddexp(self.next_blank_k, self.next_token_k) + self.fused_k

    def _floor(self, base: Floats) -> Floats:
        """How probable a token has to be so that a prefix from a row of this rank can enter the beam."""
        worst = self.rank_k.min() if len(self.nodes_k) == self.size else -np.inf
        if worst == -np.inf:
            return np.full_like(base, _LEAST)
        gap = worst - self.gain - np.maximum(base, _LEAST)
        return np.maximum(gap - _ROUNDING * (1 + np.abs(gap)), _LEAST)

    def _candidates(self) -> Integers:
        """Tokens that may make a prefix that enters the beam, in ascending order."""
        frame_v = self.frames_tv[self.frame, FIRST_TOKEN:]
        tokens_c = np.flatnonzero(frame_v >= frame_v.dtype.type(self.floor))
        if not self.scores.names and len(tokens_c) > self.size + 1:
            # This frame alone ranks what follows a row, but for its own last token: behind the first size + 1
            # of the tokens, each has size better ones.
            first = frame_v[tokens_c].argpartition(-self.size - 1)[-self.size - 1 :]
            tokens_c = np.sort(tokens_c[first])
        return tokens_c + FIRST_TOKEN

    def _mass(self, tokens_c: Integers) -> Floats:
        """Log mass of each row with each token behind it, (K, C); none where the beam has it already."""
        emit_c = self.frames_tv[self.frame, tokens_c].astype(np.float64)
        mass_kc: Floats = self.whole_k[:, None] + emit_c
        columns_k = tokens_c.searchsorted(self.last_k)
        found_k = tokens_c.take(columns_k, mode="clip") == self.last_k
        rows = np.flatnonzero(found_k)
        mass_kc[rows, columns_k[rows]] = self.blank_k[rows] + emit_c[columns_k[rows]]
        inside_j = found_k[self.child_j]
        mass_kc[self.up_j[inside_j], columns_k[self.child_j[inside_j]]] = -np.inf
        return mass_kc

    def extend(self) -> None:
        """Take the frame at which :meth:`advance` stopped: keep the best of the old and the new prefixes."""
        if self.frame == len(self.frames_tv):
            return
        tokens_c = self._candidates()
        mass_rc = self._mass(tokens_c)[self.rows_r]
        added_prc = self.scores.scores(self.root, self.asked_r, tokens_c)
        rank_rc = mass_rc + self.fused_k[self.rows_r, None]
        rank_rc += np.tensordot(self.scores.weights_p, added_prc, axes=1)
        old, new = self._best(rank_rc)
        at = np.unravel_index(new, rank_rc.shape)
        changed = len(new) > 0 or len(old) < len(self.nodes_k)
        self._go_on(old, self.rows_r[at[0]], tokens_c[at[1]], mass_rc[at], added_prc[:, at[0], at[1]])
        if changed:
            self._settle()
        self.frame += 1

    def _best(self, rank_rc: Floats) -> tuple[Integers, Integers]:
        """Old rows, and numbers of new ones, that are kept."""
        rank_n = np.concatenate((self.rank_k, rank_rc.ravel()))
        kept = np.arange(len(rank_n))
        if len(rank_n) > self.size:
            kept = np.sort(rank_n.argpartition(-self.size)[-self.size :])
        kept = kept[rank_n[kept] > -np.inf]
        if not len(kept):
            # Where nothing at all is possible, something has to be returned all the same.
            return np.array([0]), kept
        first_new = len(self.rank_k)
        split = kept.searchsorted(first_new)
        return kept[:split], kept[split:] - first_new

    def _go_on(
        self, old: Integers, up_n: Integers, token_n: Integers, mass_n: Floats, added_pn: Floats
    ) -> None:
        """Keep old rows, and add new ones: each a row and a token behind it."""
        parents_n = self.nodes_k[up_n]
        parents, tokens = parents_n.tolist(), token_n.tolist()
        nodes = [self.trie.child(parent, token) for parent, token in zip(parents, tokens, strict=True)]
        self.scores.grow(parents, tokens, nodes)
        self.parts_pk = np.concatenate((self.parts_pk[:, old], self.parts_pk[:, up_n] + added_pn), axis=1)
        self.parents_k = np.concatenate((self.parents_k[old], parents_n))
        self.nodes_k = np.concatenate((self.nodes_k[old], np.array(nodes, dtype=np.int64)))
        self.last_k = np.concatenate((self.last_k[old], token_n))
        self.blank_k = np.concatenate((self.next_blank_k[old], np.full(len(nodes), -np.inf)))
        self.token_k = np.concatenate((self.next_token_k[old], mass_n))

    def finish(self, nbest: int) -> list[Hypothesis]:
        """Rank the rows by what they are worth in the end.

        Parameters
        ----------
        nbest : int
            How many to return at most.

        Returns
        -------
        list of Hypothesis
            Best first.
        """
        spelt = [self.trie.spell(node) for node in self.nodes_k.tolist()]
        ctc_k = sequence_log_probs(self.frames_tv, spelt)
        parts_pk = self.parts_pk + self.scores.finish(self.root, self.nodes_k)
        total_k = ctc_k + self.scores.weights_p @ parts_pk
        ranked = sorted(range(len(spelt)), key=lambda row: (-total_k[row], spelt[row]))[:nbest]
        names = ("ctc", *self.scores.names)
        return [
            Hypothesis(
                spelt[row],
                float(total_k[row]),
                dict(zip(names, [ctc_k[row].item(), *parts_pk[:, row].tolist()], strict=True)),
            )
            for row in ranked
        ]
