"""The Gaussian renderer against what a picture of known Gaussians must be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gen3dexport.assets.draw.gaussian_render import render_gaussians, splat
from gen3dexport.assets.gaussians import SH_C0, Gaussians


def gaussians(positions: object, scales: object, opacities: object, colors: object, turns: object = None) -> Gaussians:
    centres = np.asarray(positions, np.float32)
    count = len(centres)
    quaternions = np.tile([1.0, 0, 0, 0], (count, 1)) if turns is None else turns
    return Gaussians(
        centres,
        np.broadcast_to(np.asarray(scales, np.float32), (count, 3)),
        np.asarray(quaternions, np.float32),
        np.broadcast_to(np.asarray(opacities, np.float32), (count,)),
        ((np.broadcast_to(np.asarray(colors, np.float32), (count, 3)) - 0.5) / SH_C0)[:, None].astype(np.float32),
    )


def cloud(count: int, seed: int = 0) -> Gaussians:
    """Gaussians of all sizes, turns, colours and opacities in the unit cube."""
    random = np.random.default_rng(seed)
    return gaussians(
        random.uniform(-0.4, 0.4, (count, 3)),
        random.uniform(0.005, 0.06, (count, 3)),
        random.uniform(0.1, 0.95, count),
        random.uniform(0, 1, (count, 3)),
        random.standard_normal((count, 4)),
    )


def test_one_gaussian_has_its_colour_and_opacity_at_its_centre() -> None:
    color, alpha = splat(gaussians([[0, 0, 0]], 0.1, 0.8, [0.2, 0.5, 0.9]), size=65, blur=0)
    assert alpha[32, 32] == pytest.approx(0.8, rel=1e-3)
    assert color[32, 32] / alpha[32, 32] == pytest.approx([0.2, 0.5, 0.9], abs=1e-3)
    assert alpha[0, 0] == 0
    assert alpha == pytest.approx(alpha[::-1, ::-1], abs=1e-6)


def test_its_size_on_the_picture_is_that_of_its_projection() -> None:
    """A standard deviation away from the centre alpha falls to exp(-1/2) of the opacity."""
    size, sigma = 129, 0.1
    _, alpha = splat(gaussians([[0, 0, 0]], sigma, 0.9, 0.5), azimuth=0, elevation=0, size=size, blur=0)
    focal = size / 2 / np.tan(np.radians(13))
    pixels = focal * sigma / (1.06 * np.sqrt(0.75) / np.sin(np.radians(13)))
    offsets = np.arange(size) - size // 2
    wanted = 0.9 * np.exp(-0.5 * (offsets / pixels) ** 2)
    near = np.abs(offsets) < 3 * pixels
    assert alpha[size // 2][near] == pytest.approx(wanted[near], abs=2e-3)


@pytest.mark.parametrize(("azimuth", "front"), [(0, 0), (180, 1)])
def test_the_nearer_one_covers_the_other(azimuth: float, front: int) -> None:
    both = gaussians([[0.3, 0, 0], [-0.3, 0, 0]], 0.1, 0.98, [[1, 0, 0], [0, 0, 1]])
    color, _ = splat(both, azimuth=azimuth, elevation=0, size=33)
    seen = color[16, 16]
    assert seen[2 * front] > 0.9 and seen[2 - 2 * front] < 0.1


def test_tiles_and_order_make_no_difference() -> None:
    """Against every Gaussian blended at every pixel; in another order in memory too."""
    some, size = cloud(300), 48
    from gen3dexport.assets.draw import gaussian_render as module

    color, alpha = splat(some, size=size)
    lens = module.Lens(*module.framing(math.sqrt(0.75), size))
    whole = module._project(some, 35, 22, size, 0.3, lens)
    rows, columns = np.mgrid[0:size, 0:size].reshape(2, -1) + 0.5
    mixed, light = module._blend(whole, np.arange(len(whole.reach)), columns, rows)
    assert color.reshape(-1, 3) == pytest.approx(mixed, abs=2 * module._OPAQUE)
    assert alpha.ravel() == pytest.approx(1 - light, abs=2 * module._OPAQUE)
    order = np.random.default_rng(1).permutation(300)
    fields = (some.positions, some.scales, some.quaternions, some.opacities, some.sh)
    again, _ = splat(Gaussians(*(field[order] for field in fields)), size=size)
    assert again == pytest.approx(color, abs=1e-9)


def test_a_picture_of_nothing_is_background() -> None:
    picture = render_gaussians(gaussians(np.zeros((0, 3)), 0.1, 0.5, 0.5), size=20, background=0.25)
    assert picture.shape == (20, 20, 3) and (picture == 64).all()
