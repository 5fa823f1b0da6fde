"""What is measured: one case is one system at one length, and describes itself in JSON."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hyperconformer.bench.decoding import Decoding, Found
from hyperconformer.bench.transcribing import Heard, Transcribing
from hyperconformer.errors import InputError
from hyperconformer.mixers import MIXERS
from hyperconformer.models.config import ClassifierConfig, ModelConfig

UPSTREAM = "upstream:"
# Of `hear`: our recogniser by onnxruntime, and that with weights in eight bits.
ONNX, INT8 = "onnx:", "int8:"
# SpeechBrain's token mixers for the Conformer, and what they are called here.
THEIR_MIXERS = {"hypermixing": "hypermixing", "RelPosMHAXL": "relative", "RoPEMHA": "attention"}

Kind = Literal["mixer", "encoder", "hear", "step", "train", "decode", "transcribe", "text"]
Part = Literal["forward", "backward", "step", "search", "files", "long", "start"]
Status = Literal["ok", "fails", "too long", "refused"]

# What is timed of each kind: the backward part holds its forward pass too. Those of transcribe are many
# files, a long recording, and the program from its start.
PARTS: dict[Kind, tuple[Part, ...]] = {
    "mixer": ("forward", "backward"),
    "encoder": ("forward", "backward"),
    "hear": ("forward",),
    "step": ("step",),
    "train": ("step",),
    "decode": ("search",),
    "transcribe": ("files", "long", "start"),
    "text": ("forward", "backward"),
}

FRAMES_PER_SECOND = 25


@dataclass(frozen=True)
class Sizes:
    """Sizes of a system; as they stand, those of the paper's 8M recipe.

    Attributes
    ----------
    d_model, heads, layers, decoder_layers : int
    output_neurons : int
        Tokens.
    dropout : float

    Examples
    --------
    >>> Sizes(d_model=16).d_ffn
    64
    """

    d_model: int = 144
    heads: int = 8
    layers: int = 10
    decoder_layers: int = 4
    output_neurons: int = 5000
    dropout: float = 0.1

    @property
    def d_ffn(self) -> int:
        """Hidden size of the feed-forward networks and of the hypernetworks, 4 D."""
        return 4 * self.d_model


@dataclass(frozen=True)
class Recipe:
    """A training recipe whose data lies ready in its output folder.

    Attributes
    ----------
    file : str
        Its YAML.
    overrides : str
        Values for its keys, as JSON.
    warm_up : int
        Steps before the timed ones.

    Examples
    --------
    >>> Recipe("hparams/mini.yaml", '{"seed": 1}', warm_up=3).values
    {'seed': 1}
    """

    file: str
    overrides: str
    warm_up: int

    @property
    def values(self) -> dict[str, Any]:
        """Values for its keys."""
        values: dict[str, Any] = json.loads(self.overrides)
        return values


@dataclass(frozen=True)
class Case:
    """One measurement, to be made by a process of its own.

    Attributes
    ----------
    kind : {"mixer", "encoder", "hear", "step", "train", "decode", "transcribe", "text"}
    system : str
        A mixer's name, or of ``decode`` a search's; ``upstream:`` and the name of SpeechBrain's; of ``hear``
        ``onnx:`` or ``int8:`` and a mixer's. Of ``transcribe`` what is done, and by what.
    part : {"forward", "backward", "step", "search", "files", "long", "start"}
    seconds : float
        Length of every utterance; of ``train`` that of a batch, with its padding, at most; of ``transcribe``
        all audio; of ``text`` 40 ms a token.
    batch_size : int
        Utterances; of ``train`` and ``transcribe`` 1.
    device : str
    precision : {"fp32", "bf16", "fp16"}
    mode : {"eager", "compile"}
    threads : int
        Of the CPU.
    repeats : int
        Timed runs; of ``train`` steps.
    limit_seconds : float
        The process is stopped after so long.
    seed : int
    sizes : Sizes
    recipe : Recipe or None
        What ``train`` trains.
    decoding : Decoding or None
        What ``decode`` decodes.
    transcribing : Transcribing or None
        What ``transcribe`` transcribes.
    files : str
        Of ``hear``: the folder with a folder of ONNX files for each system.
    clock : {"wall", "processor"}
        What times are taken by.
    text : str
        Of ``text``: the classifier's settings, as JSON.

    Examples
    --------
    >>> case = Case("mixer", "upstream:hypermixing", "forward", seconds=15.0, batch_size=8)
    >>> case.frames, case.features, case.name, Case.from_json(case.to_json()) == case
    (375, 1500, 'mixer upstream:hypermixing 15 s forward', True)
    """

    kind: Kind
    system: str
    part: Part
    seconds: float
    batch_size: int
    device: str = "cpu"
    precision: str = "fp32"
    mode: str = "eager"
    threads: int = 1
    repeats: int = 10
    limit_seconds: float = 600.0
    seed: int = 0
    sizes: Sizes = field(default_factory=Sizes)
    recipe: Recipe | None = None
    decoding: Decoding | None = None
    transcribing: Transcribing | None = None
    files: str = ""
    clock: str = "wall"
    text: str = ""

    @property
    def frames(self) -> int:
        """Encoder frames (40 ms) of an utterance; tokens of a text."""
        return max(1, round(FRAMES_PER_SECOND * self.seconds))

    @property
    def features(self) -> int:
        """Feature frames (10 ms) of an utterance."""
        return 4 * self.frames

    @property
    def is_upstream(self) -> bool:
        """Whether SpeechBrain's code is measured."""
        return self.system.startswith(UPSTREAM)

    @property
    def mixer(self) -> str:
        """The mixer's name, ours or SpeechBrain's."""
        if self.text:
            return self.classifier().mixer
        return self.system.rpartition(":")[2]

    @property
    def is_onnx(self) -> bool:
        """Whether onnxruntime is measured."""
        return self.system.startswith((ONNX, INT8))

    @property
    def device_type(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]

    @property
    def length(self) -> str:
        """The length as messages show it."""
        return f"{self.frames} tokens" if self.kind == "text" else f"{round(self.seconds, 2):g} s"

    @property
    def name(self) -> str:
        """What messages call it."""
        mode = "" if self.mode == "eager" else f" {self.mode}"
        further = "" if self.decoding is None else f", {self.decoding.label}"
        return f"{self.kind} {self.system} {self.length} {self.part}{mode}{further}"

    def config(self) -> ModelConfig:
        """Describe our model of this case, or our counterpart of SpeechBrain's."""
        sizes = self.sizes
        return ModelConfig(
            output_neurons=sizes.output_neurons,
            mixer=THEIR_MIXERS[self.mixer] if self.is_upstream else self.mixer,
            d_model=sizes.d_model,
            nhead=sizes.heads,
            d_ffn=sizes.d_ffn,
            num_encoder_layers=sizes.layers,
            num_decoder_layers=sizes.decoder_layers,
            transformer_dropout=sizes.dropout,
        )

    def classifier(self) -> ClassifierConfig:
        """Describe the classifier of this case, which is one of ``text``."""
        return ClassifierConfig.from_dict(json.loads(self.text))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Case":
        """Read it back."""
        values = json.loads(text)
        recipe = values["recipe"] and Recipe(**values["recipe"])
        decoding = values["decoding"] and Decoding(**values["decoding"])
        transcribing = values["transcribing"] and Transcribing(**values["transcribing"])
        parts = {"recipe": recipe, "decoding": decoding, "transcribing": transcribing}
        return cls(**{**values, "sizes": Sizes(**values["sizes"]), **parts})


@dataclass(frozen=True)
class Outcome:
    """What the process of a case found.

    Attributes
    ----------
    case : Case
    status : {"ok", "fails", "too long", "refused"}
        ``refused``: the system is not correct, so its speed is of no interest.
    note : str
        One line about what is not ok.
    times_ms : tuple of float
        Every timed run.
    peak_bytes : int or None
        Most memory in use during a run: on a GPU all of it, on a CPU what the run added.
    saved_bytes : int or None
        What the forward pass kept for the backward pass, weights and inputs not counted.
    parameters : int or None
    audio_seconds : float or None
        Of ``train``: real audio of the timed runs, without padding.
    waited_ms : float or None
        Of ``train``: time of these that went by waiting for data.
    batches : str
        Of ``train``: a sum over the utterances of every timed batch; equal for equal batches.
    found : Found or None
        Of ``decode``.
    heard : Heard or None
        Of ``transcribe``.

    Examples
    --------
    >>> Outcome(Case("step", "attention", "step", seconds=1.0, batch_size=2), "fails", "out of memory").note
    'out of memory'
    """

    case: Case
    status: Status
    note: str = ""
    times_ms: tuple[float, ...] = ()
    peak_bytes: int | None = None
    saved_bytes: int | None = None
    parameters: int | None = None
    audio_seconds: float | None = None
    waited_ms: float | None = None
    batches: str = ""
    found: Found | None = None
    heard: Heard | None = None

    def to_json(self) -> str:
        """One line of JSON, without the case."""
        values = asdict(self)
        del values["case"]
        return json.dumps(values)

    @classmethod
    def from_json(cls, case: Case, text: str) -> "Outcome":
        """Read it back."""
        values: dict[str, Any] = json.loads(text)
        found = values["found"] and Found(**{**values["found"], "tokens": tuple(values["found"]["tokens"])})
        heard = values["heard"] and Heard(**values["heard"])
        return cls(case, **{**values, "times_ms": tuple(values["times_ms"]), "found": found, "heard": heard})


def max_frames(system: str) -> int | None:
    """Look up the longest utterance that a system takes by its own default.

    Parameters
    ----------
    system : str
        A mixer's name, or an upstream one.

    Returns
    -------
    int or None
        Frames of 40 ms; None where a mixer has no such option.

    Examples
    --------
    >>> max_frames("mlp"), max_frames("hypermixing"), max_frames("upstream:hypermixing")
    (1500, None, None)
    """
    if system not in MIXERS:
        return None
    option = inspect.signature(MIXERS[system]).parameters.get("max_frames")
    return None if option is None else int(option.default)


def check_systems(systems: Sequence[str], *, upstream_installed: bool) -> None:
    """Refuse systems that do not exist or are not installed.

    Parameters
    ----------
    systems : sequence of str
    upstream_installed : bool
        Whether SpeechBrain can be imported.

    Raises
    ------
    InputError
        If one is neither a mixer nor one of SpeechBrain's.

    Examples
    --------
    >>> check_systems(["upstream:fourier"], upstream_installed=True)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --mixers upstream:fourier: choose from hypermixing, ...
    """
    legal = [*MIXERS, *(UPSTREAM + name for name in THEIR_MIXERS)]
    for system in systems:
        if system not in legal:
            raise InputError(f"--mixers {system}: choose from {', '.join(legal)}")
        if system.startswith(UPSTREAM) and not upstream_installed:
            raise InputError(f"--mixers {system}: SpeechBrain is not installed: pip install speechbrain")
