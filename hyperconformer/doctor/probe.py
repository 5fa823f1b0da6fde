"""A process that imports one library and says what it finds, as JSON; a library that breaks breaks only it.

python -m hyperconformer.doctor.probe torch
"""

import contextlib
import importlib
import json
import sys
import warnings
from typing import Any


def examine(library: str) -> dict[str, Any]:
    """Import a library, and ask PyTorch what it can use.

    Parameters
    ----------
    library : str

    Returns
    -------
    dict
        Version and, of ``torch``, threads and GPUs.

    Examples
    --------
    >>> sorted(examine("torch"))
    ['cuda', 'gpus', 'threads', 'version']
    """
    module = importlib.import_module(library)
    found = {"version": str(getattr(module, "__version__", "unknown"))}
    return found | _torch() if library == "torch" else found


def _torch() -> dict[str, Any]:
    import torch

    gpus = [_gpu(index) for index in range(torch.cuda.device_count())]
    return {"cuda": torch.version.cuda, "threads": torch.get_num_threads(), "gpus": gpus}


def _gpu(index: int) -> dict[str, Any]:
    """What a GPU is, and whether it really multiplies."""
    import torch

    properties = torch.cuda.get_device_properties(index)
    facts: dict[str, Any] = {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "total": properties.total_memory,
    }
    try:
        facts["free"] = torch.cuda.mem_get_info(index)[0]
        ones = torch.ones(64, 64, device=f"cuda:{index}")
        if float((ones @ ones)[0, 0]) != 64:
            raise RuntimeError("64 ones do not add up to 64")
        with torch.cuda.device(index):
            facts["bf16"] = torch.cuda.is_bf16_supported(including_emulation=False)
    except RuntimeError as error:
        facts["error"] = (str(error).strip() or type(error).__name__).splitlines()[0]
    return facts


def main() -> None:
    """Answer for one library."""
    warnings.simplefilter("ignore")
    # Libraries may talk; the answer must stay alone.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = examine(sys.argv[1])
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
