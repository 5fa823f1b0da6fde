"""The process of one case: its JSON on standard input, what was found as the last line of standard output."""

import contextlib
import sys
from collections.abc import Callable

import torch

from hyperconformer.bench.cases import Case, Kind, Outcome, Status
from hyperconformer.bench.checks import CheckFailed, check
from hyperconformer.bench.decode import measure_decoding
from hyperconformer.bench.measure import measure
from hyperconformer.bench.transcribe import measure_transcribing

LONGEST_NOTE = 160


def _training(case: Case) -> Outcome:
    # It brings SpeechBrain, which would count as memory of what transcribes.
    from hyperconformer.bench.train import measure_training

    return measure_training(case)


MEASURES: dict[Kind, Callable[[Case], Outcome]] = {
    "train": _training,
    "decode": measure_decoding,
    "transcribe": measure_transcribing,
}


def _one_line(error: BaseException) -> str:
    message = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {message}"[:LONGEST_NOTE]


def _out_of_memory(error: Exception) -> bool:
    """A GPU says so by type; a CPU in words."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def examine(case: Case) -> Outcome:
    """Check a case, then measure it; whatever goes wrong becomes part of the answer.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Outcome

    Examples
    --------
    >>> examine(Case("mixer", "identity", "forward", seconds=1.0, batch_size=1, repeats=3)).status
    'ok'
    """
    torch.set_num_threads(case.threads)
    try:
        check(case)
    except CheckFailed as error:
        return Outcome(case, "refused", str(error))
    except Exception as error:
        status: Status = "fails" if _out_of_memory(error) else "refused"
        return Outcome(case, status, f"{case.name}: the check fails: {_one_line(error)}")
    try:
        return MEASURES.get(case.kind, measure)(case)
    except CheckFailed as error:
        return Outcome(case, "refused", str(error))
    except Exception as error:
        return Outcome(case, "fails", "out of memory" if _out_of_memory(error) else _one_line(error))


def main() -> None:
    """Answer one case."""
    case = Case.from_json(sys.stdin.read())
    # Libraries may talk; the answer must stay alone.
    with contextlib.redirect_stdout(sys.stderr):
        outcome = examine(case)
    print(outcome.to_json(), flush=True)


if __name__ == "__main__":
    main()
