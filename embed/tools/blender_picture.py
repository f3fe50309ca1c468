"""docs/blender.png: a mesh and Gaussians of one request, imported by the extension and rendered in Cycles on the CPU.

    PYTHON_WITH_BPY embed/tools/blender_picture.py EXTENSION.zip GEN3DEXPORT BUNDLE "a prompt" OUT.png

EXTENSION.zip is what `python embed/blender_zip.py` writes; GEN3DEXPORT the executable; BUNDLE of trellis-mini-color.
"""

from __future__ import annotations

import math
import sys

import bpy
from mathutils import Vector

ARCHIVE, EXECUTABLE, BUNDLE, PROMPT, OUT = sys.argv[1:]
PACKAGE = "bl_ext.user_default.gen3dexport"


def make(kind: str, place: float) -> None:
    """An asset by the panel's own operator, moved along x."""
    wish = bpy.context.scene.gen3dexport
    wish.bundle, wish.prompt, wish.kind = BUNDLE, PROMPT, kind
    if bpy.ops.gen3dexport.make() != {"FINISHED"}:
        raise SystemExit(f"{kind} was not made")
    bpy.context.view_layer.objects.active.location.x = place


bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
bpy.context.preferences.addons[PACKAGE].preferences.executable = EXECUTABLE
make("mesh", -0.55)
make("gaussians", 0.55)

scene = bpy.context.scene
scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 48
scene.cycles.transparent_max_bounces = 64
scene.render.resolution_x, scene.render.resolution_y = 900, 450
scene.view_settings.view_transform = "Standard"  # the colours as the asset has them
world = scene.world = bpy.data.worlds.new("world")
world.use_nodes = True
world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.85, 0.87, 0.9, 1)
sun = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
sun.data.energy, sun.data.angle, sun.rotation_euler = 2.0, 0.1, (math.radians(45), 0, math.radians(30))
camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
camera.location = (0.9, -3.2, 1.5)
camera.rotation_euler = (Vector((0, 0, -0.05)) - camera.location).to_track_quat("-Z", "Y").to_euler()
camera.data.lens = 58
for each in (sun, camera):
    scene.collection.objects.link(each)
scene.camera = camera
scene.render.filepath = OUT
bpy.ops.render.render(write_still=True)
