"""A Transformer over tokens in a prefix search: each prefix is evaluated once, many at a time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hyperconformer.constants import BEGIN, END
from hyperconformer.decoding.fusion import Floats, Integers
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.nn.log_probs import log_probs
from hyperconformer.nn.prefix_tree import PrefixTree


class TransformerFusion:
    """Log-probabilities of a language model that knows the network's tokens.

    Parameters
    ----------
    language_model : LanguageModel
        In evaluation mode, on any device.
    options : SearchOptions
        ``lm_temperature`` divides the logits.

    Examples
    --------
    >>> from hyperconformer.models.config import LanguageModelConfig
    >>> config = LanguageModelConfig(output_neurons=12, d_model=8, nhead=2, d_ffn=16, num_layers=1)
    >>> fusion = TransformerFusion(LanguageModel(config).eval(), SearchOptions(lm_weight=0.5))
    >>> scorer = fusion.start(2)
    >>> scorer.scores(1, np.array([1]), np.array([3, 4, 5])).shape
    (1, 1, 3)
    """

    parts = ("lm",)

    def __init__(self, language_model: LanguageModel, options: SearchOptions) -> None:
        self.language_model, self.temperature = language_model, options.lm_temperature

    def start(self, utterances: int) -> "TransformerScorer":
        """Begin a batch.

        Parameters
        ----------
        utterances : int
            How many.

        Returns
        -------
        TransformerScorer
        """
        return TransformerScorer(self.language_model, self.temperature, utterances)


class TransformerScorer:
    """What the model says behind the prefixes of one batch; :meth:`TransformerFusion.start` makes it.

    A prefix is evaluated when the search is about to extend it, from the row of its parent in the model's
    state: that costs one token. Rows that nothing live can need any more are let go.

    Parameters
    ----------
    language_model : LanguageModel
    temperature : float
        Divides the logits.
    utterances : int
        Batch size B.

    Attributes
    ----------
    evaluated : int
        Rows that went through the model, fillers included: utterances with fewer new prefixes than others
        are filled up.

    Examples
    --------
    >>> TransformerScorer.__init__.__annotations__["utterances"]
    <class 'int'>
    """

    def __init__(self, language_model: LanguageModel, temperature: float, utterances: int) -> None:
        self._model, self._temperature = language_model, temperature
        self._device = language_model.embedding.weight.device
        self.evaluated = 0
        # How each prefix grew, and in which row of its utterance those lie that are evaluated.
        self._grown: dict[int, tuple[int, int]] = {}
        self._rows = dict.fromkeys(range(utterances), 0)
        begin_bk = self._integers([[BEGIN]] * utterances)
        self._log_bkv, self._state = self._step(begin_bk, language_model.start(utterances))

    def _integers(self, values: list[list[int]]) -> Tensor:
        """Lists of one length or of several, those filled up with zeros, as (B, K)."""
        width = max(map(len, values))
        return torch.tensor([row + [0] * (width - len(row)) for row in values], device=self._device).long()

    @torch.no_grad()
    def _step(self, tokens_bk: Tensor, state: PrefixTree) -> tuple[Tensor, PrefixTree]:
        self.evaluated += tokens_bk.numel()
        logits_bkv, state = self._model.step(tokens_bk, state)
        return log_probs(logits_bkv, self._temperature), state

    def prepare(self, live: Sequence[Integers], asked: Sequence[Integers]) -> None:
        """Evaluate what is asked and is not known yet, of all utterances at once."""
        known = self._rows
        new = [[node for node in nodes_k.tolist() if node not in known] for nodes_k in asked]
        if not any(new):
            return
        kept = [self._needed(nodes_k.tolist(), fresh) for nodes_k, fresh in zip(live, new, strict=True)]
        parents_bk = self._integers([[known[self._grown[node][0]] for node in nodes] for nodes in new])
        tokens_bk = self._integers([[self._grown[node][1] for node in nodes] for nodes in new])
        kept_bk = self._integers([[known[node] for node in nodes] for nodes in kept])
        log_bkv, state = self._step(tokens_bk, self._state.select(parents_bk))
        self._state = self._state.select(kept_bk).join(state).compact()
        index = kept_bk.unsqueeze(2).expand(-1, -1, log_bkv.shape[2])
        self._log_bkv = torch.cat((self._log_bkv.gather(1, index), log_bkv), dim=1)
        self._rows = {node: row for nodes in kept for row, node in enumerate(nodes)}
        behind = kept_bk.shape[1]
        self._rows |= {node: row for nodes in new for row, node in enumerate(nodes, start=behind)}

    def _needed(self, live: list[int], fresh: list[int]) -> list[int]:
        """Rows to keep: live prefixes that are evaluated, and the parents of those that may yet be."""
        waiting = set(live).difference(self._rows, fresh)
        rows = [node for node in live if node in self._rows]
        return list(dict.fromkeys([*rows, *(self._grown[node][0] for node in waiting)]))

    def most(self, nodes_k: Integers) -> Floats:
        """Log-probabilities are not above zero."""
        return np.zeros(1)

    def _at(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        rows_k = torch.tensor([self._rows[node] for node in nodes_k.tolist()], device=self._device)
        tokens = torch.from_numpy(tokens_c).to(self._device)
        log_kc: Floats = self._log_bkv[utterance, rows_k[:, None], tokens].double().cpu().numpy()
        return log_kc

    def scores(self, utterance: int, nodes_k: Integers, tokens_c: Integers) -> Floats:
        """Of each token behind each prefix."""
        return self._at(utterance, nodes_k, tokens_c)[None]

    def grow(self, parents: Sequence[int], tokens: Sequence[int], nodes: Sequence[int]) -> None:
        """Remember what they consist of."""
        self._grown |= zip(nodes, zip(parents, tokens, strict=True), strict=True)

    def finish(self, utterance: int, nodes_k: Integers) -> Floats:
        """The end symbol."""
        return self._at(utterance, nodes_k, np.array([END])).T
