"""Where the weights of plain layers start."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """Xavier for plain products, variance 1 / D for embeddings (they are scaled by sqrt(D)).

    Parameters
    ----------
    module : nn.Module
        For ``apply``: a linear layer or an embedding is drawn anew, everything else stays.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010.

    Examples
    --------
    >>> layer = nn.Linear(3, 5).apply(initialise)
    >>> layer.bias.tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
