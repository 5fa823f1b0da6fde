"""A Brain whose whole state is kept: weights, optimizer, averages, position, and what they belong to."""

import contextlib
import errno
import fcntl
import logging
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, ClassVar

import speechbrain as sb
import torch
from torch import nn

from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.checkpoints import Checkpoint, CheckpointStore, load_average
from hyperconformer.training.log import write_epoch
from hyperconformer.training.moving_average import MovingAverage
from hyperconformer.training.progress import Progress
from hyperconformer.training.run_settings import RunSettings

logger = logging.getLogger(__name__)

LOG, LOCK = "train_log.txt", ".lock"


class KeptBrain(sb.Brain):
    """What can be killed and goes on.

    Parameters
    ----------
    model : Module
    settings : RunSettings
    make_optimizer : callable
        The model, on its device, to its optimizer.
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    progress : Progress
    store : CheckpointStore
    key : str
        The figure of validation by which checkpoints are ranked, the lowest first.
    data_key : str
        Stands for the training data; a run goes on with the data that it began with.

    Examples
    --------
    >>> issubclass(KeptBrain, sb.Brain)
    True
    """

    key: ClassVar[str] = "WER"

    def __init__(
        self,
        model: nn.Module,
        settings: RunSettings,
        *,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        run_options: dict[str, Any],
    ) -> None:
        self.settings = settings
        self.progress, self.data_key = Progress(), ""
        super().__init__(
            modules={"model": model}, hparams={"output_folder": settings.output_folder}, run_opts=run_options
        )
        self.optimizer = make_optimizer(model)
        self.average = MovingAverage(model, settings.ema_decay) if settings.ema_decay else None
        self._scratch = TemporaryDirectory() if self.debug else None
        self._lock: IO[str] | None = None
        self.store = CheckpointStore(
            Path(self._scratch.name) if self._scratch else settings.folder / "save",
            keep_recent=settings.keep_recent,
            keep_best=settings.average_checkpoints,
            key=self.key,
        )

    @property
    def model(self) -> nn.Module:
        """What learns."""
        module: nn.Module = self.modules["model"]
        return module

    def resume(self) -> bool:
        """Go on from the last whole checkpoint, if there is one; every process from the same.

        Returns
        -------
        bool
            Whether there was one.

        Raises
        ------
        InputError
            If another training has the folder, or the checkpoint belongs to other data or another precision.
        """
        writes = distributed.is_main() and not self.test_only
        if writes:
            self._take_folder()
            self.store.clean()
        found: Checkpoint | None = distributed.from_main(
            self.store.latest() if distributed.is_main() else None
        )
        if writes:
            self.store.rewind(found)
        if found is None:
            return False
        self._check_same(found)
        self.model.load_state_dict(found.load("model", self.device))
        self._load_optimizer(found)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(found.load("scaler"))
        if self.average is not None:
            self.average.load_state_dict(found.load("ema", self.device))
        self.progress = Progress.from_dict(found.meta["progress"])
        if writes and found.meta["log"]:
            # The run may have been killed between the checkpoint and the log.
            write_epoch(self.settings.folder / LOG, found.meta["log"])
        position = f"epoch {self.progress.epoch}, step {self.progress.step}"
        logger.info("Going on from %s: %s", found.path.name, position)
        return True

    def _load_optimizer(self, found: Checkpoint) -> None:
        try:
            self.optimizer.load_state_dict(found.load("optimizer", self.device))
        except ValueError as error:
            raise InputError(
                f"'{found.path}' was written by an optimizer that moved other weights ({error}): "
                "give this run another --name, or delete that folder"
            ) from error

    def _check_same(self, found: Checkpoint) -> None:
        if self.test_only:
            return
        before = found.meta["precision"]
        if before != self.precision:
            raise InputError(
                f"'{self.settings.folder}' was trained in {before}, not {self.precision}: give "
                f"--precision={before}, or this run another --name"
            )
        if found.meta["data"] != self.data_key:
            raise InputError(
                f"the training data is not what '{self.settings.folder}' began with: bring it back, or give "
                "this run another --name"
            )

    def _take_folder(self) -> None:
        """Hold the folder until this process ends or lets go: two trainings in one would ruin both."""
        self.store.folder.mkdir(parents=True, exist_ok=True)
        lock = (self.store.folder / LOCK).open("w", encoding="ascii")
        try:
            # Not flock, which loader workers would inherit: they live for seconds after a kill.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise InputError(
                    f"another training is at work in '{self.settings.folder}': wait for it, or give this run "
                    "another --name"
                ) from error
            # A file system without locks.
        self._lock = lock

    def let_go(self) -> None:
        """Leave the folder to others."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.close()
            self._lock = None

    def save(self, mark: str = "", log: str = "", **figures: float) -> None:
        """Write a checkpoint of the present position, in the main process.

        Parameters
        ----------
        mark : str
            Set behind the step in its name.
        log : str
            The epoch's line of the log, where it is the epoch's end.
        **figures : float
            Of the validation.
        """
        if not distributed.is_main():
            return
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler.state_dict()
        if self.average is not None:
            parts["ema"] = self.average.state_dict()
        meta = {
            "step": self.progress.step,
            **figures,
            "precision": self.precision,
            "data": self.data_key,
            "log": log,
            "progress": self.progress.to_dict(),
        }
        self.store.save(f"{self.progress.step:09d}{mark}", parts, meta)

    def load_best(self, count: int) -> None:
        """Load the mean weights of the best checkpoints, the same in every process.

        Parameters
        ----------
        count : int
            Most checkpoints to average.

        Raises
        ------
        InputError
            If there is none.
        """
        if distributed.is_main():
            load_average(self.model, self.store.best(count))
        distributed.share_weights(self.model)
