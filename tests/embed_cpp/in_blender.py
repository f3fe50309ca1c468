"""Run by a Python that has bpy: installs the extension's .zip into Blender and does what a user does.

    python in_blender.py ZIP SETTINGS.json

SETTINGS: `tool` (gen3d), `bundle` (that it runs), `mesh` (a coloured .glb), `gaussians` (a .ply), `cli` (gen3dexport)
and `cli_bundle` where there are some. Writes what it found as JSON to standard output's last line.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import types
from pathlib import Path

import bpy
import numpy as np

ARCHIVE, SETTINGS = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
PACKAGE = "bl_ext.user_default.gen3dexport"


def run(**fields: object) -> tuple[set[str], str]:
    """Press Make, with fields of the panel set; what it gave, and the panel's line."""
    wish = bpy.context.scene.gen3dexport
    for name, value in fields.items():
        setattr(wish, name, value)
    return bpy.ops.gen3dexport.make(), operator.Run.message


def objects() -> dict[str, int]:
    """The scene's objects and their vertices."""
    return {o.name: len(o.data.vertices) for o in bpy.context.scene.objects if o.type == "MESH"}


def kinds() -> dict[str, int]:
    """How many of each kind of data there is."""
    return {name: len(getattr(bpy.data, name)) for name in ("objects", "meshes", "materials", "node_groups")}


def evaluated(made: bpy.types.Object) -> tuple[int, float]:
    """Points that the modifier shows, and their largest radius."""
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        if instance.object.type == "POINTCLOUD" and instance.object.name == made.name:
            shown = instance.object.data
            radii = np.zeros(len(shown.points), np.float32)
            shown.attributes["radius"].data.foreach_get("value", radii)
            return len(radii), float(radii.max())
    return 0, 0.0


class Layout:
    """Stands for a layout, which only a window has: every property and operator that is drawn must be there."""

    def __init__(self, drawn: list[str]) -> None:
        self.drawn = drawn

    def row(self, **_: object) -> Layout:
        return self

    column = row

    def prop(self, data: object, name: str, **_: object) -> None:
        self.drawn.append(data.bl_rna.properties[name].name)

    def operator(self, name: str, **_: object) -> None:
        room, _, own = name.partition(".")
        self.drawn.append(getattr(getattr(bpy.ops, room), own).get_rna_type().name)

    def label(self, text: str, icon: str) -> None:
        assert icon in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items
        self.drawn.append(text)

    def progress(self, factor: float, text: str, type: str) -> None:
        assert 0 <= factor <= 1 and bpy.types.UILayout.bl_rna.functions["progress"].parameters["type"]
        self.drawn.append(f"progress {text}")


def draw() -> list[str]:
    """What the panel shows."""
    drawn: list[str] = []
    panel = importlib.import_module(f"{PACKAGE}.panel").Panel
    system = types.SimpleNamespace(ui_scale=1.0)  # 0 where there is no window
    preferences, region = types.SimpleNamespace(system=system), types.SimpleNamespace(width=300)
    context = types.SimpleNamespace(scene=bpy.context.scene, region=region, preferences=preferences)
    panel.__dict__["draw"](types.SimpleNamespace(layout=Layout(drawn)), context)
    return drawn


class Ticked:
    """The operator's own functions under a timer that the test ticks: bpy has no window whose timer would."""

    _timer = None

    def report(self, kind: set[str], message: str) -> None:
        pass


def by_ticks() -> tuple[list[str], set[str]]:
    """An asset as in a window: what the panel shows on the way, and the answer at the end."""
    for name in ("_begin", "_finish", "_ended", "_forget", "modal"):
        setattr(Ticked, name, operator.Make.__dict__[name])
    made, shown = Ticked(), []
    made._begin(bpy.context)
    while True:
        shown += draw()
        answer = made.modal(bpy.context, types.SimpleNamespace(type="TIMER"))
        if answer != {"PASS_THROUGH"}:
            return shown, answer
        assert made.modal(bpy.context, types.SimpleNamespace(type="MOUSEMOVE")) == {"PASS_THROUGH"}
        time.sleep(0.01)


def rendered_saturation(shown: bpy.types.Object) -> float:
    """The strongest colour of a picture of an object, by Cycles: 0 where all of it is black or grey."""
    scene = bpy.context.scene
    for each in scene.objects:
        each.hide_render = each != shown
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.location, camera.rotation_euler = (0, -2.5, 0), (np.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 2
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.filepath = str(Path(SETTINGS["mesh"]).parent / "picture.png")
    bpy.ops.render.render(write_still=True)
    picture = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(picture.pixels[:]).reshape(-1, 4)[:, :3]
    bpy.data.objects.remove(camera)
    return float((pixels.max(1) - pixels.min(1)).max())


found: dict[str, object] = {"version": list(bpy.app.version)}
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
operator = importlib.import_module(f"{PACKAGE}.operator")
import_asset = importlib.import_module(f"{PACKAGE}.import_asset")
chosen = bpy.context.preferences.addons[PACKAGE].preferences
found["panel"] = hasattr(bpy.types, "VIEW3D_PT_gen3dexport")

# The C++ tool makes a mesh, by PATH; the next one joins it; the one after replaces both.
os.environ["PATH"] = f"{Path(SETTINGS['tool']).parent}{os.pathsep}{os.environ['PATH']}"
found["no bundle"] = run(prompt="a chair")[1]
first = run(bundle=SETTINGS["bundle"], prompt="a chair", seed=7)
found["first"] = [sorted(first[0]), first[1], objects()]
made = bpy.context.view_layer.objects.active
found["selected"] = [o.name for o in bpy.context.selected_objects]
found["mark"] = dict(made["gen3dexport"])
corners = np.array([list(v.co) for v in made.data.vertices])
found["first box"] = [corners.min(0).tolist(), corners.max(0).tolist()]
run(seed=8)
found["second"] = objects()
run(seed=9, replace=True)
found["replaced"] = objects()

found["drawn"] = draw()
shown, answer = by_ticks()
found["by ticks"] = [sorted(set(shown)), sorted(answer), len(objects())]

# What fails leaves the scene as it is.
before = kinds()
found["errors"] = {
    "no prompt": run(prompt="  ")[1],
    "no picture": run(source="image", image="/none.png")[1],
    "fields": run(source="prompt", prompt="a chair", fields="steps")[1],
    "no bundle there": run(fields="", bundle="/none")[1],
    "wrong file": run(bundle=str(Path(ARCHIVE).parent))[1],
}
chosen.executable = "/none/gen3d"
found["errors"]["no executable"] = run(bundle=SETTINGS["bundle"])[1]
chosen.executable = SETTINGS["tool"]
found["errors"]["gaussians by the C++ tool"] = run(kind="gaussians")[1]
chosen.executable = sys.executable
found["errors"]["a Python without it"] = run(kind="mesh")[1]
chosen.executable = ""
damaged = SETTINGS["damaged"]
found["errors"]["damaged"] = run(bundle=damaged)[1]


# Cancel ends the child; its folder goes.
def press_cancel() -> None:
    while operator.Run.job is None or operator.Run.job.progress is None:
        time.sleep(0.001)
    found["child"], found["folder"] = operator.Run.job._process.pid, str(operator.Run.job.folder)
    operator.Run.job.cancel()


thread = threading.Thread(target=press_cancel, daemon=True)
thread.start()
found["cancelled"] = [sorted(run(bundle=SETTINGS["bundle"])[0]), operator.Run.message]
thread.join(10)
found["kept"] = kinds() == before

# Colours, materials and Gaussians, from files that gen3dexport writes.
colored = import_asset.import_asset(Path(SETTINGS["mesh"]), "mesh", "colored")[0]
material = colored.data.materials[0]
shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
found["base color"] = shader.inputs["Base Color"].links[0].from_node.type
found["metallic"] = shader.inputs["Metallic"].default_value
attribute = colored.data.color_attributes[0]
colors = np.zeros(4 * len(attribute.data), np.float32)
attribute.data.foreach_get("color", colors)
found["mean color"] = colors.reshape(-1, 4).mean(0).tolist()
corners = np.array([list(colored.matrix_world @ v.co) for v in colored.data.vertices])
found["mesh box"] = [corners.min(0).tolist(), corners.max(0).tolist()]
points = import_asset.import_asset(Path(SETTINGS["gaussians"]), "gaussians", "points")[0]
corners = np.array([list(v.co) for v in points.data.vertices])
colors = np.array([list(c.color) for c in points.data.color_attributes["Color"].data])
found["points box"] = [corners.min(0).tolist(), corners.max(0).tolist()]
found["points colors"], found["shown"] = colors.mean(0).tolist(), evaluated(points)
found["rendered saturation"] = rendered_saturation(points)
before = kinds()
broken = Path(ARCHIVE).parent / "broken.glb"
broken.write_bytes(Path(SETTINGS["mesh"]).read_bytes()[:300])
for path, kind in ((broken, "mesh"), (Path(SETTINGS["mesh"]), "gaussians")):
    try:
        import_asset.import_asset(path, kind, "broken")
        found[f"broken {kind}"] = "imported"
    except import_asset.Refused as refused:
        found[f"broken {kind}"] = str(refused)
found["nothing left"] = kinds() == before

# gen3dexport itself, where a bundle of it was given: a coloured mesh and Gaussians.
if SETTINGS.get("cli_bundle"):
    chosen.executable = SETTINGS["cli"]
    by_cli = {}
    for kind in ("mesh", "gaussians"):
        wanted = {"bundle": SETTINGS["cli_bundle"], "prompt": SETTINGS["prompt"], "kind": kind}
        answer, message = run(**wanted, seed=0, replace=False)
        made = bpy.context.view_layer.objects.active
        colors = np.array([list(c.color) for c in made.data.color_attributes[0].data])
        corners = np.array([list(v.co) for v in made.data.vertices])
        box = [corners.min(0).tolist(), corners.max(0).tolist()]
        by_cli[kind] = [sorted(answer), message, len(made.data.vertices), box, colors.mean(0).tolist()]
    found["by cli"] = by_cli
    found["error of the cli"] = run(fields="steps=3", kind="mesh")[1]
if SETTINGS.get("saved"):
    bpy.ops.wm.save_as_mainfile(filepath=SETTINGS["saved"])
bpy.ops.preferences.addon_disable(module=PACKAGE)
found["disabled"] = not hasattr(bpy.types.Scene, "gen3dexport")
print(json.dumps(found), flush=True)
