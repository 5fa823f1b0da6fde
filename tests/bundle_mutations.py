"""A table of ways to break a model folder, and a program that tries them all with little memory to spare.

``python -m tests.bundle_mutations BUNDLE SCRATCH`` prints a JSON object: by name of the mutation what
became of it, and of the process how much memory it took.
"""

import json
import os
import pickle
import resource
import shutil
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

REFUSED, EITHER, OPENS = "refused", "either", "opens"
MEMORY_BYTES = 2**30

Change = Callable[[Path], object]
CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD = (
    "config.json", "model.safetensors", "tokenizer.model", "metrics.json", "README.md",
)  # fmt: skip


def edit(folder: Path, change: Callable[[dict], object], name: str = CONFIG) -> None:
    """Change a JSON file."""
    values = json.loads((folder / name).read_text())
    change(values)
    (folder / name).write_text(json.dumps(values))


def forged(folder: Path, change: Change) -> None:
    """Change something as one who knows of the sums would."""
    change(folder)
    edit(folder, lambda config: config.pop("sha256"))


def flip(folder: Path, name: str, at: float, bit: int) -> None:
    """Flip a bit of a file at a share of its length."""
    content = bytearray((folder / name).read_bytes())
    content[int(at * (len(content) - 1))] ^= 1 << bit
    (folder / name).write_bytes(content)


def set_model(folder: Path, key: str, value: Any) -> None:
    """Give a setting of the model another value."""
    edit(folder, lambda config: config["model"].update({key: value}))


def set_option(folder: Path, key: str, value: Any) -> None:
    """Give an option of the mixer another value."""
    edit(folder, lambda config: config["model"]["mixer_options"].update({key: value}))


def write(folder: Path, name: str, content: bytes) -> None:
    """Put something else in a file's place."""
    (folder / name).write_bytes(content)


def in_place(folder: Path, name: str, make: Change) -> None:
    """Put something that is no file in a file's place."""
    (folder / name).unlink()
    make(folder / name)


def reheader(folder: Path, change: Callable[[dict], object], data: bytes | None = None) -> None:
    """Change the header of the weights, and the sums with it."""
    content = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    behind = content[8 + length :] if data is None else data
    write(folder, WEIGHTS, struct.pack("<Q", len(text)) + text + behind)
    edit(folder, lambda config: config.pop("sha256", None))


def with_tensors(folder: Path, change: Callable[[dict], object]) -> None:
    """Write other weights, in good order."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    edit(folder, lambda config: config.pop("sha256"))


def poison(tensors: dict, value: float) -> None:
    """Make one number something that is none."""
    tensors["ctc_head.bias"][3] = value


def first_entry(header: dict) -> dict:
    """Of a header, the tensor that lies first."""
    return next(entry for name, entry in header.items() if name != "__metadata__")


def other_tokenizer(folder: Path, **changes: int) -> None:
    """Train another tokenizer in the place of this one."""
    import io

    import sentencepiece

    model, alphabet = io.BytesIO(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    lines = [alphabet[start : start + 3] for start in range(24) for _ in range(9)]
    ids = {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1, "vocab_size": 32} | changes
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, hard_vocab_limit=False, minloglevel=2, **ids
    )
    write(folder, TOKENIZER, model.getvalue())


def zipped(folder: Path, name: str) -> None:
    """An archive in disguise, as PyTorch's own files are."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))


class Bomb:
    """Unpickled, it leaves a mark."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("unpickled",)


def _flips() -> Iterator[tuple[str, str, Change]]:
    """Damage, and forgeries, of single bits."""
    for number in range(10):
        at = (number + 0.5) / 10
        for name, sure in ((CONFIG, EITHER), (WEIGHTS, REFUSED), (TOKENIZER, REFUSED), (METRICS, EITHER)):
            yield f"bit {number} of {name}", sure, partial(flip, name=name, at=at, bit=number % 8)
        for name in (WEIGHTS, TOKENIZER):
            change = partial(flip, name=name, at=at, bit=number % 8)
            yield f"forged bit {number} of {name}", EITHER, partial(forged, change=change)
        in_header = partial(flip, name=WEIGHTS, at=number / 200, bit=number % 8)
        yield f"forged bit {number} of the header", EITHER, partial(forged, change=in_header)
    yield "bit of the card", OPENS, partial(flip, name=CARD, at=0.5, bit=1)
    high = partial(flip, name=WEIGHTS, at=7e-6, bit=7)
    yield "the highest bit of the header's length", REFUSED, partial(forged, change=high)


GIANT = (10**9, 10**12, 2**63, 2**70, 10**4000)
STRANGE: tuple[Any, ...] = (0, -1, 1.5, "8", None, True, [8], {"a": 1}, float("nan"), float("inf"))


def _configs() -> Iterator[tuple[str, str, Change]]:
    """Values of another type, out of range, or larger than the weights."""
    sizes = ("output_neurons", "d_model", "nhead", "d_ffn", "kernel_size", "num_encoder_layers")
    sizes += ("num_decoder_layers", "n_mels", "n_fft")
    for number, key in enumerate(sizes):
        for value in (GIANT[number % len(GIANT)], STRANGE[number % len(STRANGE)]):
            yield f"{key} {str(value)[:9]}", REFUSED, partial(set_model, key=key, value=value)
        larger = {"n_fft": 401, "kernel_size": 33}.get(key, 48)
        yield f"{key} {larger}", REFUSED, partial(set_model, key=key, value=larger)
    for value in STRANGE:
        said = str(value)
        yield f"frontend_channels {said}", REFUSED, partial(set_model, key="frontend_channels", value=value)
        yield f"the model is {said}", REFUSED, partial(edit, change=lambda c, v=value: c.update({"model": v}))
    for name, value in (
        ("transformer_dropout", 1e999),
        ("transformer_dropout", "0.1"),
        ("mixer", "magic"),
        ("mixer", "../../mixer"),
        ("mixer", None),
        ("mixer_options", [1]),
        ("colour", "blue"),
        ("../d_model", 8),
        ("__class__", "os.system"),
    ):
        yield f"{name} {value}", REFUSED, partial(set_model, key=name, value=value)
    for name, value in (
        ("hypernet_size", 10**15),
        ("hypernet_size", "wide"),
        ("tied", 1),
        ("init", "eval"),
        ("dropout", float("nan")),
        ("dropout", 7.0),
        ("colour", 1),
    ):
        yield f"option {name} {value}", REFUSED, partial(set_option, key=name, value=value)
    huge = {"output_neurons": 2**20, "d_model": 2**14, "d_ffn": 2**17, "num_encoder_layers": 256}
    yield "all sizes at their limits", REFUSED, partial(edit, change=lambda c: c["model"].update(huge))
    gmlp = {"mixer": "gmlp", "mixer_options": {"max_frames": 2**20}}
    yield "a mixer of a million frames", REFUSED, partial(edit, change=lambda c: c["model"].update(gmlp))


def _tops() -> Iterator[tuple[str, str, Change]]:
    """The top level of config.json, and what is no JSON at all."""
    for key, value in (
        ("format", "whisper"),
        ("format", "hyperconformer-lm-1"),
        ("format", ["hyperconformer-2"]),
        ("sample_rate_hz", 8_000),
        ("sample_rate_hz", "16000"),
        ("files", ["../../etc/passwd"]),
        ("model.safetensors", "../other.safetensors"),
        ("sha256", {"model.safetensors": "00"}),
        ("sha256", {"../model.safetensors": "0" * 64, "tokenizer.model": "0" * 64}),
        ("sha256", []),
        ("sha256", None),
    ):
        change = partial(edit, change=lambda c, k=key, v=value: c.update({k: v}))
        yield f"{key} at the top: {value}", REFUSED, change
    yield "no format", REFUSED, partial(edit, change=lambda c: c.pop("format"))
    yield "no model", REFUSED, partial(edit, change=lambda c: c.pop("model"))
    yield "no output_neurons", REFUSED, partial(edit, change=lambda c: c["model"].pop("output_neurons"))
    for said, content in (
        ("a list", b"[]"),
        ("a number", b"7"),
        ("cut", b'{"format": "hyper'),
        ("nested lists", b"[" * 60_000),
        ("nested objects", b'{"a":' * 12_000),
        ("a key twice", b'{"format": "hyperconformer-2", "format": "hyperconformer-2"}'),
        ("a long number", b'{"format": ' + b"9" * 60_000 + b"}"),
        ("not UTF-8", b"\xff\xfe{}"),
        ("zeros", bytes(1000)),
        ("large", b" " * 2**20),
    ):
        yield f"config.json: {said}", REFUSED, partial(write, name=CONFIG, content=content)
    for said, content in (("nested", b"[" * 60_000), ("cut", b"{"), ("large", b" " * 2**21)):
        yield f"metrics.json: {said}", REFUSED, partial(write, name=METRICS, content=content)
    foreign = b'{"splits": {"a\\u001b[2J": {"greedy": {"wer": "low"}}, "b": 1}, "texts": [1e999]}'
    yield "metrics.json: somebody else's", OPENS, partial(write, name=METRICS, content=foreign)
    yield "README.md: large", REFUSED, partial(write, name=CARD, content=bytes(2**21))


def _weights() -> Iterator[tuple[str, str, Change]]:
    """Headers that lie, weights that are none."""
    from torch import zeros

    for said, length in (("2**60", 2**60), ("2**63", 2**63), ("zero", 0), ("of the file", 10**5)):
        head = struct.pack("<Q", length) + b"{}" + bytes(1000)
        change = partial(write, name=WEIGHTS, content=head)
        yield f"header length {said}", REFUSED, partial(forged, change=change)
    names = b"{" + b",".join(b'"%d":[]' % number for number in range(500_000)) + b"}"
    change = partial(write, name=WEIGHTS, content=struct.pack("<Q", len(names)) + names)
    yield "a header of half a million names", REFUSED, partial(forged, change=change)
    deep = b"[" * 10**6
    change = partial(write, name=WEIGHTS, content=struct.pack("<Q", len(deep)) + deep)
    yield "a deep header", REFUSED, partial(forged, change=change)
    for said, alter in (
        ("offsets beyond the file", lambda e: e.update(data_offsets=[0, 2**40])),
        ("overlapping offsets", lambda e: e.update(data_offsets=[4, e["data_offsets"][1] + 4])),
        ("offsets backwards", lambda e: e.update(data_offsets=e["data_offsets"][::-1])),
        ("negative offsets", lambda e: e.update(data_offsets=[-8, 8])),
        ("a giant shape", lambda e: e.update(shape=[2**31, 2**31])),
        ("a negative shape", lambda e: e.update(shape=[-1, -30])),
        ("an unknown type", lambda e: e.update(dtype="PICKLE")),
        ("half the type", lambda e: e.update(dtype="F16")),
        ("integers", lambda e: e.update(dtype="I32")),
        ("no offsets", lambda e: e.pop("data_offsets")),
    ):
        yield said, REFUSED, partial(reheader, change=lambda h, a=alter: a(first_entry(h)))
    yield "no data", REFUSED, partial(reheader, change=lambda h: None, data=b"")
    yield "more data", REFUSED, partial(reheader, change=lambda h: None, data=bytes(10**6))
    for said, alter in (
        ("NaN weights", partial(poison, value=float("nan"))),
        ("infinite weights", partial(poison, value=-float("inf"))),
        ("a missing tensor", lambda t: t.pop("ctc_head.bias")),
        ("all tensors missing", lambda t: t.clear()),
        ("an extra tensor", lambda t: t.update(extra=zeros(3))),
        ("a tensor named ..", lambda t: t.update({"../../x": zeros(3)})),
        ("a renamed tensor", lambda t: t.update({"../ctc_head.bias": t.pop("ctc_head.bias")})),
        ("a reshaped tensor", lambda t: t.update({"ctc_head.bias": t["ctc_head.bias"][:, None]})),
        ("a longer tensor", lambda t: t.update({"ctc_head.bias": zeros(31)})),
        ("float16", lambda t: t.update({name: tensor.half() for name, tensor in t.items()})),
        ("float64", lambda t: t.update({"ctc_head.bias": t["ctc_head.bias"].double()})),
    ):
        yield said, REFUSED, partial(with_tensors, change=alter)
    bomb = pickle.dumps(Bomb())
    for name in (WEIGHTS, TOKENIZER, CONFIG):
        change = partial(write, name=name, content=bomb)
        yield f"a pickle named {name}", REFUSED, partial(forged, change=change) if name != CONFIG else change
    yield "a zip named model.safetensors", REFUSED, partial(forged, change=partial(zipped, name=WEIGHTS))
    yield "the sums of other weights", REFUSED, partial(write, name=WEIGHTS, content=b"\x02" + bytes(50))


def _files() -> Iterator[tuple[str, str, Change]]:
    """What is missing, empty, cut, or no file."""
    for name in (CONFIG, WEIGHTS, TOKENIZER, METRICS, CARD):
        needed = name in (CONFIG, WEIGHTS, TOKENIZER)
        yield f"no {name}", REFUSED if needed else OPENS, lambda f, n=name: (f / n).unlink()
        empty = OPENS if name == CARD else REFUSED
        yield f"empty {name}", empty, partial(write, name=name, content=b"")
        for said, make in (
            ("a directory", Path.mkdir),
            ("a fifo", os.mkfifo),
            ("a device", lambda path: path.symlink_to("/dev/zero")),
            ("a loop of links", lambda path: path.symlink_to(path.name)),
        ):
            yield f"{said} in the place of {name}", REFUSED, partial(in_place, name=name, make=make)
        link = partial(in_place, name=name, make=lambda path: path.symlink_to("nowhere"))
        yield f"a dead link in the place of {name}", REFUSED if needed else OPENS, link
        moved = partial(linked, name=name)
        yield f"a link to {name} elsewhere", OPENS, moved
    for name in (WEIGHTS, TOKENIZER):
        for share in (0.001, 0.5, 0.999):
            change = partial(cut, name=name, share=share)
            yield f"{name} cut at {share}", REFUSED, change
            yield f"{name} cut at {share} by a forger", REFUSED, partial(forged, change=change)
        for power in (33, 35):
            change = partial(lengthened, name=name, size=2**power)
            yield f"{name} of 2**{power} bytes", REFUSED, change
    for said, changes in (
        ("a tokenizer with other ids", {"unk_id": 2, "bos_id": 0, "eos_id": 1}),
        ("a tokenizer with padding", {"unk_id": 1, "pad_id": 0, "bos_id": 2, "eos_id": 3}),
        ("a tokenizer with too many tokens", {"vocab_size": 45}),
    ):
        yield said, REFUSED, partial(forged, change=partial(other_tokenizer, **changes))
    yield "files of others", OPENS, lambda folder: (folder / "run.py").write_text("raise SystemExit")
    yield "another calibration", REFUSED, lambda folder: (folder / "calibration.json").write_text("{")


def linked(folder: Path, name: str) -> None:
    """Move a file away and leave a link, as a hub's cache has them."""
    (folder / "blobs").mkdir()
    (folder / name).rename(folder / "blobs" / "0123")
    (folder / name).symlink_to(Path("blobs") / "0123")


def cut(folder: Path, name: str, share: float) -> None:
    """Cut a file short."""
    content = (folder / name).read_bytes()
    write(folder, name, content[: int(share * len(content))])


def lengthened(folder: Path, name: str, size: int) -> None:
    """Make a file enormous, of zeros that take no room on the disk."""
    with (folder / name).open("r+b") as file:
        file.truncate(size)


def mutations() -> dict[str, tuple[str, Change]]:
    """All of them, by name: what must become of a folder, and what is done to it."""
    rows = [row for part in (_flips, _configs, _tops, _weights, _files) for row in part()]
    table = {name: (sure, change) for name, sure, change in rows}
    assert len(table) == len(rows), "two mutations share a name"
    return table


def attempt(folder: Path) -> dict[str, Any]:
    """Open a folder as ``check`` does."""
    from hyperconformer.errors import InputError
    from hyperconformer.inference.bundle_summary import summarise

    begun = time.monotonic()
    try:
        lines = "\n".join(summarise(folder).lines())
        outcome, said = OPENS, lines
    except InputError as error:
        outcome, said = REFUSED, str(error)
    except BaseException as error:  # whatever it is, the other mutations are to be told of too
        outcome, said = "crashed", repr(error)
    return {"outcome": outcome, "said": said, "seconds": time.monotonic() - begun}


def _status(key: str) -> int:
    rows = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(row.split()[1] for row in rows if row.startswith(f"{key}:")))


def main() -> None:
    bundle, scratch = (Path(argument).absolute() for argument in sys.argv[1:])
    os.chdir(scratch)
    assert attempt(bundle)["outcome"] == OPENS
    table, found = mutations(), {}
    for number, (_, change) in enumerate(table.values()):
        change(Path(shutil.copytree(bundle, scratch / f"{number}")))
    # The peak begins anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmHWM")
    limit = _status("VmSize") + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for number, name in enumerate(table):
        found[name] = attempt(scratch / f"{number}")
    print(json.dumps({"found": found, "bytes": _status("VmHWM") - before}))


if __name__ == "__main__":
    main()
