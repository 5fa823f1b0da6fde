"""The folder of a run: what it was asked to do, on what machine, and whether it may go on there."""

import io
import logging
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import speechbrain as sb
from ruamel.yaml import YAML
from speechbrain.utils.logger import setup_logging

from hyperconformer.errors import InputError
from hyperconformer.provenance import environment
from hyperconformer.training import distributed
from hyperconformer.training.files import replace_text
from hyperconformer.training.recipe import build_settings, read_recipe
from hyperconformer.training.run_settings import RunSettings

HYPERPARAMS = "hyperparams.yaml"

# What may change between two calls of the same run: nothing that its weights depend on.
FREE = {
    "output_folder",
    "data_folder",
    "test_splits",
    "test_text",
    "test_texts",
    "number_of_epochs",
    "num_workers",
    "grad_accumulation_factor",
    "nonfinite_patience",
    "max_unreadable",
    "ckpt_interval_steps",
    "keep_recent",
    "average_checkpoints",
    "log_interval_steps",
    "wandb",
    "decode",
    "beam_size",
    "ctc_weight_decode",
    "max_decode_ratio",
    "length_normalization",
}


def open_folder(settings: RunSettings) -> None:
    """Make a run's folder, or go on in it, and start its log; the other processes only speak of faults.

    Parameters
    ----------
    settings : RunSettings

    Raises
    ------
    InputError
        If the folder belongs to a run with other settings, or cannot be written.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> settings = load_settings("hparams/mini.yaml", {"output_folder": "/proc/run"})
    >>> open_folder(settings)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: output_folder '/proc/run' cannot be written (...): choose another
    """
    check_same_run(settings)
    if not distributed.is_main():
        logging.getLogger().setLevel(logging.WARNING)
        return
    with _writing(settings):
        settings.folder.mkdir(parents=True, exist_ok=True)
        _start_log(settings.folder / "log.txt")
        facts = {**environment(), **versions()}
        lines = "".join(f"{name}: {fact}\n" for name, fact in facts.items())
        (settings.folder / "env.log").write_text(lines, encoding="utf-8")


def record_settings(settings: RunSettings) -> None:
    """Write down every setting; the file is itself a recipe that runs.

    Parameters
    ----------
    settings : RunSettings

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     settings = load_settings("hparams/mini.yaml", {"output_folder": folder})
    ...     record_settings(settings)
    ...     load_settings(f"{folder}/hyperparams.yaml", {}) == settings
    True
    """
    if distributed.is_main():
        text = io.StringIO()
        YAML().dump(settings.plain(), text)
        with _writing(settings):
            replace_text(settings.folder / HYPERPARAMS, text.getvalue())


@contextmanager
def _writing(settings: RunSettings) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"output_folder {settings.output_folder!r} cannot be written ({reason}): choose another"
        ) from error


def trained_with(settings: RunSettings) -> dict[str, Any]:
    """The settings that the checkpoints in a run's folder were trained with; empty where there are none.

    Parameters
    ----------
    settings : RunSettings

    Returns
    -------
    dict

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> trained_with(load_settings("hparams/mini.yaml", {"output_folder": "/no/such/run"}))
    {}
    """
    record = settings.folder / HYPERPARAMS
    if not record.is_file() or not any((settings.folder / "save").glob("CKPT*")):
        return {}
    return build_settings(type(settings), read_recipe(str(record), {}), str(record)).plain()


def check_same_run(settings: RunSettings) -> None:
    """Refuse to go on with checkpoints that were trained with other settings.

    Parameters
    ----------
    settings : RunSettings

    Raises
    ------
    InputError
        If a setting differs that the weights depend on.

    Examples
    --------
    >>> from hyperconformer.training.settings import load_settings
    >>> check_same_run(load_settings("hparams/mini.yaml", {"output_folder": "/no/such/run"}))
    """
    now = settings.plain()
    for key, value in trained_with(settings).items():
        if key not in FREE and now[key] != value:
            raise InputError(
                f"'{settings.folder}' was trained with {key}={value!r}, not {now[key]!r}: "
                f"give --{key} as it was, or another --name or --output_folder, or delete that folder"
            )


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
