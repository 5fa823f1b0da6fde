"""Audio files to text with a trained model."""

from pathlib import Path

import torch

from hyperconformer.audio import read_audio
from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.decoding.greedy import ctc_greedy
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.text import Tokenizer
from hyperconformer.types import Segment, Transcript


class Transcriber:
    """A trained model, ready to listen.

    Parameters
    ----------
    model : ASR
        In evaluation mode.
    tokenizer : Tokenizer

    Examples
    --------
    >>> Transcriber.load("no/such/model")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """

    def __init__(self, model: ASR, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "Transcriber":
        """Open a model bundle."""
        return cls(*load_bundle(Path(folder), device))

    @torch.inference_mode()
    def transcribe(self, path: str | Path) -> Transcript:
        """Recognise one audio file, by CTC greedy decoding.

        Parameters
        ----------
        path : str or Path
            wav, flac, ogg, opus or mp3; any rate and number of channels.

        Returns
        -------
        Transcript

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        device = self.model.ctc_head.weight.device
        samples = torch.from_numpy(read_audio(path)).unsqueeze(0).to(device)
        lengths = torch.tensor([samples.shape[1]], device=device)
        memory, padding = self.model.encode(samples, lengths)
        hypothesis = ctc_greedy(self.model.ctc_log_probs(memory), padding)[0]
        seconds = samples.shape[1] / SAMPLE_RATE
        text = self.tokenizer.decode(hypothesis.tokens)
        return Transcript(seconds, (Segment(0.0, seconds, text, hypotheses=(hypothesis,)),))
