"""Training a recogniser for the contest: as train.py does, and tested utterance by utterance."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from hyperconformer.bench.contest.found import GREEDY, VALID, Judged
from hyperconformer.bench.contest.joined import ENOUGH, orders_of
from hyperconformer.bench.contest.testing import count_errors, hear_joined
from hyperconformer.bench.gauges import process_peak
from hyperconformer.bench.upstream_asr import UpstreamASR
from hyperconformer.data.pipeline import Batch
from hyperconformer.decoding.searches import Models, make_search
from hyperconformer.errors import InputError
from hyperconformer.models.asr import ASR, Outputs
from hyperconformer.models.config import ModelConfig
from hyperconformer.provenance import environment
from hyperconformer.training.asr import ASRTask, Speech
from hyperconformer.training.brain import ASRBrain
from hyperconformer.training.kept import LOG
from hyperconformer.training.log import read_epochs
from hyperconformer.training.objectives import Loss
from hyperconformer.training.settings import Settings
from hyperconformer.training.setup import plain_loader
from hyperconformer.types import Utterance

MEBIBYTE = 2**20
PEAK = "peak.json"
OURS, UPSTREAM = "ours", "speechbrain"
MODULES: Mapping[str, Callable[[ModelConfig], ASR]] = {
    OURS: ASR,
    UPSTREAM: lambda config: cast(ASR, UpstreamASR(config)),
}
"""What a recogniser may be made of."""
LENGTHS = (15, 30, 60, 120)
"""Greatest seconds of the recordings that a test's utterances are joined to."""


class ContestBrain(ASRBrain):
    """Keeps the loss of every utterance of a validation or test.

    Attributes
    ----------
    losses : dict of str to float
        Of the last one, in nats, by the utterance's id.

    Examples
    --------
    >>> issubclass(ContestBrain, ASRBrain)
    True
    """

    losses: dict[str, float]

    def on_stage_start(self, stage: Any, epoch: int | None = None) -> None:
        """Forget the last stage."""
        super().on_stage_start(stage, epoch)
        self.losses = {}

    def compute_objectives(self, predictions: Outputs, batch: Batch, stage: Any) -> Loss:
        """The loss of every utterance, noted unless it is learnt from."""
        loss = super().compute_objectives(predictions, batch, stage)
        if not self.model.training:
            self.losses |= zip(batch.names, loss.total_b.tolist(), strict=True)
        return loss


def note_peak(folder: Path, device: str) -> float | None:
    """Note the most memory that training took so far, all calls of a continued run together.

    Parameters
    ----------
    folder : Path
        Of the run.
    device : str

    Returns
    -------
    float or None
        MiB, of this process or, on a GPU, of what PyTorch had allocated there.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "peak.json").write_text("123456789.0")
    >>> note_peak(folder, "cpu")
    123456789.0
    """
    on_gpu = torch.device(device).type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else process_peak()
    file = folder / PEAK
    before = json.loads(file.read_text(encoding="ascii")) if file.is_file() else None
    known = [value for value in (before, peak and peak / MEBIBYTE) if value]
    if known and folder.is_dir():
        file.write_text(json.dumps(max(known)), encoding="ascii")
    return max(known, default=None)


class ContestTask(ASRTask):
    """Train as every recipe does, then ask what a contest wants to know.

    Parameters
    ----------
    settings, run_options, hparams_file
        As of :class:`ASRTask`.
    modules : {"ours", "speechbrain"}
        What the recogniser is made of.
    lengths : sequence of float
        Greatest seconds of joined recordings.
    enough : int
        How many of the longest are to be heard at the least.

    Examples
    --------
    >>> ContestTask.brain_type.__name__
    'ContestBrain'
    """

    brain_type = ContestBrain

    def __init__(
        self,
        settings: Settings,
        run_options: dict[str, Any],
        hparams_file: str,
        *,
        modules: str = OURS,
        lengths: Sequence[float] = LENGTHS,
        enough: int = ENOUGH,
    ) -> None:
        super().__init__(settings, run_options, hparams_file)
        self.modules, self.lengths, self.enough = modules, lengths, enough

    def make_model(self) -> ASR:
        """Build the recogniser of these modules."""
        if self.modules == OURS:
            return super().make_model()
        if self.settings.inter_ctc_layers:
            raise InputError("SpeechBrain's encoder has no layers to read: give --inter_ctc_layers=[]")
        return MODULES[self.modules](self.settings.model)

    def finish(self, brain: ASRBrain, data: Speech) -> dict[str, Any]:
        """Test every split with the averaged weights; nothing is left behind but what is returned."""
        assert isinstance(brain, ContestBrain)
        folder = self.settings.folder
        peak, epochs = note_peak(folder, str(brain.device)), read_epochs(folder / LOG)
        splits = {VALID: self._tested(brain, data, VALID, data.splits.valid)}
        self._searches(brain)
        tests = data.splits.tests
        splits |= {name: self._tested(brain, data, name, spoken) for name, spoken in tests.items()}
        model = brain.model.eval()
        every = [one for spoken in tests.values() for one in spoken]
        orders = orders_of(every, max(self.lengths), self.enough)
        joined = {
            f"{long:g}": hear_joined(model, data.tokenizer, every, long, orders) for long in self.lengths
        }
        return {
            **environment(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "train_seconds": brain.progress.total_seconds,
            "train_hours": sum(one.seconds for one in data.splits.train) / 3600,
            "steps": brain.progress.step,
            "epochs": [epoch["valid loss"] for epoch in epochs],
            "audio_rate": float(np.median([epoch.get("train audio s/s", 0.0) for epoch in epochs])),
            "peak_mib": peak,
            "splits": splits,
            "joined": joined,
        }

    def _searches(self, brain: ASRBrain) -> None:
        """The recipe's searches; what asks the decoder step by step asks ours, with the very weights."""
        model, options = brain.model, self.settings.search
        asked = cast(UpstreamASR, model).as_ours() if self.modules == UPSTREAM else model
        models = Models(asked, None, brain.tokenizer)
        names = dict.fromkeys((GREEDY, *self.settings.decode))
        brain.searches = {name: make_search(name, models, options) for name in names}

    def _tested(
        self, brain: ContestBrain, data: Speech, split: str, utterances: Sequence[Utterance]
    ) -> Judged:
        brain.evaluate(plain_loader(utterances, data.tokenizer, self.settings))
        return count_errors(brain.decoded, split, brain.losses)
