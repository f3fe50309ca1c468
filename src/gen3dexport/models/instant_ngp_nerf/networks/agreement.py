"""What golden sets say of radiance fields: hash grids, harmonics, and nerfacto's rays with their steps."""

from __future__ import annotations

from gen3dexport.models.golden import Arrays, Golden, Run
from gen3dexport.models.instant_ngp_nerf.networks.golden_sets import read_golden

read = read_golden


def outputs(golden: Golden, run: Run) -> tuple[Arrays, Arrays]:
    """Outputs of a golden set by name, found and expected."""
    assert golden.component is not None
    return golden.compared(run(golden.inputs()))
