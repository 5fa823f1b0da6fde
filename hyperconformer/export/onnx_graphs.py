"""A recogniser as three ONNX graphs: what it hears, what its decoder sees of that, and one decoder step."""

import copy
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hyperconformer.errors import InputError, one_line
from hyperconformer.features import LogMel
from hyperconformer.inference.bundle_files import LONGEST_REASON
from hyperconformer.inference.onnx_backend import (
    CTC_BIAS,
    CTC_WEIGHT,
    FRAMES,
    LENGTHS,
    LOG_PROBS,
    LOGITS,
    OUTPUT,
    OWN,
    POSITIONS,
    ROWS,
    SAMPLES,
    TOKENS,
    VISIBLE,
    numbered,
)
from hyperconformer.inference.onnx_files import DECODER, ENCODER, MEMORY
from hyperconformer.models.asr import ASR
from hyperconformer.models.decoder import Decoder, DecoderState
from hyperconformer.nn.log_probs import log_probs
from hyperconformer.nn.prefix_tree import PrefixTree

if TYPE_CHECKING:
    from onnx import ModelProto

FILTERS = "model.log_mel.filters"
# Sizes of the example that graphs are traced with: two axes of the same size would count as one.
BATCH, HYPOTHESES, BEFORE, AFTER, SECOND = 2, 3, 5, 7, 16_000

Example = tuple[nn.Module, tuple[Any, ...], tuple[Any, ...], list[str], list[str]]


class ProductLogMel(LogMel):
    """The same features, their Fourier transform written as a product, which every runtime does fast.

    Parameters
    ----------
    n_fft, n_mels : int
        As of :class:`~hyperconformer.features.LogMel`.

    Examples
    --------
    >>> samples_bs, lengths_b = torch.randn(1, 1600), torch.tensor([1600])
    >>> ours, truth = ProductLogMel(400, 80)(samples_bs, lengths_b), LogMel(400, 80)(samples_bs, lengths_b)
    >>> torch.allclose(ours[0], truth[0], atol=1e-2)
    True
    """

    waves: Tensor

    def __init__(self, n_fft: int, n_mels: int) -> None:
        super().__init__(n_fft=n_fft, n_mels=n_mels)
        width = self.window.shape[0]
        places_n = torch.arange(width, dtype=torch.float64) + (n_fft - width) // 2
        turns_kn = torch.outer(torch.arange(n_fft // 2 + 1, dtype=torch.float64), places_n) % n_fft
        angles_kn = 2 * math.pi / n_fft * turns_kn
        waves = torch.cat((angles_kn.cos(), angles_kn.sin())) * self.window.double()
        self.register_buffer("waves", waves.float().unsqueeze(1), persistent=False)

    def _power(self, samples_bs: Tensor, center: bool) -> Tensor:
        width = self.window.shape[0]
        if not center:
            # Frames of n_fft samples, of which the window is the middle.
            unheard = (self.n_fft - width) // 2
            samples_bs = samples_bs[:, unheard : samples_bs.shape[1] - unheard]
        padding = width // 2 if center else 0
        both_bkf = F.conv1d(samples_bs.unsqueeze(1), self.waves, stride=self.hop_samples, padding=padding)
        real_bkf, imaginary_bkf = both_bkf.chunk(2, dim=1)
        return (real_bkf * real_bkf + imaginary_bkf * imaginary_bkf).transpose(1, 2)


class Hearing(nn.Module):
    """Samples (B, S) and their number (B,) -> encoder output, CTC log-probabilities and valid frames.

    Parameters
    ----------
    model : ASR
        Is copied.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> hearing = Hearing(ASR(ModelConfig(output_neurons=12, d_model=8, nhead=2)).eval())
    >>> [tuple(out.shape) for out in hearing(torch.zeros(1, 16_000), torch.tensor([16_000]))]
    [(1, 26, 8), (1, 26, 12), (1,)]
    """

    def __init__(self, model: ASR) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.log_mel = ProductLogMel(model.config.n_fft, model.config.n_mels)
        # By these names whoever opens the file finds the head.
        self.register_buffer(CTC_WEIGHT, model.ctc_head.weight.detach().t().contiguous())
        self.register_buffer(CTC_BIAS, model.ctc_head.bias.detach().clone())

    def forward(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        memory_btd, frames_b = self.model.encode_features(*self.model.features(samples_bs, lengths_b))
        logits_btv = memory_btd @ self.get_buffer(CTC_WEIGHT) + self.get_buffer(CTC_BIAS)
        return memory_btd, log_probs(logits_btv), frames_b


class Memory(nn.Module):
    """Encoder output (B, T, D) -> each decoder layer's keys and values of it, (B, H, T, E).

    Parameters
    ----------
    decoder : Decoder

    Examples
    --------
    >>> len(Memory(Decoder(12, 2, 8, 2, 16, dropout=0.0))(torch.zeros(1, 5, 8)))
    4
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, memory_btd: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        return tuple(tensor for pair in self.decoder.start(memory_btd, None).memory for tensor in pair)


class Step(nn.Module):
    """New tokens behind those whose keys and values are given -> logits, and all keys and values.

    Parameters
    ----------
    decoder : Decoder

    Examples
    --------
    >>> decoder = Decoder(12, 1, 8, 2, 16, dropout=0.0)
    >>> no, yes = torch.zeros(1, 1, 0, dtype=torch.bool), torch.ones(1, 1, 1, dtype=torch.bool)
    >>> before, memory = (torch.zeros(1, 2, 0, 4),) * 2, (torch.zeros(1, 2, 1, 4),) * 2
    >>> token, place = torch.ones(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)
    >>> found = Step(decoder)(token, place, no, yes, yes[0], before, memory)
    >>> [tuple(out.shape) for out in found]
    [(1, 1, 12), (1, 2, 1, 4), (1, 2, 1, 4)]
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens_bk: Tensor,
        positions_bk: Tensor,
        rows_bkn: Tensor,
        own_bkk: Tensor,
        visible_bt: Tensor,
        before: Sequence[Tensor],
        memory: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:
        """Ask the decoder.

        Parameters
        ----------
        tokens_bk, positions_bk : Tensor, shape (B, K), long
            New tokens and their places in their sentences, from 0.
        rows_bkn : Tensor, shape (B, K, N), bool
            Which tokens before each new one follows.
        own_bkk : Tensor, shape (B, K, K), bool
            Which of the new ones, itself included.
        visible_bt : Tensor, shape (B, T), bool
            True at valid encoder frames.
        before, memory : sequence of Tensor, shapes (B, H, N, E) and (B, H, T, E)
            Each layer's keys and values, of the tokens before and of the encoder output.

        Returns
        -------
        tuple of Tensor
            Logits (B, K, V), and each layer's keys and values of all tokens, (B, H, N + K, E).
        """
        pool, heard = (tuple(zip(flat[::2], flat[1::2], strict=True)) for flat in (before, memory))
        tree = PrefixTree(pool, rows_bkn, positions_bk, 0)
        state = DecoderState(heard, visible_bt[:, None, None, :], tree)
        seen_bkm = torch.cat((rows_bkn, own_bkk), dim=2)
        logits_bkv, said = self.decoder.run(tokens_bk, positions_bk, state, seen_bkm)
        return logits_bkv, *(tensor for pair in said for tensor in pair)


def _example(model: ASR) -> dict[str, Example]:
    """Of each file: module, example, names of the axes that vary, of the inputs and of the outputs."""
    config, layers = model.config, model.config.num_decoder_layers
    head = config.d_model // config.nhead

    def flags(*shape: int) -> Tensor:
        return torch.ones(shape, dtype=torch.bool)

    # Each a tensor of its own: one that came twice would count as one input.
    tokens, positions = torch.ones(2, BATCH, HYPOTHESES, dtype=torch.long).unbind()
    before, memory = (
        tuple(torch.zeros(BATCH, config.nhead, count, head) for _ in range(2 * layers))
        for count in (BEFORE, AFTER)
    )
    rows, own = flags(BATCH, HYPOTHESES, BEFORE), flags(BATCH, HYPOTHESES, HYPOTHESES)
    each, time = {0: "batch", 1: "hypotheses"}, {0: "batch", 1: "frames"}
    places = [each, each, each | {2: "before"}, each | {2: "hypotheses"}, time]
    keys = ({0: "batch", 2: "before"},) * (2 * layers), ({0: "batch", 2: "frames"},) * (2 * layers)
    return {
        ENCODER: (
            Hearing(model),
            (torch.randn(BATCH, SECOND), torch.tensor([SECOND, SECOND // 2])),
            ({0: "batch", 1: "samples"}, {0: "batch"}),
            [SAMPLES, LENGTHS],
            [OUTPUT, LOG_PROBS, FRAMES],
        ),
        MEMORY: (
            Memory(model.decoder),
            (torch.zeros(BATCH, AFTER, config.d_model),),
            (time,),
            [OUTPUT],
            numbered("memory_", layers),
        ),
        DECODER: (
            Step(model.decoder),
            (tokens, positions, rows, own, flags(BATCH, AFTER), before, memory),
            (*places, *keys),
            [TOKENS, POSITIONS, ROWS, OWN, VISIBLE, *numbered("", layers), *numbered("memory_", layers)],
            [LOGITS, *numbered("all_", layers)],
        ),
    }


def write_graphs(model: ASR, folder: Path, say: Callable[[str], object] = lambda line: None) -> None:
    """Write the three files of a recogniser.

    Parameters
    ----------
    model : ASR
        In evaluation mode, on the CPU, in float32.
    folder : Path
        Is there already.
    say : callable
        Hears what is done next, line by line.

    Raises
    ------
    InputError
        If PyTorch cannot make a graph of it that takes every length.

    Examples
    --------
    >>> from hyperconformer.models.config import ModelConfig
    >>> model = ASR(ModelConfig(output_neurons=12, mixer="fourier", d_model=8, nhead=2)).eval()
    >>> write_graphs(model, Path("no/such/folder"))
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: mixer 'fourier' transforms every utterance at its own length, which no \
ONNX graph does: export a model with another mixer
    """
    if model.config.mixer == "fourier":
        raise InputError(
            "mixer 'fourier' transforms every utterance at its own length, which no ONNX graph does: export "
            "a model with another mixer"
        )
    for name, (module, example, axes, inputs, outputs) in _example(model).items():
        say(f"writing {name}" + (", most of the time" if name == ENCODER else ""))
        try:
            proto = graph_of(module.eval(), example, axes, inputs, outputs)
        except Exception as error:
            # Its own errors say over many lines where it stopped; what was the matter stands behind them.
            cause = error.__cause__
            reason = one_line(cause if isinstance(cause, Exception) else error, LONGEST_REASON)
            raise InputError(f"PyTorch cannot write {name} of this model: {reason}") from error
        (folder / name).write_bytes(proto.SerializeToString(deterministic=True))


def graph_of(
    module: nn.Module,
    example: tuple[Any, ...],
    axes: tuple[Any, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> "ModelProto":
    """Make an ONNX graph of a module.

    Parameters
    ----------
    module : Module
        In evaluation mode.
    example : tuple
        What it may be called with: tensors, or tuples of them.
    axes : tuple
        Of each tensor the numbers and names of the axes that vary.
    inputs, outputs : sequence of str
        Names of the tensors that go in and come out.

    Returns
    -------
    ModelProto

    Examples
    --------
    >>> graph = graph_of(nn.ReLU(), (torch.zeros(2, 3),), ({0: "batch"},), ["x"], ["y"]).graph
    >>> [node.op_type for node in graph.node], graph.input[0].name
    (['Relu'], 'x')
    """
    # By plain products: what a fused kernel hands on in memory does not fit what is exported.
    with _quiet(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            module, example, dynamo=True, dynamic_shapes=axes, input_names=inputs, output_names=outputs,
            verbose=False,
        )  # fmt: skip
    assert program is not None
    return _without_notes(program.model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of what they lack and do not need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _without_notes(model: "ModelProto") -> "ModelProto":
    """Without what is noted on where in whose files the code of each operator stands."""
    graph = model.graph
    parts = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for part in (model, graph, *(each for several in parts for each in several)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def quantise(path: Path) -> None:
    """Store the weights of products in eight bits, a scale for every output; frames are scaled as they come.

    Convolutions, mel filters (powers span ten decades), the CTC head and each mixing head's own small
    products stay in float32.

    Parameters
    ----------
    path : Path
        Is replaced.

    Examples
    --------
    >>> quantise(Path("no/such.onnx"))
    Traceback (most recent call last):
        ...
    FileNotFoundError: ...
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.ModelProto.FromString(path.read_bytes())
    matrices = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    shrunk = matrices - {CTC_WEIGHT, FILTERS}
    kept = [node.name for node in model.graph.node if not shrunk & set(node.input)]
    with _quiet():
        quantize_dynamic(
            model, path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, nodes_to_exclude=kept, extra_options={"MatMulConstBOnly": True},
        )  # fmt: skip
