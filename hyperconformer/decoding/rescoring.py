"""N-best lists scored by attention and a language model, what hypotheses share only once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.asr import ASR
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.masks import padding_mask
from hyperconformer.types import Hypothesis

MOST_NODES = 4096
"""Tokens of a batch that a model is asked about at once."""


@dataclass(frozen=True)
class TokenTree:
    """The hypotheses of each utterance as a tree whose root is the begin symbol.

    Attributes
    ----------
    tokens_bn : Tensor, shape (B, N), long
        Token of each node, parents before children; blanks pad.
    depths_bn : Tensor, shape (B, N), long
        Its distance from the root.
    seen_bnn : Tensor, shape (B, N, N), bool
        The nodes on the way from the root to each node, itself included.
    steps : list of list of (int, int)
        Of each utterance, every node and token behind it that some hypothesis has; the end symbol among them.
    paths : list of list of list of int
        Of each hypothesis of each utterance, the numbers of its steps among ``steps``.

    Examples
    --------
    >>> tree = TokenTree.of([[(5, 6), (5, 7)]])
    >>> tree.tokens_bn.tolist(), tree.depths_bn.tolist()
    ([[1, 5, 6, 7]], [[0, 1, 2, 2]])
    >>> tree.steps[0], tree.paths[0]
    ([(0, 5), (1, 6), (2, 2), (1, 7), (3, 2)], [[0, 1, 2], [0, 3, 4]])
    """

    tokens_bn: Tensor
    depths_bn: Tensor
    seen_bnn: Tensor
    steps: list[list[tuple[int, int]]]
    paths: list[list[list[int]]]

    @classmethod
    def of(
        cls, hypotheses: Sequence[Sequence[Sequence[int]]], device: torch.device | str = "cpu"
    ) -> "TokenTree":
        """Grow it.

        Parameters
        ----------
        hypotheses : sequence of sequence of sequence of int
            Tokens of each utterance's hypotheses.
        device : device or str

        Returns
        -------
        TokenTree
        """
        grown = [_grow(lists) for lists in hypotheses]
        width = max(len(tokens) for tokens, _, _, _ in grown)
        tokens_bn = torch.full((len(grown), width), BLANK)
        depths_bn = torch.zeros_like(tokens_bn)
        seen_bnn = torch.eye(width, dtype=torch.bool).repeat(len(grown), 1, 1)
        for row, (tokens, parents, _, _) in enumerate(grown):
            tokens_bn[row, : len(tokens)] = torch.tensor(tokens)
            for node, parent in enumerate(parents[1:], start=1):
                seen_bnn[row, node] |= seen_bnn[row, parent]
                depths_bn[row, node] = depths_bn[row, parent] + 1
        steps, paths = [steps for _, _, steps, _ in grown], [paths for _, _, _, paths in grown]
        return cls(tokens_bn.to(device), depths_bn.to(device), seen_bnn.to(device), steps, paths)

    def sums(self, logits_bnv: Tensor, temperature: float) -> list[list[float]]:
        """Log-probability of each hypothesis, its end included.

        Parameters
        ----------
        logits_bnv : Tensor, shape (B, N, V)
            Of what follows each node.
        temperature : float
            Divides them.

        Returns
        -------
        list of list of float
            Of each hypothesis of each utterance.
        """
        sums = []
        for logits_nv, steps, paths in zip(logits_bnv, self.steps, self.paths, strict=True):
            logits_nv = logits_nv.float() / temperature
            nodes, tokens = torch.tensor(steps, device=logits_nv.device).T
            logs = (logits_nv[nodes, tokens] - logits_nv.logsumexp(dim=1)[nodes]).double().cpu()
            sums.append([float(logs[path].sum()) for path in paths])
        return sums


def _grow(
    lists: Sequence[Sequence[int]],
) -> tuple[list[int], list[int], list[tuple[int, int]], list[list[int]]]:
    """One utterance's tree: token and parent of each node, the steps, and each hypothesis's steps."""
    tokens, parents, paths = [BEGIN], [0], []
    children: dict[tuple[int, int], int] = {}
    steps: dict[tuple[int, int], int] = {}
    for hypothesis in lists:
        node, path = 0, []
        for token in (*hypothesis, END):
            step = (node, token)
            path.append(steps.setdefault(step, len(steps)))
            if token != END and step not in children:
                children[step] = len(tokens)
                tokens.append(token)
                parents.append(node)
            node = children.get(step, node)
        paths.append(path)
    return tokens, parents, list(steps), paths


@torch.no_grad()
def attention_scores(
    model: ASR,
    memory_btd: Tensor,
    lengths_b: Tensor,
    hypotheses: Sequence[Sequence[Sequence[int]]],
    temperature: float = 1.0,
) -> list[list[float]]:
    """Log-probabilities of hypotheses by the attention decoder.

    Parameters
    ----------
    model : ASR
    memory_btd : Tensor, shape (B, T, D)
        Encoder output.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.
    hypotheses : sequence of sequence of sequence of int
        Tokens of each utterance's hypotheses.
    temperature : float

    Returns
    -------
    list of list of float
        In nats, the end included.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2, num_encoder_layers=1)).eval()
    >>> scores = attention_scores(model, torch.zeros(1, 6, 8), torch.tensor([6]), [[(5, 6), ()]])
    >>> len(scores[0])
    2
    """
    padding = padding_mask(lengths_b, memory_btd.shape[1])

    def decode(tree: TokenTree, part: slice) -> Tensor:
        order = tree.depths_bn, tree.seen_bnn
        logits_bnv: Tensor = model.decoder(tree.tokens_bn, memory_btd[part], padding[part], order)
        return logits_bnv

    return _in_portions(decode, hypotheses, temperature, memory_btd.device)


@torch.no_grad()
def language_model_scores(
    model: LanguageModel, hypotheses: Sequence[Sequence[Sequence[int]]], temperature: float = 1.0
) -> list[list[float]]:
    """Log-probabilities of hypotheses by a language model.

    Parameters
    ----------
    model : LanguageModel
    hypotheses : sequence of sequence of sequence of int
        Tokens of each utterance's hypotheses.
    temperature : float

    Returns
    -------
    list of list of float
        In nats, the end included.

    Examples
    --------
    >>> from hyperconformer.models.config import LanguageModelConfig
    >>> config = LanguageModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    >>> len(language_model_scores(LanguageModel(config).eval(), [[(5, 6), ()], [(5,)]])[0])
    2
    """

    def foretell(tree: TokenTree, part: slice) -> Tensor:
        logits_bnv: Tensor = model(tree.tokens_bn, (tree.depths_bn, tree.seen_bnn))
        return logits_bnv

    return _in_portions(foretell, hypotheses, temperature, model.embedding.weight.device)


def _in_portions(
    logits: Callable[[TokenTree, slice], Tensor],
    hypotheses: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    device: torch.device,
) -> list[list[float]]:
    """Ask about as many utterances at once as have ``MOST_NODES`` tokens, or about one."""
    scores: list[list[float]] = []
    longest = max((sum(len(tokens) + 1 for tokens in lists) for lists in hypotheses), default=1)
    together = max(1, MOST_NODES // longest)
    for start in range(0, len(hypotheses), together):
        part = slice(start, start + together)
        tree = TokenTree.of(hypotheses[part], device)
        scores.extend(tree.sums(logits(tree, part), temperature))
    return scores


def rescore(
    nbest: Sequence[Sequence[Hypothesis]],
    memory_btd: Tensor,
    lengths_b: Tensor,
    model: ASR,
    options: SearchOptions,
    language_model: LanguageModel | None = None,
) -> list[list[Hypothesis]]:
    """Rank n-best lists by all scores.

    Parameters
    ----------
    nbest : sequence of sequence of Hypothesis
        Of each utterance; each has its "ctc" part.
    memory_btd : Tensor, shape (B, T, D)
        Encoder output.
    lengths_b : Tensor, shape (B,), long
        Its valid frames.
    model : ASR
    options : SearchOptions
    language_model : LanguageModel or None

    Returns
    -------
    list of list of Hypothesis
        The ``options.nbest`` best of each utterance, best first, with the parts "attention" and "lm" where
        they have a weight.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2, num_encoder_layers=1)).eval()
    >>> found = [[Hypothesis((5,), -1.0, {"ctc": -1.0}), Hypothesis((5, 6), -4.0, {"ctc": -4.0})]]
    >>> best = rescore(found, torch.zeros(1, 6, 8), torch.tensor([6]), model, SearchOptions())[0][0]
    >>> sorted(best.parts)
    ['attention', 'ctc']
    """
    tokens = [[hypothesis.tokens for hypothesis in found] for found in nbest]
    further = {}
    if options.ctc_weight < 1:
        further["attention"] = attention_scores(model, memory_btd, lengths_b, tokens, options.temperature)
    if options.lm_weight and language_model is not None:
        further["lm"] = language_model_scores(language_model, tokens, options.lm_temperature)
    ranked = []
    for row, found in enumerate(nbest):
        scored = []
        for column, hypothesis in enumerate(found):
            parts = {**hypothesis.parts, **{name: scores[row][column] for name, scores in further.items()}}
            scored.append(Hypothesis(hypothesis.tokens, hypothesis.score, parts))
        ranked.append(rank(scored, options)[: options.nbest])
    return ranked


def rank(found: Sequence[Hypothesis], options: SearchOptions) -> list[Hypothesis]:
    """Sort hypotheses by their parts: those of a search again by other weights, without a search.

    Parameters
    ----------
    found : sequence of Hypothesis
        With every part that has a weight in ``options``; their scores are not looked at.
    options : SearchOptions
        For an exact result they differ from those of the search in ``ctc_weight``, ``lm_weight`` and
        ``length_normalization`` at most: what has no part in finding hypotheses.

    Returns
    -------
    list of Hypothesis
        All, best first; of equals the one that was ahead before.

    Examples
    --------
    >>> one = Hypothesis((5,), -1.0, {"attention": -1.0, "ctc": -1.0, "lm": -9.0})
    >>> two = Hypothesis((6,), -2.0, {"attention": -2.0, "ctc": -2.0, "lm": -3.0})
    >>> [(best.tokens, best.score) for best in rank([one, two], SearchOptions(lm_weight=0.5))]
    [((6,), -3.5), ((5,), -5.5)]
    """
    ranked = []
    for each in found:
        symbols = len(each.tokens) + 1 if options.length_normalization else 1
        ranked.append(Hypothesis(each.tokens, weighted(each.parts, options) / symbols, each.parts))
    return sorted(ranked, key=lambda hypothesis: -hypothesis.score)


def weighted(parts: Mapping[str, float], options: SearchOptions) -> float:
    """A hypothesis's score from its unweighted parts.

    Parameters
    ----------
    parts : mapping of str to float
    options : SearchOptions

    Returns
    -------
    float
        Parts without a weight of their own, such as that of hotwords, count as they are.

    Examples
    --------
    >>> weighted({"ctc": -1.0, "attention": -2.0, "hotwords": 0.5}, SearchOptions(ctc_weight=0.25))
    -1.25
    """
    return sum(options.weight(name) * value for name, value in parts.items())
