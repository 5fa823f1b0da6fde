"""A new folder that appears only when all of it is there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperconformer.errors import InputError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Make a folder aside, and put it in its place when nothing went wrong.

    Parameters
    ----------
    out : Path
        Where it goes; there may be an empty folder.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    InputError
        If something stands there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as scratch:
    ...     with new_folder(Path(scratch) / "made") as draft:
    ...         _ = (draft / "a.txt").write_text("ONE")
    ...     [str(path.relative_to(scratch)) for path in Path(scratch).rglob("*.txt")]
    ['made/a.txt']
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"output '{out}' exists already: give a new folder")
    draft = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        yield draft
        if out.exists():
            out.rmdir()
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
