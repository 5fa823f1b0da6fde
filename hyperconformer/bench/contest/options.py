"""The options of ``hyperconformer bench contest``."""

from typing import Any

from hyperconformer.inference.search_flags import positive

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--budget", {"default": "cpu", "help": "what is trained on what, for how long: cpu or gpu"}),
    (
        "--data_folder",
        {"metavar": "DIR", "help": "the corpora, or the corpus of the one part that is asked for"},
    ),
    ("--parts", {"nargs": "+", "help": "of the budget, one or more; default: all"}),
    (
        "--systems",
        {"nargs": "+", "help": "one or more; default: all; as large as the table's first"},
    ),
    (
        "--dials",
        {"nargs": "*", "help": "changes of our system, one at a time, instead of systems; default: all"},
    ),
    ("--seeds", {"nargs": "+", "help": "of the trainings, one or more; default: the budget's"}),
    ("--jobs", {"type": positive, "default": 1, "help": "trainings at a time"}),
    ("--threads", {"type": positive, "default": 1, "help": "of each of them"}),
    ("--device", {"default": "cpu", "help": "cpu or cuda"}),
    ("--precision", {"default": "fp32", "choices": ("fp32", "bf16", "fp16"), "help": "fp16 needs a GPU"}),
    (
        "--recipes",
        {
            "default": "recipes/LibriSpeech/contest",
            "metavar": "DIR",
            "help": "systems.yaml, dials.yaml, budgets.yaml and the recipes that these name",
        },
    ),
    (
        "--output",
        {
            "metavar": "DIR",
            "default": "results/contest",
            "help": "takes results and figures; what its runs.jsonl holds is not trained again",
        },
    ),
    ("--record", {"metavar": "FILE", "help": "append the rows to its tables, for instance to RESULTS.md"}),
)
