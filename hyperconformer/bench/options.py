"""The options of ``hyperconformer bench``, kind by kind."""

from collections.abc import Iterable, Sequence
from typing import Any

from hyperconformer.bench.contest.options import OPTIONS as CONTEST
from hyperconformer.errors import InputError
from hyperconformer.inference.search_flags import positive

Option = tuple[str, dict[str, Any]]


_COMMON: tuple[Option, ...] = (
    ("--device", {"default": "cpu", "help": "cpu or cuda"}),
    ("--precision", {"default": "fp32", "choices": ("fp32", "bf16", "fp16"), "help": "fp16 needs a GPU"}),
    ("--modes", {"nargs": "+", "default": ["eager"], "help": "eager, compile (torch.compile) or both"}),
    ("--mixers", {"nargs": "+", "help": "default: all of ours, and SpeechBrain's upstream:hypermixing"}),
    ("--against", {"metavar": "NAME", "help": "system that ratios refer to: the first upstream one"}),
    ("--threads", {"type": positive, "help": "of the CPU; default: OMP_NUM_THREADS, or all cores"}),
    ("--repeats", {"type": positive, "default": 10, "help": "timed runs of a process"}),
    (
        "--rounds",
        {"type": positive, "default": 3, "help": "processes of a case, taking turns with the others"},
    ),
    ("--limit", {"type": float, "default": 600.0, "metavar": "SECONDS", "help": "longest life of a process"}),
    ("--seed", {"type": int, "default": 0, "help": "of weights and input"}),
    ("--d_model", {"type": positive, "default": 144, "help": "feature size"}),
    ("--heads", {"type": positive, "default": 8, "help": "heads"}),
    ("--output", {"metavar": "DIR", "help": "write bench.json and two figures, not the JSON to stdout"}),
    ("--record", {"metavar": "FILE", "help": "append the rows to its tables, for instance to RESULTS.md"}),
)
# The recipe decides.
_NOT_OF_TRAINING = ("--modes", "--repeats", "--seed", "--d_model", "--heads", "--output")
# Both runtimes on a CPU, in float32 and eight bits.
_NOT_OF_HEARING = ("--device", "--precision", "--modes", "--mixers", "--output")
# Real utterances have no length in common to draw figures against.
_ONLY_JSON: Option = (
    "--output",
    {"metavar": "DIR", "help": "write bench.json there, not the JSON to stdout"},
)
_FORWARD_ONLY: Option = ("--forward_only", {"action": "store_true", "help": "leave the backward pass out"})
_LAYERS: Option = ("--layers", {"type": positive, "default": 10, "help": "encoder layers"})


def _batch_size(default: int | None) -> Option:
    return "--batch_size", {"type": positive, "default": default, "help": "utterances"}


def _batch_seconds(default: float) -> Option:
    what = "without --batch_size: as many utterances as make so much audio, at least one"
    return "--batch_seconds", {"type": float, "default": default, "help": what}


def _length(flag: str, default: Sequence[str], what: str) -> Option:
    return flag, {"nargs": "+", "default": list(default), "dest": "lengths", "help": what}


_CLOCK = "processor: time of the processor, of all threads together, for a machine with neighbours"
_RANDOM = "of a recogniser that is drawn at random"
# What decode says otherwise.
_NOT_OF_DECODING = (
    "--precision",
    "--modes",
    "--mixers",
    "--repeats",
    "--limit",
    "--d_model",
    "--heads",
    "--output",
)

_DECODING: tuple[Option, ...] = (
    (
        "--searches",
        {"nargs": "+", "help": "ours, and upstream:joint; default: joint and that one"},
    ),
    _length("--seconds", ["10"], "of the utterance, one or more lengths"),
    ("--beams", {"nargs": "+", "default": ["10"], "help": "hypotheses, one or more sizes of the beam"}),
    ("--steps", {"nargs": "+", "help": f"of the decoder, one or more counts; default: 40; {_RANDOM}"}),
    ("--ctc", {"nargs": "+", "help": f"flat, peaked or both; default: flat; its head {_RANDOM}"}),
    (
        "--language_models",
        {"nargs": "+", "default": ["none"], "help": "none, random and folders, one or more"},
    ),
    ("--ctc_weight", {"type": float, "default": 0.4, "help": "share of CTC in the score"}),
    ("--lm_weight", {"type": float, "default": 0.6, "help": "of the language model"}),
    ("--model", {"metavar": "DIR", "help": "a trained recogniser; without it one is drawn at random"}),
    ("--audio", {"metavar": "FILE", "help": "what is decoded; without it and --data_folder, noise"}),
    ("--data_folder", {"metavar": "DIR", "help": "its recording that is nearest to --seconds is decoded"}),
    ("--repeats", {"type": positive, "default": 5, "help": "timed runs of a process, while patience lasts"}),
    (
        "--patience",
        {"type": float, "default": 60.0, "metavar": "SECONDS", "help": "what takes longer is not repeated"},
    ),
    (
        "--limit",
        {"type": float, "default": 3600.0, "metavar": "SECONDS", "help": "longest life of a process"},
    ),
    ("--d_model", {"type": positive, "default": 144, "help": f"feature size {_RANDOM}"}),
    ("--heads", {"type": positive, "default": 8, "help": f"heads {_RANDOM}"}),
    ("--layers", {"type": positive, "default": 10, "help": f"encoder layers {_RANDOM}"}),
    ("--decoder_layers", {"type": positive, "default": 4, "help": f"decoder layers {_RANDOM}"}),
    ("--output_neurons", {"type": positive, "default": 5000, "help": f"tokens {_RANDOM}"}),
    ("--lm_d_model", {"type": positive, "default": 768, "help": "feature size of a random language model"}),
    ("--lm_heads", {"type": positive, "default": 12, "help": "its heads"}),
    ("--lm_layers", {"type": positive, "default": 12, "help": "its layers"}),
    _ONLY_JSON,
    *(option for option in _COMMON if option[0] not in _NOT_OF_DECODING),
)

# What transcribe says otherwise.
_NOT_OF_TRANSCRIBING = (
    "--precision",
    "--modes",
    "--mixers",
    "--against",
    "--repeats",
    "--limit",
    "--seed",
    "--d_model",
    "--heads",
    "--output",
)

_TRANSCRIBING: tuple[Option, ...] = (
    ("--model", {"required": True, "metavar": "DIR", "help": "model folder"}),
    ("--files", {"required": True, "metavar": "DIR", "help": "folder of recordings"}),
    (
        "--limit",
        {
            "type": positive,
            "default": 1000,
            "dest": "number",
            "metavar": "N",
            "help": "files (1000); if there are fewer, they are taken in turns",
        },
    ),
    (
        "--onnx",
        {"nargs": "+", "metavar": "DIR", "help": "what export onnx made of the model, int8 too if you like"},
    ),
    ("--jobs", {"type": positive, "metavar": "N", "help": "files shared by so many processes too"}),
    (
        "--long",
        {"nargs": "+", "metavar": "SECONDS", "help": "recordings of these lengths, joined of the files"},
    ),
    ("--one_pass", {"action": "store_true", "help": "these in one pass of the encoder too"}),
    (
        "--parts",
        {
            "nargs": "+",
            "help": "files, long, start (the program from its start), one or more; "
            "default: all, long only if it is given",
        },
    ),
    ("--against", {"metavar": "NAME", "help": "system that ratios refer to: one by one"}),
    ("--repeats", {"type": positive, "default": 5, "help": "timed starts of the program in a round"}),
    (
        "--limit_seconds",
        {
            "type": float,
            "default": 3600.0,
            "dest": "limit",
            "metavar": "SECONDS",
            "help": "longest life of a process",
        },
    ),
    _ONLY_JSON,
    *(option for option in _COMMON if option[0] not in _NOT_OF_TRANSCRIBING),
)

# What text says otherwise.
_NOT_OF_TEXT = (
    "--modes",
    "--mixers",
    "--against",
    "--threads",
    "--seed",
    "--d_model",
    "--heads",
    "--output",
)

_TEXT: tuple[Option, ...] = (
    (
        "recipe",
        {
            "nargs": "?",
            "default": "hparams/text.yaml",
            "metavar": "RECIPE.yaml",
            "help": "a text classifier's, before all options, with any --key=value of it; hparams/text.yaml",
        },
    ),
    (
        "--parts",
        {
            "nargs": "+",
            "help": "cost (time and memory), accuracy, data (against their share), tuning (against trials), "
            "tasks (made texts), one or more; default: all",
        },
    ),
    (
        "--mixers",
        {"nargs": "+", "help": "default: all but relative and hypermixing:cross (pairs)"},
    ),
    ("--against", {"metavar": "NAME", "help": "system that ratios and differences refer to: hypermixing"}),
    ("--seeds", {"nargs": "+", "default": ["1", "2", "3"], "help": "of the trainings, one or more"}),
    (
        "--shares",
        {"nargs": "+", "default": ["10", "25", "50", "100"], "help": "of the training texts, percent"},
    ),
    ("--trials", {"type": positive, "default": 20, "help": "random hyperparameters of each system"}),
    ("--tasks", {"nargs": "+", "default": ["match", "order", "count"], "help": "made tasks, one or more"}),
    ("--jobs", {"type": positive, "default": 1, "help": "trainings at a time"}),
    ("--threads", {"type": positive, "default": 1, "help": "of each of them, and of each case of cost"}),
    _length("--lengths", ["32", "64", "128", "256", "512", "1024", "2048"], "tokens, of cost, one or more"),
    (
        "--batch_tokens",
        {"type": positive, "default": 4096, "help": "of cost: as many texts as make so many"},
    ),
    (
        "--output",
        {
            "metavar": "DIR",
            "default": "results/bench_text",
            "help": "takes results and figures; what its runs.jsonl holds is not trained again",
        },
    ),
    *(option for option in _COMMON if option[0] not in _NOT_OF_TEXT),
)

OPTIONS: dict[str, tuple[Option, ...]] = {
    "mixer": (
        _length("--frames", ["375"], "encoder frames of 40 ms, one or more lengths"),
        _batch_size(8),
        _FORWARD_ONLY,
        *_COMMON,
    ),
    "encoder": (
        _length("--lengths", ["5", "15", "60", "600"], "seconds, one or more"),
        _batch_size(None),
        _batch_seconds(120.0),
        _FORWARD_ONLY,
        _LAYERS,
        *_COMMON,
    ),
    "hear": (
        _length("--lengths", ["5"], "seconds, one or more"),
        _batch_size(None),
        _batch_seconds(60.0),
        ("--mixers", {"nargs": "+", "default": ["hypermixing"], "help": "each by PyTorch and onnxruntime"}),
        ("--clock", {"default": "wall", "choices": ("wall", "processor"), "help": _CLOCK}),
        _LAYERS,
        ("--decoder_layers", {"type": positive, "default": 4, "help": "decoder layers"}),
        ("--output_neurons", {"type": positive, "default": 5000, "help": "tokens"}),
        _ONLY_JSON,
        *(option for option in _COMMON if option[0] not in _NOT_OF_HEARING),
    ),
    "step": (
        _length("--seconds", ["15"], "of an utterance, one or more lengths"),
        _batch_size(None),
        _batch_seconds(600.0),
        _LAYERS,
        ("--decoder_layers", {"type": positive, "default": 4, "help": "decoder layers"}),
        ("--output_neurons", {"type": positive, "default": 5000, "help": "tokens"}),
        *_COMMON,
    ),
    "train": (
        ("recipe", {"metavar": "RECIPE.yaml", "help": "as of train.py, with any --key=value of it"}),
        ("--steps", {"type": positive, "help": "timed steps of a process; default: 12, on a GPU 100"}),
        (
            "--warm_up",
            {"type": positive, "help": "steps before; default: 3, on a GPU what workers hold too"},
        ),
        (
            "--compile",
            {"action": "store_true", "help": "measure ours compiled too, as train.py --compile does"},
        ),
        _ONLY_JSON,
        *(option for option in _COMMON if option[0] not in _NOT_OF_TRAINING),
    ),
    "decode": _DECODING,
    "transcribe": _TRANSCRIBING,
    "text": _TEXT,
    "contest": CONTEST,
}
SUMMARIES = {
    "mixer": "a token mixer alone",
    "encoder": "front-end and encoder of the 8M system",
    "hear": "from samples to CTC log-probabilities, by PyTorch and by onnxruntime",
    "step": "a whole training step of the 8M system",
    "train": "training of a recipe on real speech",
    "decode": "the search for the best hypothesis of an utterance",
    "transcribe": "from audio files to their text, and from the start of the program to the first one",
    "text": "text classifiers of equal size: time, memory, accuracy, training data, tuning, made tasks",
    "contest": "recognisers of equal size, trained on the same speech: errors, loss, time, memory",
}
# They say where the numbers go, not how they came about.
NOT_RECORDED = ("--output", "--record")
# Their command line may have more: keys of the recipe and their values.
WITH_RECIPE = ("train", "text", "contest")


def items(values: Iterable[str]) -> list[str]:
    """Take apart what was given in words, with commas or both.

    Parameters
    ----------
    values : iterable of str

    Returns
    -------
    list of str

    Examples
    --------
    >>> items(["5,15", "60"])
    ['5', '15', '60']
    """
    return [item for value in values for item in value.split(",") if item]


def length(item: str) -> float:
    """Read a length.

    Parameters
    ----------
    item : str

    Returns
    -------
    float

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> length("x")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: length 'x' is no positive number
    """
    try:
        value = float(item)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise InputError(f"length {item!r} is no positive number")
    return value
