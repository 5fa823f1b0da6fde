"""The numbers of a run as curves: TensorBoard always, Weights & Biases when asked."""

import os
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from hyperconformer.errors import InputError, one_line

TENSORBOARD, WANDB_ID, PROJECT = "tensorboard", "wandb_id", "hyperconformer"
LONGEST_REASON = 200
FLUSH_SECONDS = 30
"""What a crash may cost; TensorBoard's own default is two minutes."""


def require_wandb() -> None:
    """Refuse to begin where W&B was asked for and is not installed.

    Raises
    ------
    InputError

    Examples
    --------
    >>> require_wandb() if find_spec("wandb") else None
    """
    if find_spec("wandb") is None:
        raise InputError("W&B was asked for and is not installed: pip install 'hyperconformer[wandb]'")


class Curves:
    """Writes the curves of one run; only the main process of a run makes one.

    Parameters
    ----------
    folder : Path
        The run's. The curves go to ``tensorboard/`` in it, W&B's files to ``wandb/``, and the W&B run is
        found again by the id in ``wandb_id``.
    wandb : bool
        Also write to Weights & Biases, which heeds its own variables: WANDB_MODE=offline, WANDB_PROJECT,
        WANDB_ENTITY and so on.
    purge_step : int
        First step that this process may write; 0 for a new run. What an earlier process wrote of it or later
        steps is not shown, so that a run continued from a checkpoint has no point twice. (W&B keeps what it
        saw first: it drops steps that are not above its last one.)
    config : mapping or None
        The run's settings, for W&B.

    Raises
    ------
    InputError
        If W&B is not installed or refuses.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Curves(Path(folder)) as curves:
    ...         curves.add(1, {"train/loss": 1.2, "train/lr": 0.001})
    ...     [path.name.split(".")[1] for path in (Path(folder) / "tensorboard").iterdir()]
    ['out']
    """

    def __init__(
        self,
        folder: Path,
        wandb: bool = False,
        purge_step: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        # First, for it may refuse.
        self._wandb = _start_wandb(folder, dict(config or {})) if wandb else None
        self._writer = SummaryWriter(
            str(folder / TENSORBOARD), purge_step=purge_step, flush_secs=FLUSH_SECONDS
        )

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to some curves.

        Parameters
        ----------
        step : int
            Optimizer step, or whatever the run counts by; it never falls.
        values : mapping of str to float
            By name of the curve; a name's part before ``/`` is its group.
        """
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=step)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=step)

    def close(self) -> None:
        """Write everything out; nothing can be added afterwards."""
        self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()

    def __enter__(self) -> "Curves":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StepCurves:
    """Gathers what steps did, and draws a point for every so many of them.

    Parameters
    ----------
    curves : Curves or None
        None draws nothing.
    interval : int
        Steps between points.

    Examples
    --------
    >>> steps = StepCurves(None, interval=2)
    >>> steps.add(1, {"loss": 4.0}, utterances=2, rate=0.1, norm=1.0, seconds=0.5, waited=0.1)
    >>> steps.point()["train/loss"], steps.point()["train/waiting %"]
    (2.0, 20.0)
    """

    def __init__(self, curves: Curves | None, interval: int) -> None:
        self.curves, self.interval = curves, interval
        self._forget()

    def _forget(self) -> None:
        self._sums: dict[str, float] = {}
        self._utterances = self._seconds = self._waited = self._norms = self._rate = 0.0
        self._steps = 0

    def add(
        self,
        step: int,
        sums: Mapping[str, float],
        *,
        utterances: float,
        rate: float,
        norm: float,
        seconds: float,
        waited: float,
    ) -> None:
        """Take in a step that learnt; ``sums`` are its losses over so many utterances."""
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._utterances += utterances
        self._norms += norm
        self._seconds += seconds
        self._waited += waited
        self._rate, self._steps = rate, self._steps + 1
        if self.curves is not None and step % self.interval == 0:
            self.curves.add(step, self.point())
            self._forget()

    def point(self) -> dict[str, float]:
        """Means since the last point."""
        return {
            **{f"train/{name}": value / max(1.0, self._utterances) for name, value in self._sums.items()},
            "train/lr": self._rate,
            "train/grad_norm": self._norms / max(1, self._steps),
            "train/step_seconds": self._seconds / max(1, self._steps),
            "train/waiting %": 100 * self._waited / max(self._seconds, 1e-9),
        }

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """Draw what a validation found."""
        if self.curves is not None:
            self.curves.add(step, {f"valid/{name}": value for name, value in figures.items()})


def _start_wandb(folder: Path, config: dict[str, Any]) -> Any:
    """Begin a W&B run, or go on with the one whose id the folder keeps."""
    require_wandb()
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / WANDB_ID
    if not kept.is_file():
        kept.write_text(f"{uuid.uuid4().hex[:12]}\n", encoding="utf-8")
    try:
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name="/".join(folder.absolute().parts[-2:]),
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            dir=str(folder),
            config=config,
        )
    except wandb.Error as error:
        raise InputError(
            f"W&B does not start ({one_line(error, LONGEST_REASON)}): run 'wandb login', or set "
            "WANDB_MODE=offline"
        ) from error
