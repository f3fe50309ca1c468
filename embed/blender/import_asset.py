"""An asset's file as objects of the scene, all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy

from . import gaussian_nodes, gaussian_ply
from .bundle import Refused
from .job import one_line

_PLACES = ("objects", "meshes", "materials", "images", "node_groups", "collections")


def import_asset(path: Path, kind: str, name: str) -> list[bpy.types.Object]:
    """New objects of the scene, selected, the first one active.

    Raises:
        Refused: when the file cannot be imported; nothing is left of it.
    """
    with _undone_on_failure():
        objects = _gaussians(path, name) if kind == "gaussians" else _glb(path, name)
        _select(objects)
    return objects


@contextmanager
def _undone_on_failure() -> Any:
    """Take away what was added when something goes wrong."""
    before = {place: {each.name_full for each in getattr(bpy.data, place)} for place in _PLACES}
    try:
        yield
    except Exception as error:
        for place, names in before.items():
            held = getattr(bpy.data, place)
            for each in [each for each in held if each.name_full not in names]:
                held.remove(each)
        if isinstance(error, Refused):
            raise
        raise Refused(f"the asset cannot be imported: {one_line(str(error))}") from error


def _glb(path: Path, name: str) -> list[bpy.types.Object]:
    """By Blender's importer: it turns y up to z up."""
    before = set(bpy.data.objects)
    try:
        done = bpy.ops.import_scene.gltf(filepath=str(path))
    except AttributeError as error:
        raise Refused("Blender's add-on glTF 2.0 is off; enable it in the preferences") from error
    made = [each for each in bpy.data.objects if each not in before]
    if done != {"FINISHED"} or not made:
        raise Refused("the asset cannot be imported: Blender's importer made no object of it")
    for each in made:
        if each.type == "MESH":
            each.name = each.data.name = name
            for material in each.data.materials:
                _show_colors(each.data, material)
    return made


def _show_colors(mesh: bpy.types.Mesh, material: bpy.types.Material) -> None:
    """The mesh's colours as the material's, where the importer has left the colour free."""
    if not mesh.color_attributes or material is None or material.node_tree is None:
        return
    tree = material.node_tree
    for node in [node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"]:
        if not node.inputs["Base Color"].is_linked:
            colors = tree.nodes.new("ShaderNodeVertexColor")
            colors.layer_name = mesh.color_attributes[0].name
            colors.location = node.location.x - 220, node.location.y
            tree.links.new(colors.outputs["Color"], node.inputs["Base Color"])


def _gaussians(path: Path, name: str) -> list[bpy.types.Object]:
    """Vertices with colour, opacity, radius, scale and rotation; a modifier shows them as balls."""
    found = gaussian_ply.read(path)
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(found.positions))
    mesh.vertices.foreach_set("co", found.positions.ravel())
    colors = mesh.color_attributes.new("Color", "FLOAT_COLOR", "POINT")  # Cycles has `color` for itself
    opaque = found.opacities[:, None]
    colors.data.foreach_set("color", gaussian_ply.np.concatenate([found.colors, opaque], axis=1).ravel())
    for attribute, values, kind, field in (
        ("radius", found.radii, "FLOAT", "value"),
        ("opacity", found.opacities, "FLOAT", "value"),
        ("scale", found.scales, "FLOAT_VECTOR", "vector"),
        ("rotation", found.rotations, "QUATERNION", "value"),
    ):
        mesh.attributes.new(attribute, kind, "POINT").data.foreach_set(field, values.ravel())
    mesh.update()
    made = bpy.data.objects.new(name, mesh)
    bpy.context.collection.objects.link(made)
    gaussian_nodes.show(made)
    return [made]


def _select(objects: Sequence[bpy.types.Object]) -> None:
    """Select them alone, and make the first one active."""
    for each in bpy.context.view_layer.objects:
        each.select_set(False)
    for each in objects:
        each.select_set(True)
    bpy.context.view_layer.objects.active = objects[0]
