"""gen3dexport in Blender: a panel that makes assets with a bundle, in a process of its own, and imports them."""

from __future__ import annotations

import bpy

from . import operator, panel, preferences, properties

CLASSES = (preferences.Preferences, properties.Wish, operator.Make, operator.Cancel, panel.Panel)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for each in CLASSES:
        bpy.utils.register_class(each)
    bpy.types.Scene.gen3dexport = bpy.props.PointerProperty(type=properties.Wish)


def unregister() -> None:
    """Called by Blender when the extension is disabled; a run that is under way is stopped."""
    operator.stop()
    del bpy.types.Scene.gen3dexport
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
