"""What golden sets say of radiance fields: hash grids, harmonics, and nerfacto's rays with their steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gen3dexport.models.golden import Golden
from gen3dexport.models.instant_ngp_nerf.networks.golden_sets import read_golden

read = read_golden

NOISE: Mapping[str, float] = {}
"""No output has a reference that is not exact."""

Arrays = dict[str, np.ndarray]
Run = Callable[[Mapping[str, np.ndarray]], Arrays]


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected.

    Args:
        golden: the set, read.
        run: inputs by name -> outputs by name of its network.
    """
    assert golden.component is not None
    return golden.compared(run(golden.inputs()))
