"""A Brain that takes whole steps: counted, continued exactly, shared among processes, never poisoned."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import speechbrain as sb
import torch
from speechbrain import Stage
from torch import nn
from tqdm import tqdm

from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.checkpoints import Checkpoint, CheckpointStore, load_average
from hyperconformer.training.log import log_epoch
from hyperconformer.training.moving_average import MovingAverage
from hyperconformer.training.progress import Progress, Stopped, StopRequest
from hyperconformer.training.run_settings import RunSettings, noam_rate
from hyperconformer.training.step import Learner, Losses, Outcome, StepLoader, named

if TYPE_CHECKING:
    from hyperconformer.training.curves import StepCurves

logger = logging.getLogger(__name__)


class StepBrain(sb.Brain):
    """Training in steps; what a batch is, and what it costs, is the subclass's.

    A step learns from one batch of the sampler, of which every process takes its pieces. Its random numbers
    are keyed by (seed, epoch, step, process, piece), so a run that was killed and started again ends with
    the same bits as one that was left alone. A subclass defines ``compute_forward``, ``compute_objectives``
    (which returns :class:`~hyperconformer.training.step.Losses`) and :meth:`judged`.

    Parameters
    ----------
    model : Module
    settings : RunSettings
    make_optimizer : callable
        The model, on its device, to its optimizer.
    part_names : sequence of str
        Parts of the loss, in order.
    run_options : dict
        Options of SpeechBrain's Brain, for instance ``{"device": "cpu"}``.

    Attributes
    ----------
    progress : Progress
    store : CheckpointStore
    key : str
        The figure of validation by which checkpoints are ranked, the lowest first.

    Examples
    --------
    >>> issubclass(StepBrain, sb.Brain)
    True
    """

    key: ClassVar[str] = "WER"

    def __init__(
        self,
        model: nn.Module,
        settings: RunSettings,
        *,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        part_names: Sequence[str],
        run_options: dict[str, Any],
    ) -> None:
        self.settings = settings
        self.progress, self.stop, self.stopping = Progress(), StopRequest(), False
        super().__init__(
            modules={"model": model}, hparams={"output_folder": settings.output_folder}, run_opts=run_options
        )
        self.optimizer = make_optimizer(model)
        self.average = MovingAverage(model, settings.ema_decay) if settings.ema_decay else None
        self._scratch = TemporaryDirectory() if self.debug else None
        self.store = CheckpointStore(
            Path(self._scratch.name) if self._scratch else settings.folder / "save",
            keep_recent=settings.keep_recent,
            keep_best=settings.average_checkpoints,
            key=self.key,
        )
        self.learner = Learner(
            model,
            self.optimizer,
            self.objective,
            part_names=part_names,
            max_grad_norm=settings.max_grad_norm,
            scaler=self.scaler,
            context=self.training_ctx,
        )
        self.train_figures: dict[str, float] = {}
        self.curves: StepCurves | None = None

    @property
    def model(self) -> nn.Module:
        """What learns."""
        module: nn.Module = self.modules["model"]
        return module

    def objective(self, batch: Any) -> Losses:
        """A training batch to its losses."""
        return self.compute_objectives(self.compute_forward(batch, Stage.TRAIN), batch, Stage.TRAIN)

    def judged(self) -> dict[str, float]:
        """Figures of the validation that just ended, ``key`` among them; the same in every process."""
        raise NotImplementedError

    def resume(self) -> bool:
        """Go on from the last whole checkpoint, if there is one; every process from the same.

        Returns
        -------
        bool
            Whether there was one.
        """
        if distributed.is_main():
            self.store.clean()
        found: Checkpoint | None = distributed.from_main(
            self.store.latest() if distributed.is_main() else None
        )
        if found is None:
            return False
        self.model.load_state_dict(found.load("model", self.device))
        self.optimizer.load_state_dict(found.load("optimizer", self.device))
        self.scaler.load_state_dict(found.load("scaler"))
        if self.average is not None:
            self.average.load_state_dict(found.load("ema", self.device))
        self.progress = Progress.from_dict(found.meta["progress"])
        position = f"epoch {self.progress.epoch}, step {self.progress.step}"
        logger.info("Going on from %s: %s", found.path.name, position)
        return True

    def save(self, mark: str = "", **figures: float) -> None:
        """Write a checkpoint of the present position, in the main process.

        Parameters
        ----------
        mark : str
            Set behind the step in its name.
        **figures : float
            Of the validation.
        """
        if not distributed.is_main():
            return
        parts = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.average is not None:
            parts["ema"] = self.average.state_dict()
        meta = {"step": self.progress.step, **figures, "progress": self.progress.to_dict()}
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

    def fit(
        self,
        epoch_counter: Iterable[int],
        train_set: StepLoader,
        valid_set: Iterable[Any] | None = None,
        progressbar: bool | None = None,
        train_loader_kwargs: Any = None,
        valid_loader_kwargs: Any = None,
    ) -> None:
        """Train from the present position to the end, validating after every epoch.

        Parameters
        ----------
        epoch_counter : iterable of int
            The epochs, from 1; those that are behind are left out.
        train_set : StepLoader
        valid_set : iterable of batches or None
        progressbar : bool or None
            Show one; None: unless ``noprogressbar``.
        train_loader_kwargs, valid_loader_kwargs : None
            SpeechBrain's; loaders come ready made here.

        Raises
        ------
        Stopped
            After a request to stop, with a checkpoint written.
        InputError
            If steps fail again and again, audio cannot be read, or a checkpoint cannot be written.
        """
        if self.test_only:
            return
        self.on_fit_start()
        wanted = (not self.noprogressbar) if progressbar is None else progressbar
        with self.stop.listening(), self._drawing():
            for epoch in epoch_counter:
                if epoch < self.progress.epoch:
                    continue
                self._fit_train(train_set, epoch, wanted and distributed.is_main())
                self._fit_valid(valid_set, epoch, wanted and distributed.is_main())
                if self.debug and epoch >= self.debug_epochs:
                    break

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Curves for the steps to come, in the main process."""
        if not distributed.is_main():
            yield
            return
        from hyperconformer.training.curves import Curves, StepCurves  # TensorBoard is slow to import

        settings = self.settings
        after = self.progress.step + 1
        with Curves(settings.folder, settings.wandb, after, settings.plain()) as curves:
            self.curves = StepCurves(curves, settings.log_interval_steps)
            yield

    def on_fit_start(self) -> None:
        """Give all processes the same weights."""
        distributed.share_weights(self.model)

    def _fit_train(self, train_set: StepLoader, epoch: int, enable: bool) -> None:
        sampler, first = train_set.steps, self.progress.step_in_epoch
        sampler.set_epoch(epoch, start=first)
        last = min(sampler.steps, self.debug_batches) if self.debug else sampler.steps
        self.on_stage_start(Stage.TRAIN, epoch)
        self.modules.train()
        batches = iter(train_set)
        bar = tqdm(total=last, initial=first, disable=not enable, dynamic_ncols=True, leave=False)
        with bar:
            for step in range(first, last):
                begun = time.perf_counter()
                pieces = self._take(batches, len(sampler.pieces(step)))
                waited = time.perf_counter() - begun
                outcome = self._step(pieces, epoch, step, sampler.size(step))
                self._count(outcome, time.perf_counter() - begun, waited)
                self._after_step(is_last=step + 1 == last)
                bar.update()
                bar.set_postfix(loss=f"{self.progress.means().get('loss', 0.0):.4g}", refresh=False)
        self.train_figures = self.progress.figures()
        self.on_stage_end(Stage.TRAIN, self.train_figures.get("loss", float("nan")), epoch)

    def _take(self, batches: Iterator[Any], count: int) -> list[Any]:
        """The pieces of a step; audio that cannot be read is named, and too much of it ends the run."""
        pieces = [next(batches) for _ in range(count)]
        for fault in (fault for piece in pieces for fault in piece.faults):
            self.progress.unreadable += 1
            if self.progress.unreadable > self.settings.max_unreadable:
                if distributed.world() == 1 and self.progress.step:
                    self.progress.unreadable -= 1
                    self.save()
                raise InputError(
                    f"{fault}. Then the same command goes on where it stopped; or --max_unreadable=N leaves "
                    "out up to N utterances an epoch"
                )
            logger.warning("Left out of its batch: %s", fault)
        return [piece for piece in pieces if piece.names]

    def _count(self, outcome: Outcome, seconds: float, waited: float) -> None:
        self.progress.spend(seconds, waited)
        if outcome.learnt and self.curves is not None:
            self.curves.add(
                self.progress.step,
                outcome.sums,
                utterances=outcome.utterances,
                rate=self.optimizer.param_groups[0]["lr"],
                norm=outcome.norm,
                seconds=seconds,
                waited=waited,
            )

    def _step(self, pieces: Sequence[Any], epoch: int, step: int, size: int) -> Outcome:
        progress, settings = self.progress, self.settings
        progress.step += 1
        progress.step_in_epoch = step + 1
        rate = noam_rate(progress.step, settings.lr, settings.n_warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        key = (settings.seed, "step", epoch, step)
        outcome = self.learner(pieces, size, key, stop=self.stop.made)
        # Every process learns of it with the same step, though only one may have been asked.
        self.stopping = outcome.stop
        if outcome.learnt:
            progress.add(outcome.sums, outcome.utterances, outcome.audio_seconds)
            if self.average is not None:
                self.average.update(progress.step)
        elif not outcome.rescaled:
            self._skipped(outcome)
        return outcome

    def _skipped(self, outcome: Outcome) -> None:
        """Count and name a step that changed nothing; too many in a row end the run."""
        progress, patience = self.progress, self.settings.nonfinite_patience
        progress.skip(outcome.out_of_memory)
        shown = named(distributed.gathered(list(outcome.suspects)))
        if distributed.is_main():
            logger.warning("Step %d is skipped (%s): %s", progress.step, outcome.reason, shown)
        if progress.skipped_in_row >= patience:
            raise InputError(
                f"{patience} steps in a row were skipped ({outcome.reason}), the last for {shown}: "
                f"{outcome.remedy}"
            )

    def _after_step(self, *, is_last: bool) -> None:
        """Save where it is time to, and stop where it is asked for."""
        interval = self.settings.ckpt_interval_steps
        due = interval and self.progress.step % interval == 0 and not is_last
        if due or self.stopping:
            self.save()
        if self.stopping:
            position = f"epoch {self.progress.epoch}, step {self.progress.step}"
            raise Stopped(f"stopped as asked in {position}: the same command goes on from there")

    def _fit_valid(self, valid_set: Iterable[Any] | None, epoch: int, enable: bool) -> None:
        if valid_set is None:
            loss, figures = float("nan"), {}
        else:
            loss = self._run(valid_set, Stage.VALID, epoch, enable)
            figures = self.judged()
        train, progress = self.train_figures, self.progress
        self.progress = progress.next_epoch()
        if distributed.is_main():
            rate = self.optimizer.param_groups[0]["lr"]
            log_epoch(
                self.settings.folder / "train_log.txt",
                {"epoch": epoch, "lr": rate, "steps": progress.step},
                train=train,
                valid={"loss": loss, **figures},
            )
        if self.curves is not None:
            self.curves.validation(progress.step, {"loss": loss, **figures})
        self.save("+end", loss=loss, epoch=epoch, **figures)

    def _run(self, batches: Iterable[Any], stage: Stage, epoch: int | None, enable: bool) -> float:
        """Evaluate, with the averaged weights where there are any; the mean loss over all processes."""
        self.on_stage_start(stage, epoch)
        self.modules.eval()
        sums = torch.zeros(2, device=self.device)
        averaged = self.average.applied() if self.average and stage == Stage.VALID else nullcontext()
        # Other graphs for evaluation would take longer to compile than they save.
        eager = torch.compiler.set_stance("force_eager") if self.compile else nullcontext()
        with torch.no_grad(), averaged, eager:
            for number, batch in enumerate(
                tqdm(batches, disable=not enable, dynamic_ncols=True, leave=False)
            ):
                if self.debug and number == self.debug_batches:
                    break
                with self.evaluation_ctx:
                    losses = self.compute_objectives(self.compute_forward(batch, stage), batch, stage)
                sums += torch.stack((losses.total_b.sum(), losses.total_b.new_tensor(len(batch.names))))
        total, count = distributed.sum_gradients((), sums).tolist()
        loss = float(total) / max(1.0, count)
        self.on_stage_end(stage, loss, epoch)
        return loss

    def evaluate(
        self,
        test_set: Iterable[Any],
        max_key: str | None = None,
        min_key: str | None = None,
        progressbar: bool | None = None,
        test_loader_kwargs: Any = None,
    ) -> float:
        """Test the model as it is: whoever calls has loaded the weights to test.

        Parameters
        ----------
        test_set : iterable of batches
        max_key, min_key, test_loader_kwargs : None
            SpeechBrain's.
        progressbar : bool or None
            Show one; None: unless ``noprogressbar``.

        Returns
        -------
        float
            The mean loss of an utterance.
        """
        wanted = (not self.noprogressbar) if progressbar is None else progressbar
        return self._run(test_set, Stage.TEST, None, wanted and distributed.is_main())
