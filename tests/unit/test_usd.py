"""OpenUSD files are read back with usd-core, by the names of its schemas."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from full_disk import files_end_at

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


def test_colours_of_gaussians_are_said_to_be_those_of_displays(tmp_path: Path) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd

    write_usd(some_gaussians(), tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    attribute = stage.GetDefaultPrim().GetAttribute("radiance:sphericalHarmonicsCoefficients")
    assert Usd.ColorSpaceAPI.ComputeColorSpaceName(attribute, Usd.ColorSpaceCache()) == "srgb_rec709_scene"


@pytest.mark.parametrize("colored", [True, False])
def test_a_mesh_has_a_matt_surface_that_shows_its_colours(tmp_path: Path, colored: bool) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdShade

    mesh = some_mesh() if colored else replace(some_mesh(), colors=None)
    write_usd(mesh, tmp_path / "a.usda")
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    prim = stage.GetDefaultPrim()
    assert not UsdGeom.Mesh(prim).GetDoubleSidedAttr().Get()  # it is closed
    material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    shader, _, _ = material.ComputeSurfaceSource()
    assert shader.GetShaderId() == "UsdPreviewSurface"
    assert shader.GetInput("metallic").Get() == 0 and shader.GetInput("roughness").Get() == pytest.approx(0.9)
    if colored:
        source = shader.GetInput("diffuseColor").GetConnectedSources()[0][0].source
        reader = UsdShade.Shader(source.GetPrim())
        assert reader.GetShaderId() == "UsdPrimvarReader_float3"
        assert reader.GetInput("varname").Get() == "displayColor"
    else:
        assert not shader.GetInput("diffuseColor")


@pytest.mark.parametrize("asset", ["mesh", "bare mesh", "open mesh", "gaussians"])
def test_stages_pass_the_validators_of_usd(tmp_path: Path, asset: str) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdValidation

    lone = np.concatenate([some_mesh().vertices, np.ones((1, 3), np.float32)])
    made = {
        "mesh": some_mesh(),
        "bare mesh": Mesh(lone, some_mesh().faces),
        "open mesh": Mesh(some_mesh().vertices, some_mesh().faces[:2]),
        "gaussians": some_gaussians(),
    }[asset]
    write_usd(made, tmp_path / "a.usdc")
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = UsdValidation.ValidationContext(validators).Validate(stage)
    assert len(validators) > 10 and [e.GetMessage() for e in found] == []


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.usda, \.usdc, \.usd"):
        write_usd(some_mesh(), tmp_path / "a.usdx")
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(MissingError, match=r"gen3dexport\[usd\]"):
        write_usd(some_mesh(), tmp_path / "a.usda")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".usda", ".usdc"])
def test_a_full_folder_for_temporary_files_is_named(ending: str, tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((3000, 3)).astype(np.float32)
    mesh = Mesh(points, np.arange(3000).reshape(-1, 3))
    with files_end_at(9000), pytest.raises(UsageError, match=rf"takes no {ending} stage .*set TMPDIR=FOLDER"):
        write_usd(mesh, tmp_path / f"asset{ending}")
    assert not os.listdir(tmp_path)
