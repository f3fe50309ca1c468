#!/usr/bin/env bash
# USD computes no bounding box for Gaussian splats, and calls a stage without one valid.
#
# For points, curves and meshes usd-core works out "extent" from the data when a file leaves it out.
# For ParticleField3DGaussianSplat it has no such code: the prim's box, and so the box of the whole asset, is
# empty, and a program that frames or culls by UsdGeom.BBoxCache sees nothing. None of its own validators
# mentions it. Splats without harmonics are also of degree 3 by default, with no coefficients to go with it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check usd-core==26.11

cat >probe.py <<'PY'
from pxr import Gf, Usd, UsdGeom, UsdValidation, UsdVol

stage = Usd.Stage.CreateInMemory()
UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
UsdGeom.SetStageMetersPerUnit(stage, 1.0)
stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/asset").GetPrim())

places = [(1, 2, 3), (4, 5, 6)]
points = UsdGeom.Points.Define(stage, "/asset/points")
points.CreatePointsAttr(places)
points.CreateWidthsAttr([1.0, 1.0])
splats = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/asset/splats")
splats.CreatePositionsAttr(places)
splats.CreateScalesAttr([(0.5, 0.5, 0.5)] * 2)
splats.CreateOrientationsAttr([Gf.Quatf(1, 0, 0, 0)] * 2)
splats.CreateOpacitiesAttr([0.5, 0.5])

print("usd-core", "{1}.{2}".format(*Usd.GetVersion()))
for schema in (points, splats):
    prim = schema.GetPrim()
    box = UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["default"]).ComputeWorldBound(prim).ComputeAlignedRange()
    extent = UsdGeom.Boundable.ComputeExtentFromPlugins(UsdGeom.Boundable(prim), Usd.TimeCode.Default())
    print(f"  {prim.GetName()}: computed extent", extent, "box is empty", box.IsEmpty())
validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
errors = UsdValidation.ValidationContext(validators).Validate(stage)
print(f"  {len(validators)} validators, {len(errors)} messages")
degree = splats.GetRadianceSphericalHarmonicsDegreeAttr().Get()
coefficients = splats.GetRadianceSphericalHarmonicsCoefficientsAttr().Get()
print("  degree", degree, "coefficients", coefficients)
PY

cat >expected <<'END'
usd-core 26.11
  points: computed extent [(0.5, 1.5, 2.5), (4.5, 5.5, 6.5)] box is empty False
  splats: computed extent None box is empty True
  30 validators, 0 messages
  degree 3 coefficients None
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
