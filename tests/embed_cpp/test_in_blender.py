"""The extension in Blender, headless: installed from its archive, an asset made, cancelled, refused, imported.

Needs a Python with bpy (374 MB): `make embed` makes one, or $GEN3DEXPORT_BPY_PYTHON. So it is with a bundle of
trellis-mini-color, which gen3dexport itself runs: $GEN3DEXPORT_BPY_BUNDLE.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_blender_parts

from gen3dexport.assets import gaussian_files, mesh_files
from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.mesh import Mesh

ZIP = Path(__file__).parents[2] / "embed" / "blender_zip.py"
MADE = Path(__file__).parents[2] / "out" / "embed"  # by make embed
BPY = Path(os.environ.get("GEN3DEXPORT_BPY_PYTHON") or MADE / "bpy" / "bin" / "python")
CLI_BUNDLE = Path(os.environ.get("GEN3DEXPORT_BPY_BUNDLE") or MADE / "color")
PROMPT = "a long green bench with a thin seat, no backrest, a solid orange base and no armrests, facing the front"
if not BPY.is_file():
    pytest.skip("needs a Python with bpy: make embed, or $GEN3DEXPORT_BPY_PYTHON", allow_module_level=True)


def _mesh() -> Mesh:
    """A box that no axis can be mistaken in, coloured."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int64)
    colors = np.full((8, 3), (180, 60, 20), np.uint8)
    return Mesh(corners * (0.1, 0.2, 0.4) + (0, 0.05, -0.3), faces, colors=colors)


@pytest.fixture(scope="module")
def found(installed: Path, text_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script in Blender found."""
    folder = tmp_path_factory.mktemp("blender")
    made = subprocess.run(
        [sys.executable, str(ZIP), str(folder)],
        check=True,
        capture_output=True,
        text=True,
    )
    mesh, points = folder / "box.glb", folder / "points.ply"
    mesh.write_bytes(mesh_files.content(_mesh(), ".glb"))
    points.write_bytes(gaussian_files.content(test_blender_parts._gaussians(), ".ply"))
    damaged = Path(shutil.copytree(text_bundle, folder / "damaged"))
    program = damaged / "programs" / "flow.pte"
    content = bytearray(program.read_bytes())
    content[len(content) // 2] ^= 1
    program.write_bytes(content)
    settings = {"tool": str(installed / "bin" / "gen3d"), "bundle": str(text_bundle), "damaged": str(damaged)}
    settings |= {"mesh": str(mesh), "gaussians": str(points), "cli": sys.executable, "prompt": PROMPT}
    settings["cli_bundle"] = str(CLI_BUNDLE) if CLI_BUNDLE.is_dir() else ""
    settings["saved"] = os.environ.get("GEN3DEXPORT_BPY_SAVED", "")
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user")}
    script = Path(__file__).parent / "in_blender.py"
    command = [str(BPY), str(script), made.stdout.strip(), str(folder / "settings.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def test_a_mesh_of_a_prompt(found: dict[str, Any]) -> None:
    answer, message, objects = found["first"]
    assert answer == ["FINISHED"] and found["panel"] and found["disabled"]
    assert list(objects) == ["a chair"] == found["selected"]
    assert re.fullmatch(rf"{objects['a chair']:,} vertices, [\d,]+ faces in [\d.]+ s", message)
    assert found["mark"] == {"bundle": "trellis-tiny", "prompt": "a chair", "seed": 7}
    assert np.abs(found["first box"]).max() <= 0.6


def test_the_next_joins_or_replaces(found: dict[str, Any]) -> None:
    assert len(found["second"]) == 2 and "a chair" in found["second"]
    assert len(found["replaced"]) == 1


def test_the_panel_shows_what_there_is_and_how_far_it_is(found: dict[str, Any]) -> None:
    """Drawn on a stand-in of a layout, ticked by a stand-in of a timer."""
    drawn = found["drawn"]
    assert {"Bundle", "From", "Prompt", "Seed", "Kind", "Fields", "Replace the last one", "Make"} <= set(drawn)
    assert re.search(r"trellis-tiny for executorch\S*, \d+ steps", " ".join(drawn))  # over two labels
    shown, answer, count = found["by ticks"]
    assert answer == ["FINISHED"] and count == 1 and "Cancel" in shown
    assert any(line.startswith("progress ") for line in shown)


def test_errors_are_one_line_and_keep_the_scene(found: dict[str, Any]) -> None:
    for case, words in {
        "no prompt": "no prompt",
        "no picture": "no picture there",
        "fields": "NAME=VALUE",
        "no bundle there": "no bundle there",
        "wrong file": "no bundle there",
        "no executable": "no executable there",
        "gaussians by the C++ tool": "makes meshes of prompts",
        "a Python without it": "No module named",
        "damaged": "SHA-256 differs",
    }.items():
        assert words in found["errors"][case] and "\n" not in found["errors"][case], case
    assert found["no bundle"].startswith("no bundle: choose")
    assert found["kept"]


def test_cancel_ends_the_child(found: dict[str, Any]) -> None:
    assert found["cancelled"] == [["CANCELLED"], "cancelled"]
    assert not Path(f"/proc/{found['child']}").exists() and not Path(found["folder"]).exists()


def test_meshes_keep_place_material_and_colour(found: dict[str, Any]) -> None:
    vertices = _mesh().vertices
    assert np.allclose(found["mesh box"], [vertices.min(0), vertices.max(0)], atol=1e-5)
    assert found["base color"] in ("VERTEX_COLOR", "MIX") and found["metallic"] == 0
    assert np.allclose(found["mean color"][:3], linear_light(np.array([180, 60, 20]) / 255), atol=5e-3)


def test_gaussians_are_points_with_colour_and_radius(found: dict[str, Any]) -> None:
    given = test_blender_parts._gaussians()
    box = [given.positions.min(0), given.positions.max(0)]
    assert np.allclose(found["points box"], box, atol=1e-5)
    colors = linear_light(np.clip(given.colors, 0, 1)).mean(0)
    assert np.allclose(found["points colors"], [*colors, given.opacities.mean()], atol=1e-4)
    count, radius = found["shown"]
    assert count == len(given.positions)
    assert radius == pytest.approx(np.cbrt(given.scales.prod(1)).max(), rel=1e-4)


def test_a_broken_file_leaves_nothing(found: dict[str, Any]) -> None:
    assert "cannot be imported" in found["broken mesh"] and "no binary .ply" in found["broken gaussians"]
    assert "\n" not in found["broken mesh"] and found["nothing left"]


@pytest.mark.skipif(not CLI_BUNDLE.is_dir(), reason="needs a bundle of trellis-mini-color: make embed")
def test_mesh_and_gaussians_of_the_command_line_coincide(found: dict[str, Any]) -> None:
    mesh, points = found["by cli"]["mesh"], found["by cli"]["gaussians"]
    assert mesh[0] == points[0] == ["FINISHED"] and mesh[2] > 100 and points[2] > 100
    assert np.allclose(mesh[3], points[3], atol=0.06)  # centres lie inside the surface
    assert np.allclose(mesh[4][:3], points[4][:3], atol=0.08)
    assert "steps" in found["error of the cli"] and "\n" not in found["error of the cli"]
