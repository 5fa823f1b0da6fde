"""Models on the Hugging Face hub: ``hf://OWNER/NAME@REVISION``, and nothing else, is a name there.

huggingface_hub does the work and is an extra. Its cache, its token and its variables count, for instance
``HF_HUB_OFFLINE`` and ``HF_ENDPOINT``.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from hyperconformer.errors import InputError, one_line
from hyperconformer.inference.bundle_files import FILES, LONGEST_REASON, printable

SCHEME = "hf://"
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w.-]+(?:/[\w.-]+)*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_INSTALL = "needs huggingface_hub: pip install -e '.[hub]'"


class HubName(NamedTuple):
    """A repository, and a revision of it.

    Attributes
    ----------
    repository : str
        ``OWNER/NAME``.
    revision : str or None
        Commit, tag or branch.

    Examples
    --------
    >>> str(HubName("owner/name", "main"))
    'hf://owner/name@main'
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        """As people write it."""
        return f"{SCHEME}{self.repository}" + (f"@{self.revision}" if self.revision else "")

    @property
    def pinned(self) -> bool:
        """It names a commit, which never changes."""
        return bool(self.revision and _COMMIT.fullmatch(self.revision))

    def refused(self, said: str) -> InputError:
        """Make the one line that says why it cannot be used."""
        return InputError(f"{self}: {said}")


def parse_name(text: str) -> HubName:
    """Read a name on the hub.

    Parameters
    ----------
    text : str

    Returns
    -------
    HubName

    Raises
    ------
    InputError
        If it is none.

    Examples
    --------
    >>> parse_name("hf://owner/name@main")
    HubName(repository='owner/name', revision='main')
    >>> parse_name("hf://name")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: 'hf://name' names no repository: write hf://OWNER/NAME
    """
    found = _NAME.fullmatch(text.removeprefix(SCHEME)) if text.startswith(SCHEME) else None
    if found is None or ".." in text:
        raise InputError(f"{text[:LONGEST_REASON]!r} names no repository: write hf://OWNER/NAME")
    return HubName(found[1], found[2])


def resolve_model(text: str) -> Path:
    """Find the folder of a model, which is fetched if it is on the hub.

    Parameters
    ----------
    text : str
        A folder, or ``hf://OWNER/NAME@REVISION``. A path is never taken for a name on the hub.

    Returns
    -------
    Path
        Unopened, and of a path even unlooked at.

    Raises
    ------
    InputError
        If a name is given and no revision, the hub has no such thing, or it can be had neither there nor
        from the cache.

    Examples
    --------
    >>> str(resolve_model("owner/name"))
    'owner/name'
    >>> resolve_model("hf://owner/name")
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: hf://owner/name: a name alone changes under your hands: write \
hf://owner/name@REVISION, the commit that you mean; @main says which one is the newest
    """
    if not text.startswith(SCHEME):
        return Path(text)
    name = parse_name(text)
    if name.revision is None:
        raise name.refused(
            f"a name alone changes under your hands: write {name}@REVISION, the commit that you mean; "
            "@main says which one is the newest"
        )
    with _in_one_line(name):
        folder = _fetched(name)
    if not name.pinned:
        fixed = HubName(name.repository, folder.name)
        print(f"warning: {name} may change: it is {fixed} today", file=sys.stderr)
    return folder


def _fetched(name: HubName) -> Path:
    """The folder in the cache, filled if need be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(*, offline: bool) -> Path:
        wanted = list(FILES)
        return Path(
            snapshot_download(
                name.repository, revision=name.revision, allow_patterns=wanted, local_files_only=offline
            )
        )

    if name.pinned:
        # What is there whole needs no network; no bundle is whole if somebody fetched some of its files.
        with suppress(LocalEntryNotFoundError):
            folder = snapshot(offline=True)
            if all((folder / file).exists() for file, known in FILES.items() if known.needed):
                return folder
    _check_sizes(name)
    return snapshot(offline=False)


def _check_sizes(name: HubName) -> None:
    """Refuse files that are larger than a bundle's may be before they fill the disk."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

    try:
        info = HfApi().model_info(name.repository, revision=name.revision, files_metadata=True)
    except HfHubHTTPError:
        raise
    except (OfflineModeIsEnabled, HTTPError):
        return  # then there is nothing to fetch, and the cache may have it
    for file in info.siblings or ():
        known, size = FILES.get(file.rfilename), file.size or 0
        if known and size > known.most_bytes:
            raise name.refused(f"{file.rfilename} has {size:,} bytes, more than {known.most_bytes:,}")


def push(folder: Path, files: Sequence[str], name: HubName, *, private: bool = False) -> str:
    """Copy files of a checked bundle to a repository, in one commit.

    Parameters
    ----------
    folder : Path
    files : sequence of str
        Their names.
    name : HubName
        The repository, which is made if need be.
    private : bool
        Of a new repository: only its owner sees it.

    Returns
    -------
    str
        The name of what was made, with its commit.

    Raises
    ------
    InputError
        If the hub cannot be reached, or does not let this user write.

    Examples
    --------
    >>> push(Path("model"), [], HubName("owner/name"))  # doctest: +SKIP
    'hf://owner/name@0123456789abcdef0123456789abcdef01234567'
    """
    with _in_one_line(name):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi()
        api.create_repo(name.repository, private=private or None, exist_ok=True)
        added = [CommitOperationAdd(file, folder / file) for file in files]
        commit = api.create_commit(name.repository, added, commit_message="Upload a HyperConformer model")
    return str(HubName(name.repository, commit.oid))


@contextmanager
def _in_one_line(name: HubName) -> Iterator[None]:
    """Say in one line what the library says in many."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise name.refused(_INSTALL) from error
    except Exception as error:
        for kind, said in _remedies().items():
            if isinstance(error, kind):
                raise name.refused(said(error)) from error
        raise


def _remedies() -> dict[type[Exception], Callable[[Exception], str]]:
    """What to say of each error, those first that are kinds of later ones."""
    from huggingface_hub import errors

    unreachable = (
        "it is not in the cache, and the hub cannot be reached or HF_HUB_OFFLINE is set: fetch it "
        "with a network first"
    )
    return {
        errors.GatedRepoError: lambda _: "its owner must let you in: ask on its page, then `hf auth login`",
        errors.RepositoryNotFoundError: lambda _: (
            "there is no such repository, or it is private: correct the name, or `hf auth login`"
        ),
        errors.RevisionNotFoundError: lambda _: "there is no such revision: name one of its commits",
        errors.LocalEntryNotFoundError: lambda _: unreachable,
        errors.OfflineModeIsEnabled: lambda _: "HF_HUB_OFFLINE is set: unset it",
        errors.HfHubHTTPError: _http_said,
        errors.HTTPError: lambda error: f"the hub cannot be reached ({_brief(error)})",
        OSError: _brief,
        ValueError: _brief,
    }


def _http_said(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    login = ": `hf auth login` with a token that may write there" if status in (401, 403) else ""
    return f"the hub answers with status {status}{login or f' ({_brief(error)})'}"


def _brief(error: Exception) -> str:
    return printable(one_line(error, LONGEST_REASON)) or type(error).__name__
