"""What Blender makes of the files in FOLDER: python blender_reads.py FOLDER; writes blender.json and pictures.

Needs a Python with `bpy` (PyPI, 5.0.1 for Python 3.11); nothing of this project.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import bpy
import mathutils

IMPORTS = {
    ".glb": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    ".usda": lambda path: bpy.ops.wm.usd_import(filepath=path),
}


def read(path: Path) -> dict[str, object]:
    """Size in Blender's frame (z up), the corners' mean, colours in scene-linear light and the material's surface."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    IMPORTS[path.suffix](str(path))
    mesh = next(o for o in bpy.data.objects if o.type == "MESH")
    bpy.context.view_layer.update()
    points = [mesh.matrix_world @ v.co for v in mesh.data.vertices]
    found: dict[str, object] = {
        "extent": [round(max(p[k] for p in points) - min(p[k] for p in points), 4) for k in range(3)],
        "mean": [round(sum(p[k] for p in points) / len(points), 4) for k in range(3)],
    }
    if mesh.data.color_attributes:
        colors = [d.color[:3] for d in mesh.data.color_attributes[0].data]
        found["mean colour"] = [round(sum(c[k] for c in colors) / len(colors), 4) for k in range(3)]
    for slot in mesh.material_slots:
        nodes = slot.material.node_tree.nodes if slot.material and slot.material.node_tree else ()
        for node in nodes:
            if node.bl_idname == "ShaderNodeBsdfPrincipled":
                found["metallic"] = round(node.inputs["Metallic"].default_value, 3)
                found["roughness"] = round(node.inputs["Roughness"].default_value, 3)
                found["colour is shown"] = bool(node.inputs["Base Color"].links)
    return found


def picture(path: Path) -> None:
    """Render what was read last, from the front right above."""
    scene = bpy.context.scene
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.angle = math.radians(30)
    camera.location = (1.3, -1.9, 0.9)
    camera.rotation_euler = mathutils.Vector((-1.3, 1.9, -0.9)).to_track_quat("-Z", "Y").to_euler()
    sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 2.5, (math.radians(40), 0, math.radians(30))
    for made in (camera, sun):
        scene.collection.objects.link(made)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.85, 0.88, 0.91, 1)
    scene.view_settings.view_transform = "Standard"
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising = 24, False
    scene.render.resolution_x = scene.render.resolution_y = 384
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def main() -> None:
    folder = Path(sys.argv[1])
    result = {}
    for name in [*(f"mesh{ending}" for ending in IMPORTS), "bare.glb"]:
        result[f"Blender {bpy.app.version_string}, {name}"] = read(folder / name)
        if name in ("mesh.glb", "mesh.obj", "mesh.usda", "bare.glb"):
            picture(folder / f"blender-{name}.png")
    (folder / "blender.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
