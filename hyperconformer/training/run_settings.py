"""The settings that every kind of training has: its folder, its steps and its checkpoints."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hyperconformer.errors import check_range

SMALLEST = 1e-12


@dataclass(frozen=True)
class RunSettings:
    """What a run is and how it learns, whatever it learns.

    Attributes
    ----------
    seed : int
        Every random number follows from it.
    name, output_folder : str
        Of the run; ``{name}`` and ``{seed}`` in the folder are filled in.
    number_of_epochs, num_workers : int
        Epochs in all, and processes that read data.
    grad_accumulation_factor : int
        Pieces into which each process cuts its part of a batch: saves memory, and changes only rounding and
        which values dropout hits.
    lr, n_warmup_steps
        Peak learning rate and steps of the Noam schedule.
    optimizer : {"adamw", "muon"}
        What moves the matrices between layers; AdamW moves all others.
    adam_betas, adam_eps, weight_decay
        Of AdamW; the last of both.
    max_grad_norm : float
        Gradients are scaled down to this norm.
    ema_decay : float
        Of the moving average of the weights; 0 for none.
    nonfinite_patience : int
        Skipped steps in a row (a loss or gradient that is not finite, no memory) that end the run.
    max_unreadable : int
        Utterances an epoch whose audio may be unreadable without ending the run.
    ckpt_interval_steps : int
        Steps between checkpoints within an epoch; 0 for none.
    keep_recent, average_checkpoints : int
        Latest checkpoints kept, and best ones: kept, and averaged for the test.
    log_interval_steps : int
        Steps between points of the curves.
    wandb : bool
        Send the curves to Weights & Biases too.

    Examples
    --------
    >>> RunSettings.__annotations__["number_of_epochs"]
    <class 'int'>
    """

    seed: int
    name: str
    output_folder: str
    number_of_epochs: int
    num_workers: int
    grad_accumulation_factor: int
    lr: float
    n_warmup_steps: int
    optimizer: Literal["adamw", "muon"]
    adam_betas: tuple[float, float]
    adam_eps: float
    weight_decay: float
    max_grad_norm: float
    ema_decay: float
    nonfinite_patience: int
    max_unreadable: int
    ckpt_interval_steps: int
    keep_recent: int
    average_checkpoints: int
    log_interval_steps: int
    wandb: bool

    def __post_init__(self) -> None:
        """Refuse what would fail only later."""
        for name, (low, high) in self.ranges().items():
            check_range(name, getattr(self, name), low, high)
        check_range("adam_betas", min(self.adam_betas), 0, 1)

    @classmethod
    def ranges(cls) -> dict[str, tuple[float, float]]:
        """Least and greatest legal value of each number."""
        return {
            "seed": (0, math.inf),
            "number_of_epochs": (1, math.inf),
            "num_workers": (0, math.inf),
            "grad_accumulation_factor": (1, math.inf),
            "lr": (SMALLEST, math.inf),
            "n_warmup_steps": (1, math.inf),
            "adam_eps": (SMALLEST, math.inf),
            "weight_decay": (0, math.inf),
            "max_grad_norm": (SMALLEST, math.inf),
            "ema_decay": (0, 0.999999),
            "nonfinite_patience": (1, math.inf),
            "max_unreadable": (0, math.inf),
            "ckpt_interval_steps": (0, math.inf),
            "keep_recent": (1, math.inf),
            "average_checkpoints": (1, math.inf),
            "log_interval_steps": (1, math.inf),
        }

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.output_folder)

    def plain(self) -> dict[str, Any]:
        """Every key of the recipe with its value, as a YAML file would have them."""
        raise NotImplementedError


def noam_rate(step: int, lr: float, n_warmup_steps: int) -> float:
    """The learning rate of a step: up in a line to ``lr``, then down with the root of the steps.

    Parameters
    ----------
    step : int
        Counted from 1.
    lr : float
        The peak.
    n_warmup_steps : int
        Where it lies.

    Returns
    -------
    float

    References
    ----------
    Vaswani et al., Attention is all you need, arXiv 1706.03762.

    Examples
    --------
    >>> [noam_rate(step, 1.0, 100) for step in (1, 100, 400)]
    [0.01, 1.0, 0.5]
    """
    return lr * min(step / n_warmup_steps, math.sqrt(n_warmup_steps / step))


def warm_up_warning(steps: int, settings: RunSettings) -> str:
    """Say that a training ends before its learning rate has been up.

    Parameters
    ----------
    steps : int
        Of all epochs.
    settings : RunSettings

    Returns
    -------
    str
        Nothing where it does not.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {"lr": 0.004, "n_warmup_steps": 250})
    >>> print(warm_up_warning(100, settings))
    100 steps in all are fewer than n_warmup_steps (250): the learning rate ends at 0.0016 and ...
    >>> warm_up_warning(250, settings)
    ''
    """
    if steps >= settings.n_warmup_steps:
        return ""
    last = noam_rate(max(steps, 1), settings.lr, settings.n_warmup_steps)
    return (
        f"{steps} steps in all are fewer than n_warmup_steps ({settings.n_warmup_steps}): "
        f"the learning rate ends at {last:.2g} and never comes to {settings.lr:g}; give fewer, or more epochs"
    )
