"""Calibrations of confidences, one for each search, in a file: fitted to a dev set, used on others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from hyperconformer.decoding.confidence import Calibration
from hyperconformer.errors import InputError

CALIBRATION = "calibration.json"


def save_calibrations(path: Path, fitted: Mapping[str, Calibration]) -> None:
    """Write calibrations.

    Parameters
    ----------
    path : Path
    fitted : mapping of str to Calibration
        By search.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_calibrations(Path(folder) / CALIBRATION, {"joint": Calibration(0.5, -1.0)})
    ...     load_calibrations(Path(folder) / CALIBRATION, ["joint"])
    {'joint': Calibration(scale=0.5, offset=-1.0)}
    """
    found = {decode: asdict(calibration) for decode, calibration in fitted.items()}
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def load_calibrations(path: Path, decodes: Sequence[str] | None = None) -> dict[str, Calibration]:
    """Read calibrations.

    Parameters
    ----------
    path : Path
        What :func:`save_calibrations` wrote.
    decodes : sequence of str or None
        Searches that need one; None: all that are there.

    Returns
    -------
    dict of str to Calibration
        By search.

    Raises
    ------
    InputError
        If the file is missing or no such file, or a search is missing in it.

    Examples
    --------
    >>> load_calibrations(Path("no/such.json"), ["joint"])
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: --calibration 'no/such.json' cannot be read: give the ...
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        fitted = {
            decode: Calibration(float(row["scale"]), float(row["offset"])) for decode, row in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"--calibration '{path}' cannot be read: give the {CALIBRATION} that --fit_calibration wrote"
        ) from error
    if decodes is None:
        return fitted
    for decode in decodes:
        if decode not in fitted:
            raise InputError(f"--calibration '{path}' was not fitted to --decode {decode}: fit it with that")
    return {decode: fitted[decode] for decode in decodes}
