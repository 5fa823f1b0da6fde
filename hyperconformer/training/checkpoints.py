"""Checkpoints that are whole or not there: written beside, checked by their sums, renamed into place."""

import contextlib
import hashlib
import io
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hyperconformer.errors import InputError, one_line

logger = logging.getLogger(__name__)

PREFIX, DRAFT, OLD, BAD = "CKPT+", ".draft-", ".old-", ".bad-"
META, SUMS, SUFFIX = "meta.json", "SHA256SUMS", ".ckpt"


@dataclass(frozen=True)
class Checkpoint:
    """One that is whole.

    Attributes
    ----------
    path : Path
        Its folder.
    meta : dict
        What it was saved with, for instance the step and the validation WER.

    Examples
    --------
    >>> Checkpoint(Path("save/CKPT+000000010"), {"step": 10}).meta["step"]
    10
    """

    path: Path
    meta: dict[str, Any]

    def load(self, part: str, device: str | torch.device = "cpu") -> Any:
        """Read one part; tensors and plain values only, nothing that runs.

        Parameters
        ----------
        part : str
            For instance ``model``.
        device : str or device
            Where its tensors go.

        Returns
        -------
        object
        """
        return torch.load(self.path / f"{part}{SUFFIX}", map_location=device, weights_only=True)

    def has(self, part: str) -> bool:
        """Whether it holds a part."""
        return (self.path / f"{part}{SUFFIX}").is_file()


class CheckpointStore:
    """The checkpoints of a run: the most recent ones, and the best ones by a figure of the validation.

    Parameters
    ----------
    folder : Path
        Where they lie.
    keep_recent, keep_best : int
        How many of each are kept.
    key : str
        The figure that ranks them, the lowest first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = CheckpointStore(Path(folder), keep_recent=1, keep_best=1)
    ...     for step, wer in ((1, 20.0), (2, 30.0), (3, 40.0)):
    ...         _ = store.save(f"{step}", {"model": {"w": torch.ones(1)}}, {"step": step, "WER": wer})
    ...     [checkpoint.meta["step"] for checkpoint in store.whole()]
    [3, 1]
    """

    def __init__(self, folder: Path, *, keep_recent: int, keep_best: int, key: str = "WER") -> None:
        self.folder, self.keep_recent, self.keep_best, self.key = folder, keep_recent, keep_best, key

    def save(self, name: str, parts: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
        """Write a checkpoint, whole or not at all; then remove those that are no longer kept.

        One of that name that is whole already stays as it is.

        Parameters
        ----------
        name : str
            Sorts behind the names of earlier ones.
        parts : mapping of str to object
            Tensors and plain values in dicts and lists, a file each.
        meta : mapping
            Plain values; one that has ``key`` is a candidate for the best.

        Returns
        -------
        Path

        Raises
        ------
        InputError
            If it cannot be written; earlier ones stay as they are.
        """
        path = self.folder / f"{PREFIX}{name}"
        draft = self.folder / f"{DRAFT}{name}"
        if not _fault(path):
            return path
        self._set_aside([path])
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            sums = [_write(draft / f"{part}{SUFFIX}", _serialised(value)) for part, value in parts.items()]
            sums.append(_write(draft / META, json.dumps(dict(meta), indent=2).encode()))
            _write(draft / SUMS, "".join(sums).encode())
            _flush_folder(draft)
            draft.rename(path)
            _flush_folder(self.folder)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise InputError(
                f"checkpoint '{path}' cannot be written ({error.strerror or error}): make room and give the "
                "same command again, it goes on from the checkpoint before"
            ) from error
        self._prune()
        return path

    def whole(self) -> list[Checkpoint]:
        """All that are whole by their sums, the latest first; says of the others what is wrong."""
        return list(self._walk())

    def latest(self) -> Checkpoint | None:
        """The last one that is whole; those before it are not looked at."""
        return next(self._walk(), None)

    def _walk(self) -> Iterator[Checkpoint]:
        for path in sorted(self.folder.glob(f"{PREFIX}*"), reverse=True):
            fault = _fault(path)
            if fault:
                logger.warning("Checkpoint '%s' is passed over: %s", path, fault)
            else:
                yield Checkpoint(path, json.loads((path / META).read_text(encoding="utf-8")))

    def best(self, count: int) -> list[Checkpoint]:
        """Those with the lowest figure of the validation, the best first."""
        rated = [checkpoint for checkpoint in self.whole() if _is_rated(checkpoint.meta, self.key)]
        return sorted(rated, key=lambda checkpoint: float(checkpoint.meta[self.key]))[:count]

    def rewind(self, found: Checkpoint | None) -> None:
        """Set aside what comes after the checkpoint to go on from: broken ones, and ones beyond them.

        Those that will be written next must be the latest ones, or they would not be kept.

        Parameters
        ----------
        found : Checkpoint or None
            From :meth:`latest`.
        """
        paths = sorted(self.folder.glob(f"{PREFIX}*"))
        self._set_aside([path for path in paths if found is None or path.name > found.path.name])

    def _set_aside(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if path.exists():
                bad = path.with_name(f"{BAD}{path.name}")
                shutil.rmtree(bad, ignore_errors=True)
                path.rename(bad)
                logger.warning("What is left of checkpoint '%s' is now '%s'", path, bad)

    def clean(self) -> None:
        """Remove what an interrupted save left behind."""
        for mark in (DRAFT, OLD):
            for path in self.folder.glob(f"{mark}*"):
                shutil.rmtree(path, ignore_errors=True)

    def _prune(self) -> None:
        paths = sorted(self.folder.glob(f"{PREFIX}*"), reverse=True)
        kept = set(paths[: self.keep_recent])
        rated = [(figure, path) for path in paths if (figure := self._figure(path)) is not None]
        kept.update(path for _, path in sorted(rated, key=lambda pair: pair[0])[: self.keep_best])
        for path in paths:
            if path not in kept:
                self._retire(path)

    def _figure(self, path: Path) -> float | None:
        try:
            meta = json.loads((path / META).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return float(meta[self.key]) if _is_rated(meta, self.key) else None

    def _retire(self, path: Path) -> None:
        """Remove a checkpoint in one move, so that no half of it is ever taken for one."""
        if path.exists():
            old = path.with_name(f"{OLD}{path.name}")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
            shutil.rmtree(old, ignore_errors=True)


def _serialised(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> str:
    """Write through to the disk; returns the file's line of the sums."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"


def _flush_folder(folder: Path) -> None:
    # Some file systems refuse it; the rename is atomic all the same.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _fault(path: Path) -> str:
    """What is wrong with a checkpoint; empty if nothing is."""
    try:
        lines = (path / SUMS).read_text(encoding="ascii").splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        if META not in sums:
            return f"its {SUMS} is cut short"
        for name, digest in sums.items():
            with (path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{name} is not what was written"
    except (OSError, UnicodeDecodeError) as error:
        return one_line(error, 200)
    return ""


def _is_rated(meta: Mapping[str, Any], key: str) -> bool:
    """Whether it has the figure, and that is a number: one that is none must never rank first."""
    return isinstance(meta.get(key), int | float) and math.isfinite(meta[key])


def load_average(model: nn.Module, checkpoints: Sequence[Checkpoint]) -> None:
    """Load the mean weights of checkpoints; the checkpoints themselves stay as they are.

    Where a checkpoint holds a moving average (``ema``), that is what counts.

    Parameters
    ----------
    model : Module
        Receives the weights.
    checkpoints : sequence of Checkpoint
        At least one, for instance of :meth:`CheckpointStore.best`.

    Raises
    ------
    InputError
        If there is none.

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima, arXiv 1803.05407.

    Examples
    --------
    >>> load_average(None, [])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: there is no checkpoint to test: train first, without --test_only
    """
    if not checkpoints:
        raise InputError("there is no checkpoint to test: train first, without --test_only")
    states = [checkpoint.load("ema" if checkpoint.has("ema") else "model") for checkpoint in checkpoints]
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(dim=0).to(first.dtype)
        if first.is_floating_point()
        else first
        for name, first in states[0].items()
    }
    model.load_state_dict(mean)
    logger.info("Averaged %d checkpoints", len(states))
