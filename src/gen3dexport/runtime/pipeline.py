"""A bundle's programs and pipeline, loaded and ready to make assets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gen3dexport import backends, bundle, models
from gen3dexport.assets import Mesh
from gen3dexport.backends import Program, ProgramRecord
from gen3dexport.bundle import Manifest
from gen3dexport.errors import UsageError
from gen3dexport.models import Request

State = dict[str, Any]


@dataclass
class LoadedBundle:
    """A verified bundle; programs are loaded when they are first needed.

    Attributes:
        folder: where the bundle lies; manifest: what it is.
        programs: what was loaded so far, by program name.
    """

    folder: Path
    manifest: Manifest
    programs: dict[str, Program] = field(default_factory=dict)

    @cached_property
    def pipeline(self) -> ModuleType:
        """The host side of the model family."""
        return models.pipeline(self.manifest.family)

    @cached_property
    def settings(self) -> Any:
        """The pipeline's settings."""
        return self.pipeline.Settings(**self.manifest.settings)

    def program(self, record: ProgramRecord) -> Program:
        """The loaded program of a record.

        Raises:
            MissingError: when this machine lacks its runtime or device.
            VerificationError: when the runtime refuses the file.
        """
        if record.name not in self.programs:
            backend = backends.find(self.manifest.target["backend"])
            self.programs[record.name] = backend.load(self.folder / "programs", record)
        return self.programs[record.name]

    def load_programs(self) -> None:
        """Load every component's program now, so that the first asset does not wait for it."""
        for name in self.manifest.components:
            self.program(self.manifest.component(name))

    def begin(self, request: Request, xp: Any) -> State:
        """The pipeline's first state for a request."""
        state: State = self.pipeline.begin(self.settings, request, self.folder / "host", xp)
        return state

    def run(
        self,
        request: Request,
        on_component: Callable[[str, Callable[[], State]], State] = lambda name, step: step(),
    ) -> State:
        """Run every component in order; the finished state.

        Args:
            on_component: called with each component's name and the step that runs it; returns that step's state.
        """
        records = [self.manifest.component(name) for name in self.manifest.components]
        state = self.begin(request, self.program(records[0]).xp)
        for record in records:
            program, before = self.program(record), state

            def step(record: ProgramRecord = record, program: Program = program, before: State = before) -> State:
                after: State = self.pipeline.advance(record.component, before, program, self.settings, program.xp)
                return after

            state = on_component(record.component, step)
        return state

    def generate(self, prompt: str = "", seed: int = 0, features: np.ndarray | None = None) -> Mesh:
        """Make the mesh of one asset.

        Raises:
            UsageError: for a prompt the model cannot take, or when this pipeline makes no mesh.
            AccuracyError: when nothing came out.
        """
        kinds = self.pipeline.asset_kinds(self.settings)
        if "mesh" not in kinds:
            raise UsageError(f"{self.folder}: makes {', '.join(kinds)}, no mesh; use generate_assets")
        mesh: Mesh = self.generate_assets(prompt, seed, features)["mesh"]
        return mesh

    def generate_assets(self, prompt: str = "", seed: int = 0, features: np.ndarray | None = None) -> dict[str, Any]:
        """Make one asset in every kind of this pipeline: Mesh, Gaussians, RadianceField by `mesh`, `gaussians`, ...

        Raises:
            UsageError: for a prompt the model cannot take.
            AccuracyError: when nothing came out.
        """
        made: dict[str, Any] = self.pipeline.make_assets(self.run(Request(prompt, seed, features)), self.settings)
        return made


def load(folder: str | Path, check_digests: bool = True) -> LoadedBundle:
    """A bundle, its digests checked before any byte reaches a vendor runtime.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when it was changed or is of a newer format.
    """
    path = Path(folder)
    return LoadedBundle(path, bundle.verify(path) if check_digests else bundle.read_manifest(path))


def to_numpy(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of any library on the host; waits for asynchronous devices."""
    return {name: np.asarray(a.float().cpu() if hasattr(a, "cpu") else a) for name, a in arrays.items()}
