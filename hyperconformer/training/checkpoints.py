"""What a run's checkpoints become once training is over."""

import logging

from speechbrain.utils.checkpoints import Checkpointer, average_checkpoints

from hyperconformer.errors import InputError
from hyperconformer.models.asr import ASR

logger = logging.getLogger(__name__)


def load_average(model: ASR, checkpointer: Checkpointer, count: int) -> int:
    """Load the mean weights of the best checkpoints; the checkpoints themselves stay as they are.

    Parameters
    ----------
    model : ASR
        Receives the weights.
    checkpointer : Checkpointer
        Of the run.
    count : int
        Most checkpoints to average.

    Returns
    -------
    int
        How many checkpoints were averaged.

    Raises
    ------
    InputError
        If there is no checkpoint.

    References
    ----------
    Izmailov et al., Averaging weights leads to wider optima, arXiv 1803.05407.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_average(None, Checkpointer(folder), 4)
    Traceback (most recent call last):
        ...
    hyperconformer.errors.InputError: no checkpoint in ...: train first, without --test_only
    """
    checkpoints = checkpointer.find_checkpoints(min_key="WER", max_num_checkpoints=count)
    if not checkpoints:
        raise InputError(
            f"no checkpoint in '{checkpointer.checkpoints_dir}': train first, without --test_only"
        )
    model.load_state_dict(average_checkpoints(checkpoints, "model"))
    logger.info("Averaged %d checkpoints", len(checkpoints))
    return len(checkpoints)
