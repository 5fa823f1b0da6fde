"""Words to token ids and back: a SentencePiece model of subword pieces.

Ids follow SpeechBrain's LibriSpeech tokenizers: 0 is at once unknown, CTC blank and padding, 1 begins
and 2 ends a sentence, pieces start at 3. Nothing is normalised but white space: case, accents and
full-width letters stay as they are, so the words a model can write are spelt like its references and
``decode(encode(words)) == words``. On LibriSpeech's alphabet the pieces are those of SentencePiece's
default setting (NFKC), in a file 240 kB smaller.
"""

import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import sentencepiece

from hyperconformer.constants import BEGIN, BLANK, END
from hyperconformer.errors import InputError

SPECIAL_TOKENS = 3

ModelType = Literal["unigram", "bpe", "char"]

# SentencePiece would drop a line that holds one of these (U+2585, NUL) or read it as a space (U+2581).
_RESERVED_CHARACTERS = "\u2581\u2585\0"
_LONGEST_PIECE_CHARACTERS = 10
# Longer lines are dropped without a word, so the limit lies where no transcript reaches.
_LONGEST_LINE_BYTES = 2**30
# Floating-point sums are grouped by thread: the count, not the machine, decides the last digits and so
# the pieces. Sixteen is SentencePiece's default and gives the pieces of SpeechBrain's recipes.
_THREADS = 16


class Tokenizer:
    """A trained SentencePiece model.

    It pickles as its bytes, so it travels into data loader workers however they are started.

    Parameters
    ----------
    model_bytes : bytes
        Content of a ``.model`` file with unknown, begin and end at ids 0, 1 and 2.

    Attributes
    ----------
    model_bytes : bytes
        The same content.

    Raises
    ------
    InputError
        If the bytes are no SentencePiece model, or one with other special ids.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.model"
    ...     trained = train_tokenizer(["ONE TWO", "TWO ONE"], path, output_neurons=12)
    ...     same = Tokenizer.load(path)
    >>> same.decode(same.encode("TWO TWO ONE"))
    'TWO TWO ONE'
    """

    def __init__(self, model_bytes: bytes) -> None:
        self.model_bytes = model_bytes
        self._processor = _open_processor(model_bytes)

    def __reduce__(self) -> tuple[Callable[[bytes], "Tokenizer"], tuple[bytes]]:
        """Pickle the bytes; the processor is rebuilt where they arrive."""
        return Tokenizer, (self.model_bytes,)

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a model file.

        Parameters
        ----------
        path : Path
            A ``.model`` file of :func:`train_tokenizer`, a model bundle or a SpeechBrain recipe.

        Returns
        -------
        Tokenizer
            The model.

        Raises
        ------
        InputError
            If the file cannot be read or holds no usable model.

        Examples
        --------
        >>> Tokenizer.load(Path("nowhere/tokenizer.model"))
        Traceback (most recent call last):
            ...
        hyperconformer.errors.InputError: tokenizer 'nowhere/tokenizer.model' cannot be read (No such \
file or directory): train one first or correct its path
        """
        if path.is_dir():
            # A model folder, or that of a run.
            inner = [path / "tokenizer.model", path / "model" / "tokenizer.model"]
            wanted = next(filter(Path.is_file, inner), inner[0])
            raise InputError(f"tokenizer '{path}' is a folder: give the file in it, '{wanted}'")
        try:
            model_bytes = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"tokenizer '{path}' cannot be read ({error.strerror}): train one first or correct its path"
            ) from error
        try:
            return cls(model_bytes)
        except InputError as error:
            raise InputError(f"tokenizer '{path}': {error}") from error

    def save(self, path: Path) -> None:
        """Write the model file, whole or not at all; its folder is made if need be.

        Parameters
        ----------
        path : Path
            File to write; an existing one is replaced.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=6, model_type="char")
        ...     tokenizer.save(Path(folder) / "bundle" / "tokenizer.model")
        ...     (Path(folder) / "bundle" / "tokenizer.model").read_bytes() == path.read_bytes()
        True
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        # The process id keeps two writers apart; the rename keeps a half-written file out of sight.
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_bytes(self.model_bytes)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Number of ids the model knows, special ones included.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["A B"], path, output_neurons=30, model_type="char")
        >>> tokenizer.size  # A, B, space and three special ones
        6
        """
        return len(self._processor)

    def encode(self, words: str) -> list[int]:
        """Split words into tokens.

        Parameters
        ----------
        words : str
            Words separated by white space, whose kind and amount do not matter.

        Returns
        -------
        list of int
            Token ids, without begin and end. A stretch with a character the model was not trained on
            gives one 0, and so do the literal strings ``<unk>``, ``<s>`` and ``</s>``; as a CTC label 0
            would mean blank, so a training text must not contain any.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["AB BAB BA"], path, output_neurons=6, model_type="char")
        >>> tokenizer.encode("A  ZZ B")
        [5, 4, 5, 0, 5, 3]
        """
        tokens: list[int] = self._processor.encode(" ".join(words.split()))
        return tokens

    def encode_all(self, sentences: Sequence[str]) -> list[list[int]]:
        """Split many sentences at once, on all cores.

        Parameters
        ----------
        sentences : sequence of str
            Words separated by single spaces.

        Returns
        -------
        list of list of int
            Of each, what :meth:`encode` gives.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["AB BAB BA"], path, output_neurons=6, model_type="char")
        >>> tokenizer.encode_all(["A", "B A"])
        [[5, 4], [5, 3, 5, 4]]
        """
        tokens: list[list[int]] = self._processor.encode(list(sentences), num_threads=-1)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Join tokens into words.

        Parameters
        ----------
        tokens : sequence of int
            Token ids. Blank (which is also unknown), begin and end stand for no words and are left out,
            and so is every id beyond the model, which a network wider than its tokenizer may utter.

        Returns
        -------
        str
            Words separated by single spaces; empty where nothing is left.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["AB BAB BA"], path, output_neurons=6, model_type="char")
        >>> tokenizer.decode([BEGIN, 5, 4, BLANK, 3, 5, 4, 999, END])
        'AB A'
        """
        spoken = [token for token in tokens if SPECIAL_TOKENS <= token < self.size]
        words: str = self._processor.decode(spoken)
        return " ".join(words.split())

    def pieces(self, tokens: Sequence[int]) -> list[str]:
        """Spell tokens one by one, with a space where a word begins.

        Parameters
        ----------
        tokens : sequence of int
            Token ids.

        Returns
        -------
        list of str
            Of each token what it adds to the text, so that ``decode(tokens)`` is ``" ".join("".join(pieces)
            .split())``; empty for tokens that :meth:`decode` leaves out.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "tokenizer.model"
        ...     tokenizer = train_tokenizer(["AB BAB BA"], path, output_neurons=6, model_type="char")
        >>> tokenizer.pieces([BEGIN, 5, 4, BLANK, 3, 5, 4, 999, END])
        ['', ' ', 'A', '', 'B', ' ', 'A', '', '']
        """
        return [
            self._processor.id_to_piece(token).replace("\u2581", " ")
            if SPECIAL_TOKENS <= token < self.size
            else ""
            for token in tokens
        ]


def train_tokenizer(
    sentences: Iterable[str], path: Path, *, output_neurons: int, model_type: ModelType = "unigram"
) -> Tokenizer:
    """Train a tokenizer on transcripts and write it to a file.

    The same sentences in the same order give the same bytes, on any machine.

    Parameters
    ----------
    sentences : iterable of str
        Training transcripts, words separated by white space. Every character gets a piece.
    path : Path
        The ``.model`` file to write.
    output_neurons : int
        Width of the network's output, and the most ids the tokenizer may have. A small text yields fewer
        pieces (``Tokenizer.size`` tells); the ids above stay unused.
    model_type : {"unigram", "bpe", "char"}
        How pieces are chosen: a unigram language model, byte-pair merges, or single characters.

    Returns
    -------
    Tokenizer
        The model, as it was written.

    Raises
    ------
    InputError
        If there are no words, fewer ids than characters, or a character that SentencePiece reserves.
    ValueError
        If ``model_type`` is unknown.

    References
    ----------
    SentencePiece: arXiv 1808.06226; unigram: arXiv 1804.10959; byte-pair merges: arXiv 1508.07909.

    Examples
    --------
    >>> import tempfile
    >>> text = ["THE CAT SAT", "THE MAT", "THE CAT"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.model"
    ...     tokenizer = train_tokenizer(text, path, output_neurons=1000, model_type="bpe")
    >>> tokenizer.size < 1000, len(tokenizer.encode("THE CAT SAT"))
    (True, 3)
    >>> train_tokenizer(text, path, output_neurons=9)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: output_neurons 9 is too small for 8 characters (space included) \
and 3 special tokens: give at least 11
    """
    if model_type not in get_args(ModelType):
        raise ValueError(f"model_type {model_type!r} is not one of {', '.join(get_args(ModelType))}")
    lines = [line for line in (" ".join(sentence.split()) for sentence in sentences) if line]
    _check_text(lines, output_neurons)
    tokenizer = Tokenizer(_train(lines, output_neurons, model_type))
    if tokenizer.size > output_neurons:
        raise RuntimeError(f"SentencePiece made {tokenizer.size} pieces where {output_neurons} were allowed")
    tokenizer.save(path)
    return tokenizer


def _check_text(lines: Sequence[str], output_neurons: int) -> None:
    """Refuse, in one line, what SentencePiece would refuse with a C++ trace or cut short in silence."""
    if not lines:
        raise InputError("the tokenizer's training text has no words: check the transcripts in the manifest")
    alphabet = set().union(*lines) | {" "}
    reserved = sorted(alphabet.intersection(_RESERVED_CHARACTERS))
    if reserved:
        codes = ", ".join(f"U+{ord(character):04X}" for character in reserved)
        raise InputError(f"the training text contains {codes}, reserved by SentencePiece: take it out")
    least = len(alphabet) + SPECIAL_TOKENS
    if output_neurons < least:
        raise InputError(
            f"output_neurons {output_neurons} is too small for {len(alphabet)} characters (space included) "
            f"and {SPECIAL_TOKENS} special tokens: give at least {least}"
        )


def _train(lines: Sequence[str], output_neurons: int, model_type: ModelType) -> bytes:
    """Run SentencePiece with every setting that decides the model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=model_type,
        vocab_size=output_neurons,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        max_sentencepiece_length=_LONGEST_PIECE_CHARACTERS,
        max_sentence_length=_LONGEST_LINE_BYTES,
        num_threads=_THREADS,
        unk_id=BLANK,
        bos_id=BEGIN,
        eos_id=END,
        pad_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def _open_processor(model_bytes: bytes) -> sentencepiece.SentencePieceProcessor:
    """Parse a model and make sure that ids 0, 1 and 2 mean what everyone here takes them to mean."""
    try:
        # No bytes at all would make a processor without a model, not an error.
        processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes) if model_bytes else None
    except RuntimeError:
        processor = None
    if processor is None:
        raise InputError(f"not a SentencePiece model ({len(model_bytes)} bytes): train the tokenizer anew")
    found = (processor.unk_id(), processor.bos_id(), processor.eos_id())
    if found != (BLANK, BEGIN, END):
        raise InputError(
            f"unknown, begin and end have ids {found}: train it with unk_id=0, bos_id=1 and eos_id=2"
        )
    return processor
