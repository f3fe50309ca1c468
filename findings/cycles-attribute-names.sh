#!/usr/bin/env bash
# Cycles renders a colour attribute black when its name is `color`, `uv` or `velocity`; `Color` and `opacity` are right.
#
# Cycles looks a name of the Attribute node up among attributes of its own (a volume's colour, texture coordinates,
# motion) before it looks at what the user stored. A mesh or a cloud of splats whose colours are an attribute `color`
# reads back right in every script, and is black in the render, without a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3.11}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check bpy==5.0.1 numpy==1.26.4 2>log || { tail -5 log; exit 1; }

cat >look.py <<'PY'
import sys

import bpy
import numpy as np

NAMES = ("Color", "color", "opacity", "uv", "velocity")


def shown(name):
    """What the middle pixel of a lit-up square has whose vertices hold a colour of this name; and what reads back."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    mesh = bpy.data.meshes.new("square")
    mesh.from_pydata([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], [], [(0, 1, 2, 3)])
    colors = mesh.color_attributes.new(name, "FLOAT_COLOR", "POINT")
    for item in colors.data:
        item.color = (1, 0.5, 0.25, 1)
    material = bpy.data.materials.new("glow")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    read, glow, end = (nodes.new(f"ShaderNode{kind}") for kind in ("Attribute", "Emission", "OutputMaterial"))
    read.attribute_name = name
    links.new(read.outputs["Color"], glow.inputs["Color"])
    links.new(glow.outputs[0], end.inputs["Surface"])
    mesh.materials.append(material)
    scene.collection.objects.link(bpy.data.objects.new("square", mesh))
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.camera.location, scene.camera.data.type, scene.camera.data.ortho_scale = (0, 0, 5), "ORTHO", 0.5
    scene.collection.objects.link(scene.camera)
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.filepath = f"{sys.argv[1]}/out.exr"
    bpy.ops.render.render(write_still=True)
    pixels = np.array(bpy.data.images.load(scene.render.filepath).pixels).reshape(8, 8, 4)[4, 4]
    return ["coloured" if pixels[0] > 0.9 and abs(pixels[1] - 0.5) < 0.05 else f"black ({pixels[:3].max():.0f})",
            " ".join(f"{v:.2f}" for v in colors.data[0].color[:3])]


with open(f"{sys.argv[1]}/seen", "w") as file:
    print(f"bpy {bpy.app.version_string}, Cycles", file=file)
    for name in NAMES:
        render, stored = shown(name)
        print(f"{name}: stored {stored}, rendered {render}", file=file)
PY
env/bin/python look.py "$work" >log 2>&1 || { tail -5 log; exit 1; }

cat >expected <<'TXT'
bpy 5.0.1, Cycles
Color: stored 1.00 0.50 0.25, rendered coloured
color: stored 1.00 0.50 0.25, rendered black (0)
opacity: stored 1.00 0.50 0.25, rendered coloured
uv: stored 1.00 0.50 0.25, rendered black (0)
velocity: stored 1.00 0.50 0.25, rendered black (0)
TXT
cat seen
diff -u expected seen || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
