"""The system of a case, ours or SpeechBrain's."""

import torch

from hyperconformer.bench import workload
from hyperconformer.bench.cases import Case
from hyperconformer.bench.workload import Workload


def build(case: Case) -> Workload:
    """Build what a case measures, with weights drawn from its seed.

    Parameters
    ----------
    case : Case

    Returns
    -------
    Workload
        In training mode, on the case's device.

    Examples
    --------
    >>> load = build(Case("mixer", "hypermixing", "forward", seconds=1.0, batch_size=2))
    >>> load.forward().shape, load.parameters
    (torch.Size([2, 25, 144]), 27648)
    """
    builders = workload.BUILDERS
    if case.is_upstream:
        # SpeechBrain need not be there for anything else.
        from hyperconformer.bench import upstream

        builders = upstream.BUILDERS
    torch.manual_seed(case.seed)
    return builders[case.kind](case)
