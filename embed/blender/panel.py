"""The panel in the 3D view's sidebar."""

from __future__ import annotations

import textwrap
from pathlib import Path

import bpy

from . import bundle
from .bundle import Bundle, Refused
from .operator import Run

_read: dict[str, tuple[float, Bundle | str]] = {}
"""By folder: when its manifest was written, and what it says or why not. A panel is drawn at each move of the mouse."""


def _bundle(folder: Path) -> Bundle | str:
    path = folder / "manifest.json"
    written = path.stat().st_mtime if path.is_file() else 0.0
    if str(folder) not in _read or _read[str(folder)][0] != written:
        try:
            _read[str(folder)] = written, bundle.read(folder)
        except Refused as refused:
            _read[str(folder)] = written, str(refused)
    return _read[str(folder)][1]


class Panel(bpy.types.Panel):
    """What to make, how far it is, and how it ended."""

    bl_idname = "VIEW3D_PT_gen3dexport"
    bl_label = "gen3dexport"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "gen3dexport"

    def draw(self, context: bpy.types.Context) -> None:
        """The form."""
        layout, wish = self.layout, context.scene.gen3dexport
        letters = max(20, int(context.region.width / (7 * context.preferences.system.ui_scale)))
        layout.use_property_split = True
        layout.use_property_decorate = False
        form = layout.column()
        form.enabled = Run.job is None
        form.prop(wish, "bundle")
        if wish.bundle:
            found = _bundle(Path(bpy.path.abspath(wish.bundle)))
            if isinstance(found, str):
                _text(form, found, letters, "ERROR")
            else:
                steps = f", {found.steps} steps" if found.steps else ""
                _text(form, f"{found.name} for {found.target}{steps}", letters, "INFO")
        form.row().prop(wish, "source", expand=True)
        form.prop(wish, "prompt" if wish.source == "prompt" else "image")
        form.prop(wish, "seed")
        form.row().prop(wish, "kind", expand=True)
        if wish.kind == "mesh":
            form.prop(wish, "largest_part")
        form.prop(wish, "fields")
        form.prop(wish, "replace")
        if Run.job is None:
            layout.operator("gen3dexport.make", icon="PLAY")
        else:
            told = f"{Run.job.doing}, {Run.job.seconds:.0f} s"
            layout.progress(factor=Run.job.progress or 0.0, text=told, type="BAR")
            layout.operator("gen3dexport.cancel", icon="CANCEL")
        if Run.message:
            _text(layout, Run.message, letters, "ERROR" if Run.failed else "CHECKMARK")


def _text(layout: bpy.types.UILayout, text: str, letters: int, icon: str) -> None:
    """A message, over as many labels as the sidebar's width needs: Blender cuts a label that is too long."""
    column = layout.column(align=True)
    for number, line in enumerate(textwrap.wrap(text, letters) or [""]):
        column.label(text=line, icon=icon if number == 0 else "BLANK1")
