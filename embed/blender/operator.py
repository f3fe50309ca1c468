"""Making an asset: a process beside Blender, watched by a timer; the asset is imported when it is there."""

from __future__ import annotations

import atexit
import time
from pathlib import Path

import bpy

from . import bundle, command, import_asset, preferences
from .bundle import Refused
from .job import Job

PERIOD_S = 0.2
MARK = "gen3dexport"
"""Custom property of imported objects: the request that they were made of."""


class Run:
    """The run that is under way, and how the last one ended. One at a time.

    Attributes:
        job: the process; None when nothing runs.
        message: how the last run ended, in one line.
        failed: whether that is an error.
    """

    job: Job | None = None
    message = ""
    failed = False


def stop() -> None:
    """End what runs, at once."""
    if Run.job is not None:
        Run.job.close()
        Run.job = None


atexit.register(stop)


class Make(bpy.types.Operator):
    """Make an asset with the bundle, in a process of its own, and import it"""

    bl_idname = "gen3dexport.make"
    bl_label = "Make"

    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One run at a time, and objects can be added."""
        return Run.job is None and context.mode == "OBJECT"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start. Without a window, where no timer ticks, wait for the end."""
        try:
            self._begin(context)
        except Refused as refused:
            return self._ended(context, str(refused), failed=True)
        if bpy.app.background:
            while Run.job is not None and Run.job.running():
                time.sleep(PERIOD_S)
            return self._finish(context)
        manager = context.window_manager
        self._timer = manager.event_timer_add(PERIOD_S, window=context.window)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """On each tick show how far it is; Blender stays usable."""
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if Run.job is not None and Run.job.running():
            _redraw(context)
            return {"PASS_THROUGH"}
        return self._finish(context)

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender takes the operator away: another file is opened, or it quits."""
        self._forget(context)
        stop()

    def _begin(self, context: bpy.types.Context) -> None:
        wish, chosen = context.scene.gen3dexport, preferences.of(context)
        request = wish.request()
        request.check()
        if not wish.bundle:
            raise Refused("no bundle: choose a folder that gen3dexport build made")
        found = bundle.read(Path(bpy.path.abspath(wish.bundle)))
        start = command.executable(bpy.path.abspath(chosen.executable), found, request)
        self._name, self._request, self._replace = found.name, request, wish.replace
        Run.job, Run.message, Run.failed = Job(), "", False
        try:
            words = command.words(start, found, request, Run.job.folder, chosen.threads)
            Run.job.start(words, chosen.threads)
        except Refused:
            stop()
            raise

    def _finish(self, context: bpy.types.Context) -> set[str]:
        """Import what was made; what was there before stays when that fails."""
        self._forget(context)
        job, Run.job = Run.job, None
        if job is None:
            return self._ended(context, "cancelled", failed=True)
        try:
            told = job.result()
            before = [each for each in context.scene.objects if MARK in each]
            name = " ".join((self._request.prompt or Path(self._request.image).stem).split()[:5])
            made = import_asset.import_asset(job.folder / self._request.file, self._request.kind, name[:40])
        except Refused as refused:
            return self._ended(context, str(refused), failed=True)
        finally:
            job.close()
        for each in made:
            each[MARK] = {"bundle": self._name, "prompt": self._request.prompt, "seed": self._request.seed}
        if self._replace:
            for each in before:
                bpy.data.objects.remove(each)
        bpy.ops.ed.undo_push(message="Make an asset")
        counts = ", ".join(
            f"{told['assets'][0][key]:,} {key}"
            for key in ("vertices", "faces", "gaussians")
            if key in told["assets"][0]
        )
        return self._ended(context, f"{counts} in {job.seconds:.1f} s", failed=False)

    def _ended(self, context: bpy.types.Context, message: str, failed: bool) -> set[str]:
        Run.message, Run.failed = message, failed
        self.report({"WARNING" if failed else "INFO"}, message)
        _redraw(context)
        return {"CANCELLED"} if failed else {"FINISHED"}

    def _forget(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None


class Cancel(bpy.types.Operator):
    """End the process; what is in the scene stays"""

    bl_idname = "gen3dexport.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """While one runs."""
        return Run.job is not None and not Run.job.cancelled

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask it to end; the timer sees when it has."""
        assert Run.job is not None
        Run.job.cancel()
        return {"FINISHED"}


def _redraw(context: bpy.types.Context) -> None:
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
