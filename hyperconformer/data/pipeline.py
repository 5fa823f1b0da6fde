"""Utterances to padded batches: read, change speed, encode the words, draw the masks."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from hyperconformer.audio import read_audio
from hyperconformer.constants import BEGIN, BLANK, END, SAMPLE_RATE
from hyperconformer.data.augment import SpecAugment, change_speed
from hyperconformer.data.sampler import BatchSampler, Draw
from hyperconformer.errors import InputError
from hyperconformer.features import frames_of
from hyperconformer.text import Tokenizer
from hyperconformer.types import Utterance

IGNORE = -100


class Example(NamedTuple):
    """One utterance, ready to be padded.

    Attributes
    ----------
    utterance : Utterance
    samples : array, shape (S,), float32
    tokens : list of int
    plan : array, shape (P,), int64
        SpecAugment's masks, view after view; empty without augmentation.

    Examples
    --------
    >>> Example._fields
    ('utterance', 'samples', 'tokens', 'plan')
    """

    utterance: Utterance
    samples: npt.NDArray[np.float32]
    tokens: list[int]
    plan: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded utterances.

    Attributes
    ----------
    utterances : tuple of Utterance
    samples_bs : Tensor, shape (B, S), float32
        Zero beyond each utterance's end.
    lengths_b : Tensor, shape (B,), long
        Samples of each utterance.
    tokens_bl : Tensor, shape (B, L), long
        Tokens of the reference, zero beyond its end.
    token_lengths_b : Tensor, shape (B,), long
    plans_bp : Tensor, shape (B, P), long
        SpecAugment's masks, view after view; P = 0 without augmentation.
    faults : tuple of str
        What is wrong with utterances that could not be read and are not in the batch.

    Examples
    --------
    >>> words = Utterance("a", 0.1, "a.flac", "1", "HI")
    >>> batch = collate([Example(words, np.zeros(1600, np.float32), [5, 6], np.zeros(0, np.int64))])
    >>> batch.names, batch.audio_seconds
    (('a',), 0.1)
    >>> batch.decoder_input(), batch.decoder_target()
    (tensor([[1, 5, 6]]), tensor([[5, 6, 2]]))
    """

    utterances: tuple[Utterance, ...]
    samples_bs: Tensor
    lengths_b: Tensor
    tokens_bl: Tensor
    token_lengths_b: Tensor
    plans_bp: Tensor
    faults: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the utterances."""
        return tuple(utterance.id for utterance in self.utterances)

    @property
    def audio_seconds(self) -> float:
        """Their audio, without padding."""
        return int(self.lengths_b.sum()) / SAMPLE_RATE

    def to(self, device: str | torch.device) -> "Batch":
        """Move the tensors."""
        names = ("samples_bs", "lengths_b", "tokens_bl", "token_lengths_b", "plans_bp")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})

    def pin_memory(self) -> "Batch":
        """Pin the samples, so that the copy to a GPU overlaps with its work."""
        return replace(self, samples_bs=self.samples_bs.pin_memory())

    def decoder_input(self) -> Tensor:
        """The reference behind a begin symbol, (B, L + 1)."""
        begin = torch.full_like(self.tokens_bl[:, :1], BEGIN)
        return torch.cat((begin, self.tokens_bl), dim=1)

    def decoder_target(self) -> Tensor:
        """The reference before an end symbol, (B, L + 1); ``IGNORE`` beyond it."""
        target = torch.nn.functional.pad(self.tokens_bl, (0, 1))
        positions = torch.arange(target.shape[1], device=target.device)
        lengths = self.token_lengths_b.unsqueeze(1)
        target = torch.where(positions == lengths, END, target)
        return torch.where(positions > lengths, IGNORE, target)


class SpeechDataset(Dataset[Example | InputError]):
    """Utterances by draw: what comes out depends on (seed, epoch, utterance) alone.

    Parameters
    ----------
    utterances : sequence of Utterance
    tokenizer : Tokenizer
    seed : int
        Keys the masks.
    augment : SpecAugment or None
        None for validation and test.
    n_mels : int
        Bands of the features that the masks are for.
    views : int
        Ways to mask each utterance.

    Examples
    --------
    >>> SpeechDataset([], tokenizer=None).__len__()
    0
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        tokenizer: Tokenizer,
        *,
        seed: int = 0,
        augment: SpecAugment | None = None,
        n_mels: int = 80,
        views: int = 1,
    ) -> None:
        self.utterances, self.tokenizer = list(utterances), tokenizer
        self.seed, self.augment, self.n_mels, self.views = seed, augment, n_mels, views

    def __len__(self) -> int:
        """Number of utterances."""
        return len(self.utterances)

    def __getitem__(self, draw: Draw) -> Example | InputError:
        """Read one utterance; a fault of its audio is handed on to where it is said in one line."""
        utterance = self.utterances[draw.index]
        try:
            samples = change_speed(read_audio(utterance.path), draw.speed)
        except InputError as error:
            return error
        plan = np.zeros(0, dtype=np.int64)
        if self.augment is not None:
            key = self.seed, "masks", draw.epoch, utterance.id
            frames = frames_of(len(samples))
            plan = self.augment.draw_views(key, frames, self.n_mels, views=self.views)
        # A character that the training text lacked encodes to the blank, which no target may hold.
        tokens = [token for token in self.tokenizer.encode(utterance.words) if token != BLANK]
        return Example(utterance, samples, tokens, plan)


def _pad(rows: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True) if rows else torch.zeros(0, 0)


def collate(items: Sequence[Example | InputError]) -> Batch:
    """Pad examples to a batch.

    Parameters
    ----------
    items : sequence of Example or InputError
        The errors of utterances that could not be read become the batch's ``faults``.

    Returns
    -------
    Batch

    Examples
    --------
    >>> words = Utterance("a", 0.1, "a.flac", "1", "HI")
    >>> short, long = (Example(words, np.ones(n, np.float32), [5] * n, np.zeros(0, np.int64)) for n in (1, 3))
    >>> collate([short, long]).samples_bs
    tensor([[1., 0., 0.],
            [1., 1., 1.]])
    """
    examples = [item for item in items if not isinstance(item, InputError)]
    plans = [torch.from_numpy(example.plan) for example in examples]
    return Batch(
        utterances=tuple(example.utterance for example in examples),
        samples_bs=_pad([torch.from_numpy(example.samples) for example in examples]),
        lengths_b=torch.tensor([len(example.samples) for example in examples]),
        tokens_bl=_pad([torch.tensor(example.tokens, dtype=torch.long) for example in examples]),
        token_lengths_b=torch.tensor([len(example.tokens) for example in examples]),
        plans_bp=torch.stack(plans) if plans else torch.zeros(0, 0, dtype=torch.long),
        faults=tuple(str(item) for item in items if isinstance(item, InputError)),
    )


class _Onwards(Sampler[list[Draw]]):
    """The epochs of a sampler one after the other, without end."""

    def __init__(self, sampler: BatchSampler) -> None:
        self.sampler = sampler

    def __iter__(self) -> Iterator[list[Draw]]:
        return self.sampler.onwards()


class Loader(DataLoader[Example | InputError]):
    """A DataLoader whose workers report bad input in one line, without a traceback of their own.

    Iterating yields one epoch. Workers go on to the next one meanwhile, so that it begins without a wait,
    if the batch sampler goes on too; an epoch or a start that does not follow begins anew.

    Attributes
    ----------
    steps : BatchSampler
        Plans the batches.
    strict : bool
        Whether audio that cannot be read ends the iteration; else it is left to who takes the batches.

    Examples
    --------
    >>> broken = SpeechDataset([Utterance("a", 1.0, "no.wav", "1", "A")], tokenizer=None)
    >>> next(iter(make_loader(broken, BatchSampler([1.0], max_batch_seconds=9))))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: ...no.wav...
    """

    steps: BatchSampler
    strict = True
    _stream: Iterator[Batch] | None = None
    _next: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # the collate function makes batches
        """Yield batches."""
        epoch, start = self.steps.epoch, self.steps.start
        if self._stream is None or self._next != (epoch, start):
            self._stream = cast(Iterator[Batch], super().__iter__())
        stream, self._next = self._stream, None
        for _ in range(len(self.steps)):
            batch = next(stream)
            if self.strict and batch.faults:
                # Whoever keeps the error would keep the workers, for which the process would wait at its end.
                self._stream = self._iterator = None
                del stream
                raise InputError(batch.faults[0])
            yield batch
        self._next = epoch + 1, 0


def _outlive_sigterm(worker: int) -> None:
    """A scheduler signals all processes of a job; the main one still needs this one for the step at hand."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_loader(
    dataset: SpeechDataset,
    sampler: BatchSampler,
    *,
    num_workers: int = 0,
    strict: bool = True,
    onwards: bool = False,
) -> Loader:
    """Batches of a data set in a sampler's order.

    Parameters
    ----------
    dataset : SpeechDataset
    sampler : BatchSampler
    num_workers : int
        Reading processes beside the training; 0 reads in between.
    strict : bool
        End at the first audio that cannot be read.
    onwards : bool
        Let the workers go on to the next epoch.

    Returns
    -------
    Loader
        Of :class:`Batch`.

    Examples
    --------
    >>> len(make_loader(SpeechDataset([], tokenizer=None), BatchSampler([], max_batch_seconds=1)))
    0
    """
    loader = Loader(
        dataset,
        batch_sampler=_Onwards(sampler) if onwards else sampler,
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_outlive_sigterm,
    )
    loader.steps, loader.strict = sampler, strict
    return loader
