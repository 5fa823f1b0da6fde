"""Recognisers as ONNX files, for a benchmark of onnxruntime beside PyTorch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hyperconformer.bench.cases import INT8, ONNX, Case
from hyperconformer.errors import InputError
from hyperconformer.export.onnx_folder import export_onnx
from hyperconformer.inference.bundle import save_bundle
from hyperconformer.inference.onnx_files import require_onnx
from hyperconformer.mixers import MIXERS
from hyperconformer.models.asr import ASR
from hyperconformer.text import train_tokenizer

# FNet has no graph for all lengths.
EXPORTED = [name for name in MIXERS if name != "fourier"]


def systems_of(mixers: Sequence[str]) -> list[str]:
    """List what is measured of recognisers with these mixers.

    Parameters
    ----------
    mixers : sequence of str

    Returns
    -------
    list of str

    Raises
    ------
    InputError
        If there is no such mixer, or no onnxruntime.

    Examples
    --------
    >>> systems_of(["summary"])
    ['summary', 'onnx:summary', 'int8:summary']
    """
    require_onnx()
    for mixer in mixers:
        if mixer not in EXPORTED:
            raise InputError(f"--mixers {mixer}: choose from {', '.join(EXPORTED)}")
    return [prefix + mixer for mixer in dict.fromkeys(mixers) for prefix in ("", ONNX, INT8)]


def export_all(cases: Sequence[Case], say: Callable[[str], object]) -> None:
    """Write the ONNX files of all cases, whose parity is checked meanwhile, as of any model.

    Parameters
    ----------
    cases : sequence of Case
        Of ``hear``; each takes its files from the folder of its system in ``case.files``.
    say : callable
        Hears of the progress, line by line.

    Raises
    ------
    InputError
        If a file would be wrong.

    Examples
    --------
    >>> export_all([Case("hear", "summary", "forward", seconds=1.0, batch_size=1)], print)
    """
    for case in {case.system: case for case in cases if case.is_onnx}.values():
        say(f"writing {case.system}")
        folder = Path(case.files)
        # Not what is measured; a folder has one.
        tokenizer = train_tokenizer(["ONE TWO"], folder / "tokenizer.model", output_neurons=12)
        torch.manual_seed(case.seed)
        bundle = save_bundle(folder / case.mixer, ASR(case.config()), tokenizer, metrics={}, card="")
        # Both are checked, but a graph takes minutes to make.
        int8, exact = case.system.startswith(INT8), folder / f"{ONNX}{case.mixer}"
        export_onnx(bundle, folder / case.system, int8=int8, graphs=exact if int8 else None)
