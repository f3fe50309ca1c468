"""What is set once for the add-on."""

from __future__ import annotations

import bpy


class Preferences(bpy.types.AddonPreferences):
    """The executable, and its threads."""

    bl_idname = __package__

    executable: bpy.props.StringProperty(
        name="Executable",
        description="gen3dexport, the C++ tool gen3d, or a Python that has gen3dexport; empty: looked for on PATH",
        subtype="FILE_PATH",
    )
    threads: bpy.props.IntProperty(
        name="Threads", description="That run programs; 0 leaves it to the runtime", min=0, max=256
    )

    def draw(self, context: bpy.types.Context) -> None:
        """The form in Blender's preferences."""
        self.layout.prop(self, "executable")
        self.layout.prop(self, "threads")


def of(context: bpy.types.Context) -> Preferences:
    """This add-on's preferences."""
    return context.preferences.addons[__package__].preferences
