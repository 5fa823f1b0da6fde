"""Lexicon search: CTC's best sequences of words that a list has, with an n-gram model, by flashlight-text.

Its decoder walks through a tree of the words' tokens and asks KenLM at every word's end. It takes for granted
that a word ends with a token of silence, and so hears no token twice in a row there; our words end with any
token. Each last token therefore has a copy with the same probability that may follow it and also ends the
word: a run of that token, however long, is read once. Such a copy can also follow a blank, which makes a few
sequences look more probable than they are; in the end each one's probability is computed anew over all of its
paths, and they are ranked by that.
"""

import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hyperconformer.constants import BLANK
from hyperconformer.decoding.ctc_probability import sequence_log_probs
from hyperconformer.decoding.options import SearchOptions
from hyperconformer.errors import InputError, one_line
from hyperconformer.ngram.model import NATS
from hyperconformer.ngram.signs import SIGNS
from hyperconformer.text import Tokenizer
from hyperconformer.types import Hypothesis

# What no path goes through: finite, since differences of minus infinity are no numbers.
NEVER = -1e9
# Nats by which equal hypotheses are parted: the library leaves those at the beam's end to chance.
APART = 1e-4
LONGEST_REASON = 200


class LexiconSearch:
    """A search that writes only words of its lexicon.

    It needs the extra ``lexicon`` (``pip install 'hyperconformer[lexicon]'``). KenLM reports on standard
    error while it reads a model.

    Parameters
    ----------
    words : iterable of str
        The lexicon, spelt as the tokenizer writes: a list of words, or those of an n-gram model
        (:attr:`NGram.words <hyperconformer.ngram.model.NGram>`; the model's own signs are passed over). Each
        has the tokens that the tokenizer gives it.
    tokenizer : Tokenizer
        Of the model that gives the log-probabilities.
    options : SearchOptions
        ``beam_size``, ``nbest``, ``ngram_weight`` and ``word_bonus`` are heeded; good beams are larger here
        than elsewhere, 50 for instance, since every alignment takes a place of its own.
    arpa : Path or None
        N-gram model of order 2 or higher as ARPA text (``.arpa``, ``.arpa.gz``) or a binary file of KenLM.
        ``hyperconformer ngram --model lm.safetensors --output lm.arpa`` writes one from our own arrays. Words
        that it lacks count as unknown.
    beam_threshold : float
        Nats below the best hypothesis at which others are dropped.
    tokens_per_frame : int
        Most probable tokens that are tried at a frame.

    Attributes
    ----------
    words : tuple of str
        The lexicon.
    left_out : tuple of str
        Words that the tokenizer cannot write.

    Raises
    ------
    InputError
        If the extra is missing, the model cannot be read, or no word can be written.
    ValueError
        If ``ngram_weight`` is given without a model.

    References
    ----------
    Collobert et al., Wav2Letter, arXiv 1609.03193. Heafield, KenLM, WMT 2011.

    Examples
    --------
    >>> import tempfile
    >>> from hyperconformer.text import train_tokenizer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.model"
    ...     tokenizer = train_tokenizer(["ON NO"], path, output_neurons=6, model_type="char")
    >>> search = LexiconSearch(["NO"], tokenizer, SearchOptions())
    >>> path = [tokenizer.encode("ON")[index] for index in (0, 1, 2, 2, 1)]  # _ O N N O
    >>> log_probs = torch.nn.functional.one_hot(torch.tensor([path]), 6).float().mul(5).log_softmax(-1)
    >>> tokenizer.decode(search(log_probs, torch.tensor([5]))[0][0].tokens)
    'NO'
    """

    def __init__(
        self,
        words: Iterable[str],
        tokenizer: Tokenizer,
        options: SearchOptions,
        *,
        arpa: Path | None = None,
        beam_threshold: float = 50.0,
        tokens_per_frame: int = 50,
    ) -> None:
        if arpa is None and options.ngram_weight:
            raise ValueError(f"ngram_weight {options.ngram_weight} needs a model: give arpa")
        self.options = options
        self._library = _flashlight("decoder")
        spelt, self.left_out = _spell(words, tokenizer)
        self.words = tuple(spelt)
        self._tokens = list(spelt.values())
        self._width = tokenizer.size
        self._model = self._library.ZeroLM() if arpa is None else _open_kenlm(arpa, self.words)
        self._has_model = arpa is not None
        self._endings = sorted({tokens[-1] for tokens in self._tokens})
        self._dials = (beam_threshold, tokens_per_frame)
        self._decoders: dict[int, Any] = {}

    @torch.no_grad()
    def __call__(self, log_probs_btv: Tensor, lengths_b: Tensor) -> list[list[Hypothesis]]:
        """Search each utterance.

        Parameters
        ----------
        log_probs_btv : Tensor, shape (B, T, V)
            CTC log-probabilities in nats; label 0 is the blank.
        lengths_b : Tensor, shape (B,), long
            Valid frames.

        Returns
        -------
        list of list of Hypothesis
            Of each utterance at most ``nbest``, best first, at least one. Parts: "ctc" is log P(tokens |
            frames), "ngram" (if there is a model) log P(words), the end included, and "words" their number.
            The score is ``ctc + ngram_weight * ngram + word_bonus * words``.

        Raises
        ------
        ValueError
            If V is smaller than the tokenizer.
        """
        width = log_probs_btv.shape[-1]
        if width < self._width:
            raise ValueError(f"log_probs_btv has {width} labels, but the tokenizer {self._width}")
        arrays = log_probs_btv.float().cpu()
        return [
            self._search(log_probs_tv[:length].contiguous())
            for log_probs_tv, length in zip(arrays, lengths_b.tolist(), strict=True)
        ]

    def _search(self, log_probs_tv: Tensor) -> list[Hypothesis]:
        """One utterance without padding."""
        candidates = dict.fromkeys(self._candidates(log_probs_tv))
        # Silence is always possible, and all there is where the beam found nothing that is.
        candidates.setdefault(())
        sequences = [tuple(token for word in words for token in self._tokens[word]) for words in candidates]
        ctc = sequence_log_probs(log_probs_tv.numpy(), sequences)
        found = [
            self._hypothesis(words, tokens, log)
            for words, tokens, log in zip(candidates, sequences, ctc.tolist(), strict=True)
        ]
        found.sort(key=lambda hypothesis: -hypothesis.score)
        possible = [hypothesis for hypothesis in found if hypothesis.score > -np.inf]
        silence = [hypothesis for hypothesis in found if not hypothesis.tokens]
        return (possible or silence)[: self.options.nbest]

    def _candidates(self, log_probs_tv: Tensor) -> Iterable[tuple[int, ...]]:
        """Words of the final beam, possibly some twice."""
        frames, width = log_probs_tv.shape
        if not frames:
            return
        never_t1 = torch.full((frames, 1), NEVER)
        apart_t1 = APART * (1 + torch.arange(frames)[:, None] / 100)
        copied_tc = log_probs_tv[:, self._endings] - apart_t1
        emit_tc = torch.cat((log_probs_tv, copied_tc, never_t1), dim=1)
        emit_tc = emit_tc.clamp(min=NEVER).contiguous()
        for result in self._decoder(width).decode(emit_tc.data_ptr(), *emit_tc.shape):
            yield tuple(word for word in result.words if word >= 0)

    def _decoder(self, width: int) -> Any:
        """The decoder for a network's width: copies of tokens, and silence, are numbered behind it."""
        if width not in self._decoders:
            threshold, tried = self._dials
            columns = width + len(self._endings) + 1
            options = self._library.LexiconDecoderOptions(
                beam_size=self.options.beam_size,
                beam_size_token=min(tried, columns),
                beam_threshold=threshold,
                lm_weight=self.options.ngram_weight * NATS,
                word_score=self.options.word_bonus + 3 * APART,
                unk_score=-np.inf,
                sil_score=0.0,
                log_add=True,
                criterion_type=self._library.CriterionType.CTC,
            )
            # No word has a silence, and none is heard: a word is followed by blanks.
            self._decoders[width] = self._library.LexiconDecoder(
                options, self._grow(width, columns), self._model, columns - 1, BLANK, -1, [], False
            )
        return self._decoders[width]

    def _grow(self, width: int, columns: int) -> Any:
        """The tree of all words, each with what the model gives its best continuation."""
        tree = self._library.Trie(columns, BLANK)
        copies = {token: width + number for number, token in enumerate(self._endings)}
        start = self._model.start(False)
        for number, tokens in enumerate(self._tokens):
            _, score = self._model.score(start, number)
            tree.insert(tokens, number, score)
            tree.insert([*tokens, copies[tokens[-1]]], number, score)
        tree.smear(self._library.SmearingMode.MAX)
        return tree

    def _hypothesis(self, words: Sequence[int], tokens: tuple[int, ...], ctc: float) -> Hypothesis:
        parts = {"ctc": ctc, "words": float(len(words))}
        score = ctc + self.options.word_bonus * len(words)
        if self._has_model:
            parts["ngram"] = self._log_prob(words)
            score += self.options.ngram_weight * parts["ngram"]
        return Hypothesis(tokens, score, parts)

    def _log_prob(self, words: Sequence[int]) -> float:
        """What the model gives a sentence, its end included, in nats."""
        state, total = self._model.start(False), 0.0
        for word in words:
            state, log = self._model.score(state, word)
            total += log
        return NATS * (total + float(self._model.finish(state)[1]))


def _flashlight(name: str) -> ModuleType:
    """A module of the library."""
    try:
        return importlib.import_module(f"flashlight.lib.text.{name}")
    except ImportError as error:
        raise InputError(
            f"lexicon search needs flashlight-text ({one_line(error, LONGEST_REASON)}): "
            "pip install 'hyperconformer[lexicon]'"
        ) from error


def _spell(words: Iterable[str], tokenizer: Tokenizer) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Tokens of each word, and the words that these would not give back."""
    wanted = [
        word for word in dict.fromkeys(part for line in words for part in line.split()) if word not in SIGNS
    ]
    if not wanted:
        raise InputError("the lexicon has no words: give it some")
    tokens = dict(zip(wanted, tokenizer.encode_all(wanted), strict=True))
    spelt = {
        word: found
        for word, found in tokens.items()
        if BLANK not in found and tokenizer.decode(found) == word
    }
    if not spelt:
        raise InputError(
            f"the tokenizer can write none of the lexicon's {len(wanted)} words, for instance {wanted[0]!r}: "
            "spell them as the model's training transcripts are"
        )
    return spelt, tuple(word for word in wanted if word not in spelt)


def _open_kenlm(path: Path, words: Sequence[str]) -> Any:
    """Read a model for words that are numbered as they stand."""
    if path.suffix == ".safetensors":
        raise InputError(
            f"n-gram model '{path}' is no ARPA file: write one with "
            f"'hyperconformer ngram --model {path} --output {path.with_suffix('.arpa')}'"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(
            f"n-gram model '{path}' cannot be read ({error.strerror}): correct its path"
        ) from error
    kenlm, dictionary = _flashlight("decoder.kenlm"), _flashlight("dictionary")
    try:
        return kenlm.KenLM(str(path), dictionary.Dictionary(list(words)))
    except RuntimeError as error:
        # Where in KenLM's sources it was found stands in front.
        reason = str(error).split("Exception.\n")[-1]
        raise InputError(
            f"n-gram model '{path}' cannot be used by KenLM ({reason.splitlines()[0][:LONGEST_REASON]}): "
            "write it anew with 'hyperconformer ngram', of order 2 or higher"
        ) from error
