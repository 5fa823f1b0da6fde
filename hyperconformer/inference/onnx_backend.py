"""A recogniser that onnxruntime computes: the same calls as of one that PyTorch does."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hyperconformer.constants import SAMPLE_RATE
from hyperconformer.errors import InputError, one_line
from hyperconformer.features import frames_of
from hyperconformer.inference.bundle_files import LONGEST_REASON, printable
from hyperconformer.inference.onnx_files import (
    DECODER,
    ENCODER,
    MEMORY,
    OnnxFolder,
    open_folder,
    require_onnx,
)
from hyperconformer.models.asr import ASR
from hyperconformer.models.decoder import DecoderState
from hyperconformer.nn.log_probs import log_probs
from hyperconformer.nn.prefix_tree import KeysValues, PrefixTree
from hyperconformer.nn.subsampling import subsampled

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

# The names of what goes in and out; those of the decoder's layers have a number behind a dot.
SAMPLES, LENGTHS, OUTPUT, LOG_PROBS, FRAMES = "samples", "lengths", "memory", "log_probs", "frames"
TOKENS, POSITIONS, ROWS, OWN, VISIBLE, LOGITS = "tokens", "positions", "rows", "own", "visible", "logits"
CTC_WEIGHT, CTC_BIAS = "ctc_weight_dv", "ctc_bias_v"
# The front-end mirrors what it hears: the graph was made for at least so much.
FEWEST_SAMPLES = SAMPLE_RATE // 25


def numbered(prefix: str, layers: int) -> list[str]:
    """Names of the keys and values of every layer.

    Parameters
    ----------
    prefix : str
    layers : int

    Returns
    -------
    list of str

    Examples
    --------
    >>> numbered("memory_", 1)
    ['memory_keys.0', 'memory_values.0']
    """
    return [f"{prefix}{kind}.{layer}" for layer in range(layers) for kind in ("keys", "values")]


def _pairs(flat: Sequence[Tensor]) -> tuple[KeysValues, ...]:
    return tuple(zip(flat[::2], flat[1::2], strict=True))


class Graph:
    """An ONNX file, ready to run.

    Parameters
    ----------
    model : ModelProto
        Checked, as :func:`~hyperconformer.inference.onnx_check.parse` does.
    name : str
        For messages.
    threads : int or None
        None: as many as there are cores.

    Raises
    ------
    InputError
        If onnxruntime does not take it.

    Examples
    --------
    >>> from onnx import ModelProto
    >>> Graph(ModelProto(), "a.onnx", threads=1)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'a.onnx' cannot be used (...): export it again
    """

    def __init__(self, model: "ModelProto", name: str, threads: int | None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads or 0, 1
        # Every batch has another shape, and a plan of memory would be kept for each.
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            self.session: InferenceSession = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # Its own errors have no class in common.
            reason = printable(one_line(error, LONGEST_REASON))
            raise InputError(f"'{name}' cannot be used ({reason}): export it again") from error
        self.name = name

    def check_ports(self, inputs: Sequence[str], outputs: Mapping[str, int | None]) -> "Graph":
        """See that it takes and gives what it should; of outputs the last axis too, where that is known."""
        found = {port.name: port.shape for port in self.session.get_outputs()}
        fits = all(size is None or found.get(name, [None])[-1:] == [size] for name, size in outputs.items())
        if {port.name for port in self.session.get_inputs()} != set(inputs) or set(found) != set(outputs):
            fits = False
        if not fits:
            raise InputError(f"'{self.name}' does not fit the config beside it: export it again")
        return self

    def __call__(self, inputs: Mapping[str, Tensor], outputs: Sequence[str]) -> list[Tensor]:
        """Run it."""
        arrays = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in inputs.items()}
        found: list[Any] = self.session.run(list(outputs), arrays)
        return [torch.from_numpy(array) for array in found]


class OnnxDecoder:
    """The attention decoder, with the calls of :class:`~hyperconformer.models.decoder.Decoder`.

    Parameters
    ----------
    memory, step : Graph
        Encoder output to its keys and values; and tokens to logits.
    layers, heads, head : int
        Layers, heads H and the size E of one.

    Examples
    --------
    >>> decoder = OnnxDecoder(lambda inputs, outputs: [torch.zeros(1, 2, 5, 4)] * 2, None, layers=1, heads=2,
    ...                       head=4)
    >>> decoder.start(torch.zeros(1, 5, 8), None).memory[0][0].shape
    torch.Size([1, 2, 5, 4])
    """

    def __init__(self, memory: Graph, step: Graph, *, layers: int, heads: int, head: int) -> None:
        self._memory, self._step = memory, step
        self.layers, self.heads, self.head = layers, heads, head

    def start(self, memory_btd: Tensor, padding: Tensor | None) -> DecoderState:
        """Encoder output (B, T, D) and its padding (B, T) or None -> a search's first state."""
        flat = self._memory({OUTPUT: memory_btd.float()}, numbered("memory_", self.layers))
        visible = None if padding is None else ~padding.cpu()[:, None, None, :]
        return DecoderState(_pairs(flat), visible, PrefixTree.start(memory_btd.shape[0]))

    def step(self, tokens_bk: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """One more token (B, K) of each hypothesis -> logits (B, K, V) of the next, and the new state."""
        tree = state.tree
        own_bkk = torch.eye(tree.rows_bkn.shape[1], dtype=torch.bool).expand(len(tokens_bk), -1, -1)
        logits_bkv, said = self._run(tokens_bk, tree.lengths_bk, state, own_bkk)
        return logits_bkv, DecoderState(state.memory, state.visible, tree.grow(said))

    def __call__(
        self,
        tokens_bl: Tensor,
        memory_btd: Tensor,
        padding: Tensor | None,
        order: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """All tokens at once -> logits (B, L, V), as ``Decoder.forward`` has it."""
        batch, count = tokens_bl.shape
        if order is None:
            positions_bl = torch.arange(count).expand(batch, -1)
            order = positions_bl, torch.ones(count, count, dtype=torch.bool).tril().expand(batch, -1, -1)
        state = self.start(memory_btd, padding)
        rows_bl0 = torch.zeros(batch, count, 0, dtype=torch.bool)
        tree = PrefixTree((), rows_bl0, order[0], 0)
        return self._run(tokens_bl, order[0], DecoderState(state.memory, state.visible, tree), order[1])[0]

    def _run(
        self, tokens_bk: Tensor, positions_bk: Tensor, state: DecoderState, own_bkk: Tensor
    ) -> tuple[Tensor, tuple[KeysValues, ...]]:
        keys = state.memory[0][0]
        batch, frames = keys.shape[0], keys.shape[2]
        nothing = torch.zeros(batch, self.heads, 0, self.head)
        before = state.tree.pool or ((nothing, nothing),) * self.layers
        everywhere = torch.ones(batch, frames, dtype=torch.bool)
        inputs = {
            TOKENS: tokens_bk,
            POSITIONS: positions_bk,
            ROWS: state.tree.rows_bkn,
            OWN: own_bkk,
            VISIBLE: everywhere if state.visible is None else state.visible[:, 0, 0],
        }
        for prefix, layers in (("", before), ("memory_", state.memory)):
            flat = [tensor for pair in layers for tensor in pair]
            inputs |= zip(numbered(prefix, self.layers), flat, strict=True)
        logits, *said = self._step(inputs, [LOGITS, *numbered("all_", self.layers)])
        return logits, _pairs(said)


class OnnxRecogniser:
    """A recogniser out of a folder of ONNX files.

    It has what searches ask of an :class:`~hyperconformer.models.asr.ASR`: see :meth:`as_asr`.

    Parameters
    ----------
    folder : OnnxFolder
    threads : int or None
        None: as many as there are cores.

    Examples
    --------
    >>> OnnxRecogniser.load("no/such/folder")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: model 'no/such/folder' is not a folder: give what \
`hyperconformer export onnx` wrote
    """

    def __init__(self, folder: OnnxFolder, threads: int | None = None) -> None:
        self.config, self.int8 = folder.config, folder.int8
        self._folder, self._threads = folder, threads
        self.tokenizer = folder.tokenizer()
        encoder = folder.read(ENCODER)
        self.ctc_head = _ctc_head(encoder, self.config.output_neurons, self.config.d_model)
        widths = {OUTPUT: self.config.d_model, LOG_PROBS: self.config.output_neurons, FRAMES: None}
        self._encoder = self._graph(ENCODER, encoder).check_ports([SAMPLES, LENGTHS], widths)

    @classmethod
    def load(cls, folder: str | Path, threads: int | None = None) -> "OnnxRecogniser":
        """Open a folder that ``hyperconformer export onnx`` wrote; nothing in it runs unchecked."""
        require_onnx()
        return cls(open_folder(Path(folder)), threads)

    def _graph(self, name: str, model: "ModelProto") -> Graph:
        return Graph(model, str(self._folder.folder / name), self._threads)

    @cached_property
    def decoder(self) -> OnnxDecoder:
        """The attention decoder; its files are opened when it is first asked for."""
        layers, heads = self.config.num_decoder_layers, self.config.nhead
        head = self.config.d_model // heads
        memory = self._graph(MEMORY, self._folder.read(MEMORY))
        memory.check_ports([OUTPUT], dict.fromkeys(numbered("memory_", layers), head))
        inputs = [TOKENS, POSITIONS, ROWS, OWN, VISIBLE, *numbered("", layers), *numbered("memory_", layers)]
        step = self._graph(DECODER, self._folder.read(DECODER))
        widths = {LOGITS: self.config.output_neurons, **dict.fromkeys(numbered("all_", layers), head)}
        return OnnxDecoder(memory, step.check_ports(inputs, widths), layers=layers, heads=heads, head=head)

    def hear(self, samples_bs: Tensor, lengths_b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hear a padded batch.

        Parameters
        ----------
        samples_bs : Tensor, shape (B, S), float32
            Mono audio at 16 kHz; what lies beyond a recording's length is not heard.
        lengths_b : Tensor, shape (B,), long
            Samples of each.

        Returns
        -------
        memory_btd : Tensor, shape (B, T, D), float32
            Encoder output, zero at padded frames.
        log_probs_btv : Tensor, shape (B, T, V), float32
            CTC log-probabilities.
        lengths_b : Tensor, shape (B,), long
            Valid frames of each.

        Raises
        ------
        InputError
            If the mixer has a longest utterance, and this one is longer.
        """
        batch, samples = samples_bs.shape
        frames = subsampled(frames_of(samples))
        if not batch:
            empty = torch.zeros(0, frames, self.config.d_model)
            return empty, self.ctc_log_probs(empty), torch.zeros(0, dtype=torch.long)
        longest = self.config.mixer_options.get("max_frames")
        if longest is not None and frames > longest:
            raise InputError(
                f"{samples / SAMPLE_RATE:.1f} s of audio are {frames} frames, more than the {longest} of "
                f"mixer {self.config.mixer!r}: give pieces of at most {(longest - 1) / 25:g} s "
                "(--max_segment_seconds)"
            )
        long_enough = F.pad(samples_bs.float(), (0, max(0, FEWEST_SAMPLES - samples)))
        inputs = {SAMPLES: long_enough, LENGTHS: lengths_b.long()}
        memory_btd, log_probs_btv, lengths_b = self._encoder(inputs, [OUTPUT, LOG_PROBS, FRAMES])
        return memory_btd[:, :frames], log_probs_btv[:, :frames], lengths_b

    def ctc_log_probs(self, memory_btd: Tensor) -> Tensor:
        """Encoder output (B, T, D) -> CTC log-probabilities (B, T, V), by PyTorch from the same weights."""
        return log_probs(self.ctc_head(memory_btd))

    def as_asr(self) -> ASR:
        """Itself, for searches: they ask for ``config``, ``ctc_head``, ``ctc_log_probs`` and ``decoder``."""
        return cast(ASR, self)


def _ctc_head(model: "ModelProto", width: int, d_model: int) -> nn.Linear:
    """The CTC head's weights, which are in float32 even where others have eight bits."""
    from onnx import numpy_helper

    weights = {t.name: t for t in model.graph.initializer if t.name in (CTC_WEIGHT, CTC_BIAS)}
    shapes = {name: tuple(tensor.dims) for name, tensor in weights.items()}
    if shapes != {CTC_WEIGHT: (d_model, width), CTC_BIAS: (width,)}:
        raise InputError(f"'{ENCODER}' does not fit the config beside it: export it again")
    head = nn.Linear(d_model, width).requires_grad_(False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(numpy_helper.to_array(weights[CTC_WEIGHT])).t())
        head.bias.copy_(torch.tensor(numpy_helper.to_array(weights[CTC_BIAS])))
    return head
