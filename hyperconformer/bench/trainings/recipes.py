"""Where recipes are."""

from pathlib import Path

import hyperconformer


def located(recipe: str) -> str:
    """Find a recipe: from where we stand, else beside the package, where that is a checkout.

    Parameters
    ----------
    recipe : str
        A file, or a folder.

    Returns
    -------
    str
        As given where there is none.

    Examples
    --------
    >>> located("hparams/text.yaml"), located("no.yaml")
    ('hparams/text.yaml', 'no.yaml')
    """
    beside = Path(hyperconformer.__file__).parents[1] / recipe
    return str(beside) if not Path(recipe).exists() and beside.exists() else recipe
