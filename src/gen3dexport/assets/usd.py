"""OpenUSD files of assets: 3D Gaussians as `ParticleField3DGaussianSplat` (OpenUSD 26.3 and later), meshes, points.

Stages are z up and right-handed, one unit is a metre; the asset is the default prim. Needs usd-core (extra `usd`).
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.file_format import FileFormat, written_by
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.mesh import Mesh, always_unit, is_closed, vertex_normals, whole_faces
from gen3dexport.assets.points import Points
from gen3dexport.disk import mount_of, write_output
from gen3dexport.errors import MissingError, UsageError

FORMATS = (".usda", ".usdc", ".usd")
KINDS = ("gaussians", "mesh", "points")
"""What a stage can hold here."""
Drawn = Mesh | Gaussians | Points
_ROUGHNESS = 0.9
_WIDTH = 0.004  # of a point


def write_usd(asset: Drawn, path: Path) -> None:
    """Write a text (.usda) or binary (.usdc, .usd) stage with the asset. The file appears whole or not at all.

    Raises:
        UsageError: for another ending or a place that cannot be written.
        MissingError: when usd-core is not installed, or too old for 3D Gaussians.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: unknown USD format {path.suffix!r}; known endings are {', '.join(FORMATS)}")
    if find_spec("pxr") is None:
        raise MissingError(f"{path}: usd-core is not installed; run: pip install 'gen3dexport[usd]'")
    write_output(path, content(asset, path.suffix.lower()))


def content(asset: Drawn, ending: str) -> bytes:
    """The bytes of the stage that `write_usd` writes; needs usd-core."""
    return stage_bytes(lambda stage: define(stage, asset), ending)


def stage_bytes(fill: Callable[[Any], Any], ending: str) -> bytes:
    """The bytes of a stage.

    Args:
        fill: gets the stage and returns its default prim.

    Raises:
        UsageError: when the folder for temporary files takes no stage.
    """
    from pxr import Tf, Usd, UsdGeom

    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / f"asset{ending}"
        try:
            stage = Usd.Stage.CreateNew(str(draft))
            UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
            UsdGeom.SetStageMetersPerUnit(stage, 1.0)
            stage.SetDefaultPrim(fill(stage).GetPrim())
            stage.GetRootLayer().Save()
        except Tf.ErrorException as error:
            folder = Path(scratch).parent
            free = shutil.disk_usage(folder).free / 1e6
            raise UsageError(
                f"{folder}: takes no {ending} stage ({_told(error)}); {mount_of(folder)}, on which it lies, has "
                f"{free:.2f} MB free: free some space, or set TMPDIR=FOLDER"
            ) from error
        return draft.read_bytes()


def _told(error: Exception) -> str:
    """The last line of what USD says, without the places in its code."""
    last = str(error).strip().splitlines()[-1]
    return (last.partition(" : '")[2] or last).strip("'")


def define(stage: Any, asset: Drawn) -> Any:
    """The prim of an asset, with its values."""
    made = {"mesh": _define_mesh, "gaussians": _define_gaussians, "points": _define_points}[asset.kind](stage, asset)
    for name, value in values(asset).items():
        made.GetPrim().GetAttribute(name).Set(value)
    return made


def values(asset: Drawn) -> dict[str, Any]:
    """What changes with time where an asset does, by the attributes' names."""
    return {"mesh": _of_mesh, "gaussians": _of_gaussians, "points": _of_points}[asset.kind](asset)


def _define_gaussians(stage: Any, gaussians: Any) -> Any:
    from pxr import Usd, UsdVol

    if not hasattr(UsdVol, "ParticleField3DGaussianSplat"):
        raise MissingError("this usd-core has no 3D Gaussians; run: pip install 'usd-core>=26.3'")
    prim = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/asset")
    for create in (
        prim.CreatePositionsAttr,
        prim.CreateScalesAttr,
        prim.CreateOrientationsAttr,
        prim.CreateOpacitiesAttr,
        prim.CreateExtentAttr,
    ):
        create()
    # The colours are those that displays take; a stage that says nothing is read as linear light.
    Usd.ColorSpaceAPI.Apply(prim.GetPrim()).CreateColorSpaceNameAttr("srgb_rec709_scene")
    count = gaussians.sh.shape[1]
    prim.CreateRadianceSphericalHarmonicsDegreeAttr(math.isqrt(count) - 1)
    prim.CreateRadianceSphericalHarmonicsCoefficientsAttr().SetMetadata("elementSize", count)
    return prim


def _of_gaussians(gaussians: Any) -> dict[str, Any]:
    from pxr import Gf, Vt

    reach = 3 * gaussians.scales.max(1, keepdims=True) if len(gaussians.scales) else gaussians.scales
    return {
        "positions": _vectors(gaussians.positions),
        "scales": _vectors(gaussians.scales),
        "orientations": Vt.QuatfArray([Gf.Quatf(*map(float, q)) for q in gaussians.rotations]),
        "opacities": Vt.FloatArray.FromNumpy(np.ascontiguousarray(gaussians.opacities, np.float32)),
        "radiance:sphericalHarmonicsCoefficients": _vectors(gaussians.sh.reshape(-1, 3)),
        "extent": _box(np.concatenate([gaussians.positions - reach, gaussians.positions + reach])),
    }


def _define_points(stage: Any, points: Any) -> Any:
    from pxr import UsdGeom

    prim = UsdGeom.Points.Define(stage, "/asset")
    for create in (prim.CreatePointsAttr, prim.CreateWidthsAttr, prim.CreateExtentAttr):
        create()
    prim.SetWidthsInterpolation(UsdGeom.Tokens.constant)
    if points.colors is not None:
        prim.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
    return prim


def _of_points(points: Any) -> dict[str, Any]:
    from pxr import Vt

    found = {
        "points": _vectors(points.positions),
        "widths": Vt.FloatArray([_WIDTH]),
        "extent": _box(np.concatenate([points.positions - _WIDTH / 2, points.positions + _WIDTH / 2])),
    }
    if points.colors is not None:
        found["primvars:displayColor"] = _vectors(linear_light(points.colors / 255))
    return found


def _define_mesh(stage: Any, mesh: Any) -> Any:
    from pxr import UsdGeom

    prim = UsdGeom.Mesh.Define(stage, "/asset")
    prim.CreatePointsAttr()
    prim.CreateFaceVertexCountsAttr()
    prim.CreateFaceVertexIndicesAttr()
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateDoubleSidedAttr(not is_closed(whole_faces(mesh)))
    prim.CreateNormalsAttr()
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    prim.CreateExtentAttr()
    if mesh.colors is not None:
        prim.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
    _bind_surface(stage, prim, mesh.colors is not None)
    return prim


def _of_mesh(mesh: Any) -> dict[str, Any]:
    from pxr import Vt

    normals = vertex_normals(mesh.vertices, mesh.faces) if mesh.normals is None else always_unit(mesh.normals)
    found = {
        "points": _vectors(mesh.vertices),
        "faceVertexCounts": Vt.IntArray(len(mesh.faces), 3),
        "faceVertexIndices": Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.faces.ravel(), np.int32)),
        "normals": _vectors(normals),
        "extent": _box(mesh.vertices),
    }
    if mesh.colors is not None:
        found["primvars:displayColor"] = _vectors(linear_light(mesh.colors / 255))  # display colours are linear
    return found


def _bind_surface(stage: Any, prim: Any, colored: bool) -> None:
    """A matt preview surface that shows `displayColor`; a renderer need not show that on its own."""
    from pxr import Sdf, UsdShade

    place = prim.GetPath().AppendChild("material")
    material = UsdShade.Material.Define(stage, place)
    shader = UsdShade.Shader.Define(stage, place.AppendChild("surface"))
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("metallic", Sdf.ValueTypeNames.Float).Set(0.0)
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(_ROUGHNESS)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    if colored:
        reader = UsdShade.Shader.Define(stage, place.AppendChild("color"))
        reader.CreateIdAttr("UsdPrimvarReader_float3")
        reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("displayColor")
        reader.CreateOutput("result", Sdf.ValueTypeNames.Float3)
        diffuse = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
        diffuse.ConnectToSource(reader.ConnectableAPI(), "result")
    UsdShade.MaterialBindingAPI.Apply(prim.GetPrim()).Bind(material)


def _vectors(values: Any) -> Any:
    from pxr import Vt

    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, np.float32))


def _box(points: Any) -> Any:
    """The two corners of the points' bounding box; of the origin when there are none."""
    points = points if len(points) else np.zeros((1, 3), np.float32)
    return _vectors(np.stack([points.min(0), points.max(0)]))


FILES: Mapping[str, FileFormat] = {
    ending: written_by(content, ending, up="z", package="pxr", extra="usd") for ending in FORMATS
}
"""The formats, as the kinds that have them list them."""
