"""What to say of a split that is not there."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from hyperconformer.errors import InputError


def no_split(data_folder: Path, split: str, present: Sequence[str]) -> InputError:
    """Say that a split is not there, and what is.

    Parameters
    ----------
    data_folder : Path
    split : str
    present : sequence of str
        The splits that are there.

    Returns
    -------
    InputError
        To be raised.

    Examples
    --------
    >>> print(no_split(Path("data"), "dev-claen", ["dev-clean"]))
    no split 'dev-claen' (did you mean 'dev-clean'?) in 'data', which holds dev-clean: name one that ...
    """
    if any(data_folder.glob("*/*/*.trans.txt")):
        whole = data_folder.absolute()
        return InputError(
            f"no split {split!r} in {str(data_folder)!r}, which is itself the split {whole.name!r}: point "
            f"--data_folder at {str(whole.parent)!r}"
        )
    close = difflib.get_close_matches(split, present, n=1)
    guess = f" (did you mean {close[0]!r}?)" if close else ""
    return InputError(
        f"no split {split!r}{guess} in {str(data_folder)!r}, which holds {', '.join(present) or 'no split'}: "
        "name one that is there, or point --data_folder at the folder that holds the splits"
    )
