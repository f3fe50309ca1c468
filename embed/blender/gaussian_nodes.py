"""How Gaussians are drawn: a modifier that makes a ball of each, and a material of their colours and opacities."""

from __future__ import annotations

import bpy

NAME = "gen3dexport Gaussians"


def show(made: bpy.types.Object) -> None:
    """Have an object's vertices drawn as balls of their `radius`, `Color` and `opacity`."""
    material = bpy.data.materials.get(NAME) or _material()
    made.data.materials.append(material)
    modifier = made.modifiers.new(NAME, "NODES")
    modifier.node_group = bpy.data.node_groups.get(NAME) or _group(material)


def _group(material: bpy.types.Material) -> bpy.types.NodeTree:
    """Vertices to points with the radius of each times a factor, and the material."""
    group = bpy.data.node_groups.new(NAME, "GeometryNodeTree")
    group.is_modifier = True
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    factor = group.interface.new_socket("Radii", in_out="INPUT", socket_type="NodeSocketFloat")
    factor.default_value, factor.min_value, factor.max_value = 1.5, 0.0, 10.0
    factor.description = "Standard deviations"
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    given, out = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    radius = group.nodes.new("GeometryNodeInputNamedAttribute")
    radius.data_type = "FLOAT"
    radius.inputs["Name"].default_value = "radius"
    times = group.nodes.new("ShaderNodeMath")
    times.operation = "MULTIPLY"
    points = group.nodes.new("GeometryNodeMeshToPoints")
    paint = group.nodes.new("GeometryNodeSetMaterial")
    paint.inputs["Material"].default_value = material
    for source, sink in (
        (given.outputs["Geometry"], points.inputs["Mesh"]),
        (radius.outputs["Attribute"], times.inputs[0]),
        (given.outputs["Radii"], times.inputs[1]),
        (times.outputs[0], points.inputs["Radius"]),
        (points.outputs["Points"], paint.inputs["Geometry"]),
        (paint.outputs["Geometry"], out.inputs["Geometry"]),
    ):
        group.links.new(source, sink)
    for place, node in enumerate((radius, given, times, points, paint, out)):
        node.location = 200 * place, 0
    return group


def _material() -> bpy.types.Material:
    """Colours that give light themselves, as Gaussians do, seen through by 1 - opacity."""
    material = bpy.data.materials.new(NAME)
    if material.node_tree is None:  # there from the start on from Blender 5.0
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    color = tree.nodes.new("ShaderNodeAttribute")
    color.attribute_name = "Color"
    opacity = tree.nodes.new("ShaderNodeAttribute")
    opacity.attribute_name = "opacity"
    light, clear = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeBsdfTransparent")
    mix, out = tree.nodes.new("ShaderNodeMixShader"), tree.nodes.new("ShaderNodeOutputMaterial")
    for source, sink in (
        (color.outputs["Color"], light.inputs["Color"]),
        (opacity.outputs["Fac"], mix.inputs["Fac"]),
        (clear.outputs["BSDF"], mix.inputs[1]),
        (light.outputs["Emission"], mix.inputs[2]),
        (mix.outputs["Shader"], out.inputs["Surface"]),
    ):
        tree.links.new(source, sink)
    for place, node in enumerate((opacity, color, clear, light, mix, out)):
        node.location = 200 * place, 0
    return material
