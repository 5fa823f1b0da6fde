"""What a SpeechBrain recipe leaves, made of tiny models of ours."""

from pathlib import Path

import torch

from hyperconformer.export.speechbrain import export_folder
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import LanguageModelConfig, ModelConfig
from hyperconformer.models.language_model import LanguageModel
from hyperconformer.models.speechbrain_lm import language_model_to_speechbrain
from hyperconformer.text import train_tokenizer


def leave_speechbrain_run(folder: Path) -> Path:
    """Write what its recipe would leave of a tiny HyperConformer, and the language model beside it."""
    scratch = folder.parent
    scratch.mkdir(parents=True, exist_ok=True)
    words = train_tokenizer(["ONE TWO", "TWO ONE"], scratch / "tokenizer.model", output_neurons=12)
    config = ModelConfig(
        output_neurons=words.size, mixer_options={"length_norm": "none"}, d_model=16, nhead=2, d_ffn=64,
        num_encoder_layers=1, num_decoder_layers=1,
    )  # fmt: skip
    bundle = save_bundle(scratch / "bundle", ASR(config), words, metrics={}, card="# Tiny\n")
    export_folder(bundle, folder)
    lm = LanguageModel(
        LanguageModelConfig(words.size, d_model=24, nhead=12, d_ffn=16, num_layers=2, norm="after")
    )
    torch.save(language_model_to_speechbrain(lm), folder / "lm.ckpt")
    return folder
