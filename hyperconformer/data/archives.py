"""The archives of LibriSpeech and mini-LibriSpeech: where they are, what they hold, how they are unpacked.

References
----------
https://www.openslr.org/12 (LibriSpeech), https://www.openslr.org/31 (mini-LibriSpeech)
"""

import contextlib
import difflib
import fcntl
import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from hyperconformer.data.download import disk_error, download
from hyperconformer.data.librispeech import AUDIO_EXTENSIONS
from hyperconformer.errors import InputError, one_line

MIRROR = "https://www.openslr.org/resources"
TOP = "LibriSpeech"
"""The folder that all archives hold."""


@dataclass(frozen=True)
class Archive:
    """What is known of the archive of a split.

    Attributes
    ----------
    resource : int
        Number of the corpus on OpenSLR.
    checksum : str
        Name of a hash function, a colon, and the archive's digest.
    utterances : int
        How many the split has.

    Examples
    --------
    >>> ARCHIVES["dev-clean"].utterances
    2703
    """

    resource: int
    checksum: str
    utterances: int


def _sha256(digest: str, utterances: int) -> Archive:
    return Archive(12, f"sha256:{digest}", utterances)


# OpenSLR gives MD5 alone for mini-LibriSpeech: it finds accidents, not forgeries.
ARCHIVES = {
    "dev-clean": _sha256("76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3", 2_703),
    "dev-other": _sha256("12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365", 2_864),
    "test-clean": _sha256("39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23", 2_620),
    "test-other": _sha256("d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29", 2_939),
    "train-clean-100": _sha256("d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2", 28_539),
    "train-clean-360": _sha256("146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf", 104_014),
    "train-other-500": _sha256("ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2", 148_688),
    "dev-clean-2": Archive(31, "md5:6d7ab67ac6a1d2c993d050e16d61080d", 1_089),
    "train-clean-5": Archive(31, "md5:5df7d4e78065366204ca6845bb08f490", 1_519),
}


def fetch_split(
    data_folder: Path, split: str, *, mirror: str = MIRROR, keep_archive: bool = False, progress: bool = True
) -> Path:
    """Download and unpack a split of LibriSpeech or mini-LibriSpeech, unless it is there.

    Parameters
    ----------
    data_folder : Path
        Where the corpus is to be. The split goes into its folder ``LibriSpeech``, or straight into it if that
        is its own name.
    split : str
        One of `ARCHIVES`.
    mirror : str
        Address below which OpenSLR's resources lie.
    keep_archive : bool
        Leave the archive there after unpacking.
    progress : bool
        Show progress bars on a terminal.

    Returns
    -------
    Path
        Folder of the split.

    Raises
    ------
    InputError
        If there is no such split, a part of it is there already, another process is fetching it, it cannot
        be downloaded or unpacked, or its folder cannot be written.

    Examples
    --------
    >>> fetch_split(Path("data"), "dev-claen")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: no split 'dev-claen' to download (did you mean 'dev-clean'?): choose ...
    """
    if split not in ARCHIVES:
        close = difflib.get_close_matches(split, ARCHIVES, n=1)
        guess = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(f"no split {split!r} to download{guess}: choose from {', '.join(ARCHIVES)}")
    known = ARCHIVES[split]
    root = data_folder if data_folder.absolute().name == TOP else data_folder / TOP
    # Before anything is written, so that a whole split may stand on a disk that is only to be read.
    if (there := _there(data_folder, split)) is not None:
        return there
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root, split):
            if (there := _there(data_folder, split)) is not None:  # another process came first
                return there
            url = f"{mirror.rstrip('/')}/{known.resource}/{split}.tar.gz"
            archive = download(url, root / f"{split}.tar.gz", known.checksum, progress=progress)
            _install(archive, root, split, progress)
            if not keep_archive:
                archive.unlink()
    except OSError as error:
        raise disk_error(root / split, error) from error
    return root / split


def _there(data_folder: Path, split: str) -> Path | None:
    """Find a split that is whole; one that lacks utterances is not ours to complete or to delete."""
    for folder in (data_folder / split, data_folder / TOP / split):
        if folder.is_dir():
            count = sum(path.suffix.lower() in AUDIO_EXTENSIONS for path in folder.glob("*/*/*"))
            if count == ARCHIVES[split].utterances:
                return folder
            raise InputError(
                f"{str(folder)!r} holds {count} of {ARCHIVES[split].utterances} utterances: move it away to "
                "have the split downloaded, or leave --download out to use it as it is"
            )
    return None


@contextlib.contextmanager
def _alone(root: Path, split: str) -> Iterator[None]:
    """Keep a second process from writing the same split."""
    with (root / f".{split}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another process is downloading {split!r} to {str(root)!r}: wait for it"
            ) from error
        try:
            yield
        finally:
            Path(lock.name).unlink(missing_ok=True)


def _install(archive: Path, root: Path, split: str, progress: bool) -> None:
    """Unpack into a draft beside the place where the split is to be, and move it there whole."""
    draft = root / f".{split}.unpacking"
    shutil.rmtree(draft, ignore_errors=True)  # a killed process left it
    try:
        unpack(archive, draft, progress=progress)
        made = draft / TOP
        if not (made / split).is_dir():
            raise InputError(
                f"archive {str(archive)!r} does not hold {TOP}/{split}: delete it and run the command again"
            )
        for text in made.iterdir():
            if text.is_file() and not (root / text.name).exists():
                os.replace(text, root / text.name)
        os.replace(made / split, root / split)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def unpack(archive: Path, folder: Path, *, progress: bool = True) -> None:
    """Unpack a ``.tar.gz`` of plain files and folders, and nothing else, into a folder.

    The whole archive is read, so that gzip's own checksum is compared.

    Parameters
    ----------
    archive : Path
        The archive.
    folder : Path
        New folder. Where an error is raised it may hold a part of the archive.
    progress : bool
        Show a progress bar on a terminal.

    Raises
    ------
    InputError
        If the archive is damaged or holds a link, a device, or a path that leads out of the folder; or if
        the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     _ = Path(parent, "a.txt").write_text("A")
    ...     with tarfile.open(f"{parent}/a.tar.gz", "w:gz") as tar:
    ...         tar.add(f"{parent}/a.txt", "in/a.txt")
    ...     unpack(Path(parent, "a.tar.gz"), Path(parent, "out"))
    ...     Path(parent, "out", "in", "a.txt").read_text()
    'A'
    """
    if not hasattr(tarfile, "data_filter"):
        raise InputError("this Python unpacks archives unsafely: use 3.11.4 or later")
    damaged = f"archive {str(archive)!r} is damaged"
    remedy = "delete it and run the command again"
    hidden = None if progress else True
    try:
        folder.mkdir()
        with (
            archive.open("rb") as packed,
            gzip.GzipFile(fileobj=packed) as unzipped,
            tarfile.open(fileobj=unzipped, mode="r|") as tar,
            tqdm(desc=f"unpacking {archive.name}", total=archive.stat().st_size, unit="B", unit_scale=True,
                 unit_divisor=1024, disable=hidden) as bar,
        ):  # fmt: skip
            for member in tar:
                _refuse_all_but_plain(member, archive)
                tar.extract(member, folder, filter="data")
                bar.update(packed.tell() - bar.n)
            while unzipped.read(1 << 20):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{damaged} ({one_line(error, 200)}): {remedy}") from error
    except OSError as error:
        raise disk_error(folder, error) from error


def _refuse_all_but_plain(member: tarfile.TarInfo, archive: Path) -> None:
    """Refuse links, devices and paths that lead elsewhere; Python's own filter lets inner links pass."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        fault = "is no plain file or folder"
    elif path.is_absolute() or ".." in path.parts:
        fault = "leads out of the archive's folder"
    else:
        return
    raise InputError(f"archive {str(archive)!r} is not unpacked: {member.name!r} in it {fault}")
