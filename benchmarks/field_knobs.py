"""What the radiance-field renderer's knobs cost and give: `python benchmarks/field_knobs.py`.

A field at the released size (64^3 grid, rank 16, vectors of 8): a bumpy shell of voxels, its colour by position. Rays
and samples per voxel against seconds and PSNR (to 16 samples per voxel), with empty space skipped and not. Prints the
table and writes `benchmarks/results/field_knobs.json`.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import result_file
from rich.console import Console
from rich.table import Table

from gen3dexport.assets.draw.field_render import march
from gen3dexport.assets.gaussians import SH_C0
from gen3dexport.assets.metrics import picture_quality
from gen3dexport.assets.radiance_field import RadianceField

RESULT = Path(__file__).parent / "results" / "field_knobs.json"
RESOLUTION, RANK, DIM = 64, 16, 8


def field() -> RadianceField:
    """A shell whose radius waves with the direction, dense in its middle; every vector varies along its axis."""
    rng = np.random.default_rng(0)
    cells = np.stack(np.meshgrid(*[np.arange(RESOLUTION)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centres = (cells + 0.5) / RESOLUTION - 0.5
    distance = np.linalg.norm(centres, axis=1)
    angles = np.arctan2(centres[:, 1], centres[:, 0]), centres[:, 2] / np.maximum(distance, 1e-9)
    radius = 0.33 + 0.05 * np.sin(5 * angles[0]) * np.sqrt(1 - angles[1] ** 2)
    kept = np.abs(distance - radius) < 1.0 / RESOLUTION
    colors = centres[kept][:, None, None] / SH_C0 + rng.normal(0, 0.3, (kept.sum(), RANK, 1, 3))
    return RadianceField(
        (centres[kept] + 0.5).astype(np.float32),
        RESOLUTION.bit_length() - 1,
        (1 + 0.4 * rng.standard_normal((kept.sum(), RANK, 3, DIM))).astype(np.float32),
        rng.normal(4, 2, (kept.sum(), RANK)).astype(np.float32),
        colors.astype(np.float32),
    )


def picture(made: RadianceField, size: int, steps: int, skip: bool) -> tuple[np.ndarray, int, float]:
    """8-bit pixels on white, points read, seconds."""
    start = time.perf_counter()
    color, light, read = march(made, 35, 22, size, steps, skip)
    seconds = time.perf_counter() - start
    return (np.clip(color + light[..., None], 0, 1) * 255 + 0.5).astype(np.uint8), read, seconds


def main() -> None:
    """Measure, print and write."""
    shell, rows = field(), []
    table = Table("rays", "samples per voxel", "s", "s without skipping", "points read", "PSNR dB", "SSIM")
    for size in (128, 256):
        reference = picture(shell, size, 16, True)[0]
        for steps in (1, 2, 4, 8):
            shown, read, seconds = picture(shell, size, steps, True)
            plain, _, whole = picture(shell, size, steps, False)
            assert (plain == shown).all()
            quality = picture_quality([shown], [reference])
            rows.append(
                {"rays": size**2, "steps": steps, "seconds": seconds, "seconds_without_skipping": whole, "read": read}
                | quality
            )
            times = f"{seconds:.2f}", f"{whole:.2f}", f"{read:,}"
            table.add_row(f"{size}²", str(steps), *times, f"{float(quality['psnr_db']):.1f}", f"{quality['ssim']:.3f}")
    Console(width=120).print(table)
    result_file.write(RESULT, __file__, {"voxels": len(shell.positions), "rows": rows})


if __name__ == "__main__":
    main()
