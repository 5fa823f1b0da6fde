"""A Brain that takes whole steps: counted, continued exactly, shared among processes, never poisoned."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from speechbrain import Stage
from torch import nn
from tqdm import tqdm

from hyperconformer.errors import InputError
from hyperconformer.training import distributed
from hyperconformer.training.kept import LOG, KeptBrain
from hyperconformer.training.log import epoch_line, write_epoch
from hyperconformer.training.progress import Stopped, StopRequest, TooLittleMemory, TooManySkipped
from hyperconformer.training.run_settings import RunSettings, noam_rate, warm_up_warning
from hyperconformer.training.step import Learner, Losses, Outcome, StepLoader, named

if TYPE_CHECKING:
    from hyperconformer.training.curves import StepCurves

logger = logging.getLogger(__name__)


class StepBrain(KeptBrain):
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

    Examples
    --------
    >>> issubclass(StepBrain, KeptBrain)
    True
    """

    def __init__(
        self,
        model: nn.Module,
        settings: RunSettings,
        *,
        make_optimizer: Callable[[nn.Module], torch.optim.Optimizer],
        part_names: Sequence[str],
        run_options: dict[str, Any],
    ) -> None:
        super().__init__(model, settings, make_optimizer=make_optimizer, run_options=run_options)
        self.stop, self.stopping = StopRequest(), False
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

    def objective(self, batch: Any) -> Losses:
        """A training batch to its losses."""
        return self.compute_objectives(self.compute_forward(batch, Stage.TRAIN), batch, Stage.TRAIN)

    def judged(self) -> dict[str, float]:
        """Figures of the validation that just ended, ``key`` among them; the same in every process."""
        raise NotImplementedError

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
        steps = self.settings.number_of_epochs * train_set.steps.steps
        if distributed.is_main() and not self.debug and (warning := warm_up_warning(steps, self.settings)):
            logger.warning(warning)
        wanted = (not self.noprogressbar) if progressbar is None else progressbar
        try:
            with self.stop.listening(), self._drawing():
                for epoch in epoch_counter:
                    if epoch < self.progress.epoch:
                        continue
                    self._fit_train(train_set, epoch, wanted and distributed.is_main())
                    self._fit_valid(valid_set, epoch, wanted and distributed.is_main())
                    if self.debug and epoch >= self.debug_epochs:
                        break
        finally:
            self.let_go()

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
                pieces = [next(batches) for _ in sampler.pieces(step)]
                waited = time.perf_counter() - begun
                outcome = self._step(pieces, epoch, step, sampler.size(step))
                self._count(outcome, time.perf_counter() - begun, waited)
                self._after_step(is_last=step + 1 == last)
                bar.update()
                bar.set_postfix(loss=f"{self.progress.means().get('loss', 0.0):.4g}", refresh=False)
        self.train_figures = self.progress.figures()
        self.on_stage_end(Stage.TRAIN, self.train_figures.get("loss", float("nan")), epoch)

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
        faults = [fault for piece in pieces for fault in piece.faults]
        outcome = self.learner(
            [piece for piece in pieces if piece.names],
            size,
            (settings.seed, "step", epoch, step),
            stop=self.stop.made,
            faults=len(faults),
            allowed_faults=settings.max_unreadable - progress.unreadable,
        )
        # Every process learns of it with the same step, though only one may have been asked.
        self.stopping = outcome.stop
        if outcome.faults:
            self._left_out(faults, outcome)
        if outcome.learnt:
            progress.add(outcome.sums, outcome.utterances, outcome.audio_seconds)
            if self.average is not None:
                self.average.update(progress.step)
        elif not outcome.rescaled:
            self._skipped(outcome)
        return outcome

    def _left_out(self, faults: Sequence[str], outcome: Outcome) -> None:
        """Name audio that could not be read; too much of it ends the run, before the step that lacks it."""
        progress, faults = self.progress, distributed.gathered(list(faults))
        if outcome.too_many_faults:
            progress.step, progress.step_in_epoch = progress.step - 1, progress.step_in_epoch - 1
            if progress.step:
                self.save()
            raise InputError(
                f"{faults[0]}. Then the same command goes on where it stopped; or --max_unreadable=N leaves "
                "out up to N utterances an epoch"
            )
        progress.unreadable += outcome.faults
        if distributed.is_main():
            for fault in faults:
                logger.warning("Left out of its batch: %s", fault)

    def _skipped(self, outcome: Outcome) -> None:
        """Count and name a step that changed nothing; too many in a row end the run."""
        progress, patience = self.progress, self.settings.nonfinite_patience
        progress.skip(outcome.out_of_memory)
        certain, possible = (distributed.gathered(list(x)) for x in (outcome.certain, outcome.possible))
        shown = named(certain or possible)
        if distributed.is_main():
            logger.warning("Step %d is skipped (%s): %s", progress.step, outcome.reason, shown)
        if progress.skipped_in_row >= patience:
            kind = TooLittleMemory if progress.out_of_memory else TooManySkipped
            raise kind(
                f"{patience} steps in a row were skipped ({outcome.reason}), the last for {shown}: "
                f"{outcome.remedy}"
            )

    def _after_step(self, *, is_last: bool) -> None:
        """Save where it is time to, before validation too, and stop where it is asked for."""
        interval = self.settings.ckpt_interval_steps
        if is_last or self.stopping or (interval and self.progress.step % interval == 0):
            self.save()
        if self.stopping:
            self._stop()

    def _stop(self) -> None:
        position = f"epoch {self.progress.epoch}, step {self.progress.step}"
        raise Stopped(
            f"stopped as asked in {position}: the same command goes on from there", self.stop.number
        )

    def _fit_valid(self, valid_set: Iterable[Any] | None, epoch: int, enable: bool) -> None:
        if valid_set is None:
            loss, figures = float("nan"), {}
        else:
            loss = self._run(valid_set, Stage.VALID, epoch, enable)
            figures = self.judged()
        train, rate = self.train_figures, self.optimizer.param_groups[0]["lr"]
        self.progress = self.progress.next_epoch()
        run = {"epoch": epoch, "lr": rate, "steps": self.progress.step}
        line = epoch_line(run, train=train, valid={"loss": loss, **figures})
        # First what cannot be had again.
        self.save("+end", line, loss=loss, epoch=epoch, **figures)
        if distributed.is_main():
            write_epoch(self.settings.folder / LOG, line)
            logger.info(line)
        if self.curves is not None:
            self.curves.validation(self.progress.step, {"loss": loss, **figures})

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
                if stage == Stage.VALID and self.stop.made:
                    # The checkpoint before the validation is there.
                    self._stop()
                losses = self._judge(batch, stage)
                sums += torch.stack((losses.total_b.sum(), losses.total_b.new_tensor(len(batch.names))))
        total, count = distributed.sum_gradients((), sums).tolist()
        loss = float(total) / max(1.0, count)
        self.on_stage_end(stage, loss, epoch)
        return loss

    def _judge(self, batch: Any, stage: Stage) -> Losses:
        try:
            with self.evaluation_ctx:
                return self.compute_objectives(self.compute_forward(batch, stage), batch, stage)
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"not enough memory to evaluate {len(batch.names)} utterances at once: give a larger "
                "--grad_accumulation_factor, the same command goes on"
            ) from error

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
