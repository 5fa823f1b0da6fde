"""The folder of a run: what it was asked to do, on what machine, and whether it may go on there."""

import logging
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import speechbrain as sb
import torch
from ruamel.yaml import YAML
from speechbrain.utils.logger import setup_logging

from hyperconformer.errors import InputError
from hyperconformer.provenance import commit, processor
from hyperconformer.training.settings import Settings, load_settings

HYPERPARAMS = "hyperparams.yaml"

# What may change between two calls of the same run: nothing that its weights depend on.
FREE = {
    "output_folder",
    "data_folder",
    "test_splits",
    "number_of_epochs",
    "num_workers",
    "average_checkpoints",
    "decode",
    "beam_size",
    "ctc_weight_decode",
    "max_decode_ratio",
    "length_normalization",
}


def open_folder(settings: Settings) -> None:
    """Make a run's folder, or go on in it, and write down what is run and on what.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    InputError
        If the folder belongs to a run with other settings, or cannot be written.

    Examples
    --------
    >>> settings = load_settings("hparams/mini.yaml", {"output_folder": "/proc/run"})
    >>> open_folder(settings)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: output_folder '/proc/run' cannot be written (...): choose another
    """
    check_same_run(settings)
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
        _start_log(settings.folder / "log.txt")
        with (settings.folder / HYPERPARAMS).open("w", encoding="utf-8") as stream:
            YAML().dump(settings.plain(), stream)
        facts = {**environment(), **versions()}
        lines = "".join(f"{name}: {fact}\n" for name, fact in facts.items())
        (settings.folder / "env.log").write_text(lines, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"output_folder {settings.output_folder!r} cannot be written ({reason}): choose another"
        ) from error


def check_same_run(settings: Settings) -> None:
    """Refuse to go on with checkpoints that were trained with other settings.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    InputError
        If a setting differs that the weights depend on.

    Examples
    --------
    >>> check_same_run(load_settings("hparams/mini.yaml", {"output_folder": "/no/such/run"}))
    """
    record = settings.folder / HYPERPARAMS
    if not record.is_file() or not any((settings.folder / "save").glob("CKPT*")):
        return
    before, now = load_settings(str(record), {}).plain(), settings.plain()
    for key, value in before.items():
        if key not in FREE and now[key] != value:
            raise InputError(
                f"'{settings.folder}' was trained with {key}={value!r}, not {now[key]!r}: "
                "give this run another --name, or delete that folder"
            )


def environment() -> dict[str, str]:
    """What a number must be quoted with: command, commit, hardware and date.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> sorted(environment())
    ['command', 'commit', 'date', 'hardware', 'threads']
    """
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit("--abbrev=12"),
        "hardware": f"{gpu}{processor()}, {os.cpu_count()} cores",
        "threads": str(torch.get_num_threads()),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of everything installed beside this package.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> {"python", "torch", "speechbrain"} <= set(versions())
    True
    """
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    return {"python": platform.python_version(), **dict(sorted(installed.items()))}


def _start_log(path: Path) -> None:
    """Log to a file, and in short to the console."""
    changes = {
        "handlers": {"file_handler": {"filename": str(path)}},
        "formatters": {"console": {"format": "%(message)s"}},
    }
    setup_logging(str(Path(sb.__file__).parent / "log-config.yaml"), changes)
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    """Whether the console shows it: what SpeechBrain says of itself would drown a run's progress."""
    return not record.name.startswith("speechbrain") or record.levelno >= logging.WARNING
