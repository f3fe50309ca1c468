"""OpenUSD files are read back with usd-core, by the names of its schemas."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh
from gen3dexport.assets.usd import FORMATS, write_usd
from gen3dexport.errors import MissingError, UsageError


def some_gaussians(count: int = 50) -> Gaussians:
    random = np.random.default_rng(0)
    return Gaussians(
        random.uniform(-0.4, 0.4, (count, 3)).astype(np.float32),
        random.uniform(0.005, 0.06, (count, 3)).astype(np.float32),
        random.standard_normal((count, 4)).astype(np.float32),
        random.uniform(0.1, 0.95, count).astype(np.float32),
        random.standard_normal((count, 1, 3)).astype(np.float32),
    )


def some_mesh() -> Mesh:
    vertices = np.array([[0, 0, 0], [0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    return Mesh(vertices, faces, colors=np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]], np.uint8))


@pytest.mark.parametrize("suffix", FORMATS)
def test_gaussians_read_back(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdVol

    written = some_gaussians()
    write_usd(written, tmp_path / f"a{suffix}")
    stage = Usd.Stage.Open(str(tmp_path / f"a{suffix}"))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    prim = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    assert prim.GetPrim().GetTypeName() == "ParticleField3DGaussianSplat"
    assert np.array(prim.GetPositionsAttr().Get()) == pytest.approx(written.positions)
    assert np.array(prim.GetScalesAttr().Get()) == pytest.approx(written.scales)
    assert np.array(prim.GetOpacitiesAttr().Get()) == pytest.approx(written.opacities)
    turns = [[q.GetReal(), *q.GetImaginary()] for q in prim.GetOrientationsAttr().Get()]
    assert np.array(turns) == pytest.approx(written.rotations, abs=1e-6)
    assert prim.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 0
    assert np.array(prim.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()) == pytest.approx(written.sh[:, 0])
    low, high = np.array(prim.GetExtentAttr().Get())
    assert (low <= written.positions.min(0)).all() and (high >= written.positions.max(0)).all()


def test_a_mesh_reads_back_with_linear_colours(tmp_path: Path) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    written = some_mesh()
    write_usd(written, tmp_path / "a.usdc")
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    mesh = UsdGeom.Mesh(stage.GetDefaultPrim())
    assert np.array(mesh.GetPointsAttr().Get()) == pytest.approx(written.vertices)
    assert np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3).tolist() == written.faces.tolist()
    assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3}
    colors = np.array(mesh.GetDisplayColorPrimvar().Get())
    assert colors[0] == pytest.approx([1, 0, 0]) and colors[3] == pytest.approx(0.2158605, abs=1e-5)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.usda, \.usdc, \.usd"):
        write_usd(some_mesh(), tmp_path / "a.usdx")
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MissingError, match=r"gen3dexport\[usd\]"):
        write_usd(some_mesh(), tmp_path / "a.usda")
    assert list(tmp_path.iterdir()) == []
