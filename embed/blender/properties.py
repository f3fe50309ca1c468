"""What the panel asks for; kept in the scene."""

from __future__ import annotations

import bpy

from .command import LARGEST_SEED, Request

KINDS = (
    ("mesh", "Mesh", "A mesh, or another surface that the bundle makes"),
    ("gaussians", "Gaussians", "3D Gaussians, as points with colour, radius and opacity"),
)
SOURCES = (("prompt", "Prompt", "Text says what to make"), ("image", "Picture", "A picture shows what to make"))


class Wish(bpy.types.PropertyGroup):
    """A bundle and a request."""

    bundle: bpy.props.StringProperty(
        name="Bundle", description="A folder that gen3dexport build made", subtype="DIR_PATH"
    )
    source: bpy.props.EnumProperty(name="From", items=SOURCES)
    prompt: bpy.props.StringProperty(name="Prompt", description="What to make")
    image: bpy.props.StringProperty(name="Picture", description="Of one thing", subtype="FILE_PATH")
    seed: bpy.props.IntProperty(name="Seed", description="The same seed makes the same asset", min=0, max=LARGEST_SEED)
    kind: bpy.props.EnumProperty(name="Kind", items=KINDS)
    fields: bpy.props.StringProperty(
        name="Fields",
        description="NAME=VALUE of what the bundle lets a run change, e.g. resolution=128; several with spaces",
    )
    largest_part: bpy.props.BoolProperty(
        name="Largest part alone", description="Leave out what hangs in the air beside the largest part"
    )
    replace: bpy.props.BoolProperty(
        name="Replace the last one", description="Remove the asset that was made before, once the next one is there"
    )

    def request(self) -> Request:
        """What is asked for."""
        by_prompt = self.source == "prompt"
        image = "" if by_prompt else bpy.path.abspath(self.image)
        fields = tuple(self.fields.split())
        largest_part = self.largest_part and self.kind == "mesh"
        return Request(self.prompt if by_prompt else "", image, self.seed, self.kind, fields, largest_part)
