"""A model folder to a folder of ONNX files that transcribes alone; a wrong one is never written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.export.folder import new_folder
from hyperconformer.export.onnx_parity import check_parity
from hyperconformer.inference.bundle import load_bundle
from hyperconformer.inference.bundle_check import ONNX_FORMAT, SUMS, file_sum
from hyperconformer.inference.bundle_files import CARD, CONFIG, METRICS, TOKENIZER
from hyperconformer.inference.onnx_backend import OnnxRecogniser
from hyperconformer.inference.onnx_files import FILES, SUMMED, require_onnx
from hyperconformer.models.asr import ASR
from hyperconformer.models.config import ModelConfig

Say = Callable[[str], object]
_CARD = """
## These files

The model in ONNX{precision}, for onnxruntime and others; the numbers above are those of the model in PyTorch.
`hyperconformer transcribe --model FOLDER speech.wav` sees by itself what this folder is for
(`pip install "hyperconformer[onnx]"`).

Batch B, hypotheses K and all lengths are free. D = {d_model}, V = {output_neurons}, H = {nhead}, E = {head}.
Names with `.i` are there for each of {num_decoder_layers} decoder layers, from 0.

| file | takes | gives |
|---|---|---|
| `encoder.onnx` | `samples` (B, S), mono at 16 kHz; `lengths` (B), samples of each | `memory` (B, T, D); \
`log_probs` (B, T, V) of CTC, where 0 is the blank; `frames` (B) of 40 ms that are valid |
| `memory.onnx` | `memory` | `memory_keys.i`, `memory_values.i` (B, H, T, E) |
| `decoder.onnx` | the same two; `visible` (B, T), valid frames; `tokens` (B, K), one more of each \
hypothesis, at first 1; `positions` (B, K), from 0; `rows` (B, K, N), which of N tokens before it follows; \
`own` (B, K, K), the identity; `keys.i`, `values.i` (B, H, N, E), at first N = 0 | `logits` (B, K, V) of \
the next token, where 2 ends; `all_keys.i`, `all_values.i` (B, H, N + K, E) |

Samples are float32, at least 640; lengths, tokens and positions int64; `visible`, `rows` and `own` bool.
"""


def export_onnx(
    bundle: Path | str,
    out: Path | str,
    *,
    int8: bool = False,
    graphs: Path | None = None,
    say: Say = lambda line: None,
) -> Path:
    """Write a model bundle as ONNX files.

    Parameters
    ----------
    bundle : Path or str
        The model folder.
    out : Path or str
        A new folder.
    int8 : bool
        Store weights in eight bits.
    graphs : Path or None
        A folder of the same model's ONNX files in float32, to begin with; None: they are made anew.
    say : callable
        Hears what is done next, line by line; all of it takes a minute or more.

    Returns
    -------
    Path
        The new folder, which has been held against the model on random input.

    Raises
    ------
    InputError
        If the bundle cannot be opened, ONNX cannot say what its mixer does, the files say something else than
        PyTorch, the folder is not new, or a package is missing.

    Examples
    --------
    >>> export_onnx("no/such/model", "folder")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/model' is not a folder: give the 'model' folder that \
training wrote
    """
    require_onnx()
    bundle, out = Path(bundle), Path(out)
    model, tokenizer = load_bundle(bundle)
    with new_folder(out) as draft:
        tokenizer.save(draft / TOKENIZER)
        _write(model, bundle, draft, int8=int8, graphs=graphs, say=say)
    return out


def _write(model: ASR, bundle: Path, draft: Path, *, int8: bool, graphs: Path | None, say: Say) -> None:
    """The graphs and what describes them, compared with the model."""
    # It takes seconds to import.
    from hyperconformer.export.onnx_graphs import quantise, write_graphs

    if graphs is None:
        write_graphs(model, draft, say)
    else:
        for name in FILES:
            shutil.copy(graphs / name, draft / name)
    for name in FILES if int8 else ():
        say(f"storing the weights of {name} in eight bits")
        quantise(draft / name)
    _describe(bundle, draft, model.config, int8=int8)
    check_parity(model, OnnxRecogniser.load(draft), say)


def _describe(bundle: Path, draft: Path, config: ModelConfig, *, int8: bool) -> None:
    """Config, with the sum of every file, metrics and card."""
    said = {
        "format": ONNX_FORMAT,
        "sample_rate_hz": SAMPLE_RATE,
        "int8": int8,
        SUMS: {name: file_sum(draft / name) for name in SUMMED},
        "model": config.to_dict(),
    }
    (draft / CONFIG).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    # What describes the model is its owner's to leave out.
    metrics, card = (
        (bundle / name).read_text(encoding="utf-8") if (bundle / name).is_file() else otherwise
        for name, otherwise in ((METRICS, "{}\n"), (CARD, "# Model\n"))
    )
    (draft / METRICS).write_text(metrics, encoding="utf-8")
    precision = ", weights in eight bits" if int8 else ""
    sizes = {**config.to_dict(), "head": config.d_model // config.nhead}
    (draft / CARD).write_text(card.rstrip("\n") + "\n" + _CARD.format(precision=precision, **sizes), "utf-8")
