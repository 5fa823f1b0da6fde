"""A training, what decided it, what it found, and the file that remembers all of them."""

import fcntl
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from hyperconformer.errors import InputError

# Where a run writes and how often it says so: its numbers do not depend on it.
NOT_DECIDING = {
    "name",
    "output_folder",
    "num_workers",
    "max_unreadable",
    "ckpt_interval_steps",
    "keep_recent",
    "log_interval_steps",
    "wandb",
}
KEY_DIGITS = 16

Status = Literal["ok", "diverged", "fails", "unfit"]


@dataclass(frozen=True)
class Run:
    """One training, to be made by a process of its own.

    Attributes
    ----------
    name : str
        What messages call it.
    recipe : str
        YAML file.
    overrides : mapping
        Values for its keys.
    device, precision : str
    decided : mapping
        Every setting with its value, those too that decide nothing.
    data : str
        A sum over all that is learnt from and tested on.
    further : mapping
        What is asked beside the settings; it decides too.

    Examples
    --------
    >>> one = Run("a", "x.yaml", {}, "cpu", "fp32", {"seed": 1, "output_folder": "here"})
    >>> other = Run("b", "x.yaml", {}, "cpu", "fp32", {"seed": 1, "output_folder": "there"})
    >>> one.key == other.key, len(one.key)
    (True, 16)
    """

    name: str
    recipe: str
    overrides: Mapping[str, Any]
    device: str
    precision: str
    decided: Mapping[str, Any]
    data: str = ""
    further: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Stands for all that decides the numbers."""
        deciding = {key: value for key, value in self.decided.items() if key not in NOT_DECIDING}
        on = [self.device.partition(":")[0], self.precision]
        parts = [deciding, on, self.data, *([self.further] if self.further else [])]
        said = json.dumps(parts, sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:KEY_DIGITS]


@dataclass(frozen=True)
class Found:
    """What every training found.

    Attributes
    ----------
    key : str
        Of the run.
    status : {"ok", "diverged", "fails", "unfit"}
        ``diverged``: it ended by itself, and would again; ``fails``: it may be tried again; ``unfit``: the
        system cannot be made as large as the others, and was not trained.
    note : str
        One line about what is not ok.
    commit, hardware, date : str
    threads : str
        Of the process.
    jobs : int
        Trainings at a time.
    parameters : int
    train_seconds : float

    Examples
    --------
    >>> Found("k", "diverged", "60 steps in a row were skipped").machine
    ', threads: , jobs: 1'
    """

    bench: ClassVar[str] = "bench"

    key: str
    status: Status
    note: str = ""
    commit: str = ""
    hardware: str = ""
    date: str = ""
    threads: str = ""
    jobs: int = 1
    parameters: int = 0
    train_seconds: float = 0.0

    @property
    def machine(self) -> str:
        """What its minutes depend on."""
        return f"{self.hardware}, threads: {self.threads}, jobs: {self.jobs}"

    @property
    def scores(self) -> str:
        """What it reached, for the progress."""
        return ""

    def __str__(self) -> str:
        """How it ended."""
        if self.status != "ok":
            return f"{self.status}: {self.note}"
        return ", ".join(filter(None, (self.scores, f"{self.train_seconds:.0f} s")))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read plain values back; those of another time may have more."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


F = TypeVar("F", bound=Found)


class RunStore(Generic[F]):
    """The file of all runs that are over, a line of JSON each: what is in it is not done again.

    Parameters
    ----------
    path : Path
        Made with the first run. A last line that a power cut left without its end is forgotten.
    kind : type
        What its lines tell.

    Raises
    ------
    InputError
        If it cannot be read, or a line is none of ours.

    Examples
    --------
    >>> store = RunStore(getfixture("tmp_path") / "runs.jsonl", Found)
    >>> run = Run("a", "x.yaml", {}, "cpu", "fp32", {"seed": 1})
    >>> store.add(run, Found(run.key, "ok", train_seconds=2.0))
    >>> RunStore(store.path, Found).found[run.key].train_seconds
    2.0
    """

    def __init__(self, path: Path, kind: type[F]) -> None:
        self.path, self.kind = path, kind
        self.found: dict[str, F] = {}
        try:
            said = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}' cannot be read ({error}): give another --output") from error
        whole = said[: said.rfind("\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                one = kind.from_dict(json.loads(line))
            except (ValueError, TypeError) as error:
                raise InputError(
                    f"'{path}', line {number} is no run of {kind.bench}: take it out, or give another "
                    "--output"
                ) from error
            self.found[one.key] = one
        self._torn = len(whole) < len(said)

    def add(self, run: Run, found: F) -> None:
        """Append a run; one that failed by chance is not kept."""
        if found.status in ("fails", "unfit"):
            return
        line = json.dumps({"run": run.name, "decided": dict(run.decided), **asdict(found)}, default=str)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._torn:
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
                self._torn = False
            file.write(line.encode() + b"\n")
        self.found[run.key] = found
