"""A bundle's programs and pipeline, loaded and ready to make assets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from gen3dexport import backends, models
from gen3dexport.arrays import on_host
from gen3dexport.assets import kinds
from gen3dexport.assets.mesh import Mesh
from gen3dexport.backends import Program
from gen3dexport.bundle.files import change
from gen3dexport.bundle.manifest import Manifest, read_manifest, verify
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.bundle.report_files import MANIFEST
from gen3dexport.documents.record import told
from gen3dexport.errors import AccuracyError, GenExportError, ProgramError, UsageError, VerificationError
from gen3dexport.models import Family, Request
from gen3dexport.models.declaration import Declaration, State
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.runtime import forks
from gen3dexport.runtime.condition_cache import CachedProgram, ConditionCache, LastConditions


@dataclass
class LoadedBundle:
    """A verified bundle; programs are loaded when they are first needed.

    Attributes:
        folder: where the bundle lies; manifest: what it is.
        programs: what was loaded so far, by program name.
        conditions: where answers of encoders are kept; None to run them always.
        keep_programs: whether a program stays for the next asset; else it is dropped after its component.
        load_seconds: that loading programs took so far.
    """

    folder: Path
    manifest: Manifest
    programs: dict[str, Program] = field(default_factory=dict)
    conditions: ConditionCache | LastConditions | None = None
    keep_programs: bool = True
    load_seconds: float = 0.0

    @cached_property
    def family(self) -> Family:
        """The model family."""
        return models.find(self.manifest.family)

    @cached_property
    def settings(self) -> Any:
        """The pipeline's settings.

        Raises:
            VerificationError: when they are not what the family takes.
        """
        try:
            return self.family.Settings.model_validate_json(json.dumps(self.manifest.settings), strict=True)
        except ValidationError as error:
            raise self._not_the_family_s(told(error)) from error

    @cached_property
    def declared(self) -> dict[str, Declaration]:
        """The pipeline's components by name, in the order they run.

        Raises:
            VerificationError: when the settings make no pipeline, or that of other programs.
        """
        settings = self.settings
        try:
            declared = {d.name: d for d in self.family.components(settings)}
        except (LookupError, TypeError, ValueError, ArithmeticError, AssertionError, GenExportError) as error:
            raise self._not_the_family_s(f"{type(error).__name__}: {error}") from error
        made, programs = tuple(declared), self.manifest.components
        if made != programs:
            raise self._not_the_family_s(f"components {', '.join(made)}, and the programs are {', '.join(programs)}")
        for name, declaration in declared.items():
            record = self.manifest.component(name)
            for what, wanted, found in (
                ("inputs", declaration.inputs, record.inputs),
                ("outputs", declaration.outputs, record.outputs),
            ):
                if {*found} != {*wanted}:  # by name: JAX sorts a program's outputs
                    raise self._not_the_family_s(f"{name}: {what} {', '.join(wanted)}, not {', '.join(found)}")
        return declared

    def check_settings(self) -> None:
        """Check what the manifest says of the family, its settings and the backend, before anything runs.

        Raises:
            VerificationError: when they are unknown here, or do not fit each other and the programs.
        """
        try:
            family, backend = self.family, backends.find(self.manifest.target["backend"])
        except UsageError as error:
            raise VerificationError(
                f"{self.folder}: {error}; install the package that has it, or copy or build the bundle again"
            ) from error
        self._check("target.options", self.manifest.target["options"], backend.Options)
        knobs = self.manifest.recipe["knobs"]
        self._check("recipe.knobs", {} if knobs is None else knobs, family.Knobs)
        if (needs := backends.requires(backend)) is not None:
            for program in (*self.manifest.programs, *(u.program for u in self.manifest.unquantized.values())):
                self._check(f"program {program.name}: requires", program.requires, needs)
        _ = self.declared

    def _check(self, where: str, value: Any, model: type[BaseModel]) -> None:
        """Check a part of the manifest that a backend or family has the model of."""
        try:
            model.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise VerificationError(
                f"{self.folder / MANIFEST}: {where}: {told(error)}; copy or build the bundle again"
            ) from error

    def _not_the_family_s(self, reason: str) -> VerificationError:
        return VerificationError(
            f"{self.folder / MANIFEST}: settings: not what family {self.manifest.family!r} takes ({reason}); build the "
            "bundle again"
        )

    def check(self, *names: str) -> None:
        """Compare files with the manifest once more, at the moment when they are read.

        Args:
            names: relative to the bundle's folder.

        Raises:
            VerificationError: when one was changed since the bundle was loaded.
        """
        problems = [change(self.folder, name, self.manifest.files[name]) for name in names]
        if wrong := [problem for problem in problems if problem is not None]:
            raise VerificationError(
                f"{self.folder}: the bundle was changed after it was loaded; load it again:\n  " + "\n  ".join(wrong)
            )

    def replaced(self) -> bool:
        """Whether a build has put another bundle into the folder since this one was loaded."""
        try:
            return read_manifest(self.folder).digest != self.manifest.digest
        except GenExportError:
            return False  # there is none, or a damaged one

    def change(self, values: Mapping[str, str]) -> None:
        """Set what the family lets an application change, by name (`on_overflow`).

        Raises:
            UsageError: for an unknown name, or a value that it does not take.
        """
        self.settings = with_run_fields(self.settings, values)
        self.__dict__.pop("declared", None)

    def program(self, record: ProgramRecord) -> Program:
        """The loaded program of a record.

        Raises:
            MissingError: when this machine lacks its runtime or device.
            UsageError: when programs that do not survive a fork were loaded before this process was forked.
            VerificationError: when a file was changed since the bundle was loaded, or the runtime refuses it.
        """
        backend = backends.find(self.manifest.target["backend"])
        forks.check(self.folder, backend)
        if record.name not in self.programs:
            files, start = [f"programs/{name}" for name in record.files], time.perf_counter()
            self.check(*files)
            loaded = backend.load(self.folder / "programs", record)
            # Runtimes open files by their paths: a build that exchanged the folder after the check had them read the
            # program of another bundle. Its manifest is another one, so that no program need be read twice to see it.
            if self.replaced():
                self.check(*files)
            self.programs[record.name] = loaded
            self.load_seconds += time.perf_counter() - start
        return self.programs[record.name]

    def record(self, name: str) -> ProgramRecord:
        """The program that runs a component here: its twin on the device that this is for, else the component's own."""
        twin = self.manifest.twin(name)
        if twin is not None and backends.runs_here(backends.find(self.manifest.target["backend"]), twin):
            return twin
        return self.manifest.component(name)

    @cached_property
    def encoders(self) -> dict[str, CachedProgram]:
        """Encoders that answer from the cache of conditions, by component; none without one."""
        if self.conditions is None:
            return {}
        names = [name for name, declared in self.declared.items() if declared.cacheable]
        rest = [self.record(name) for name in self.manifest.components if name not in names]
        xp = self.program(min(rest, key=self._bytes)).xp
        found = {}
        for record in map(self.record, names):
            files = " ".join(self.manifest.files[f"programs/{file}"].sha256 for file in record.files)
            load: Callable[[], Program] = partial(self.program, record)
            found[record.component] = CachedProgram(record, files, self.conditions, load, xp, to_numpy)
        return found

    def _bytes(self, record: ProgramRecord) -> int:
        """Of a program's files."""
        return sum(self.manifest.files[f"programs/{name}"].bytes for name in record.files)

    def component(self, name: str) -> Program:
        """What runs a component: its program, or the cache of conditions before it.

        Raises:
            UsageError, MissingError, VerificationError: as `program` does.
        """
        forks.check(self.folder, backends.find(self.manifest.target["backend"]))
        return self.encoders.get(name) or self.program(self.record(name))

    def load_programs(self) -> None:
        """Load every component's program now, so that the first asset does not wait for it; encoders that answer from
        the cache are loaded when their answer is not there."""
        for name in self.manifest.components:
            self.component(name)

    def begin(self, request: Request, xp: Any) -> State:
        """The pipeline's first state for a request.

        Raises:
            UsageError: for a request that the pipeline cannot take.
            VerificationError: when a file that it reads was changed since the bundle was loaded.
        """
        files = [name for name in self.manifest.files if name.startswith("host/")]
        self.check(*files)
        state: State = self.family.begin(self.settings, request, self.folder / "host", xp)
        if files and self.replaced():
            self.check(*files)
        return state

    def run(
        self,
        request: Request,
        on_component: Callable[[str, Callable[[], State]], State] = lambda name, step: step(),
    ) -> State:
        """Run every component in order; the finished state.

        Args:
            on_component: called with each component's name and the step that runs it; returns that step's state.

        Raises:
            ProgramError: when a program fails in its runtime.
        """
        names = self.manifest.components
        state = self.begin(request, self.component(names[0]).xp)
        for name in names:
            program, before = self.component(name), state

            def step(name: str = name, program: Program = program, before: State = before) -> State:
                try:
                    return self.declared[name].advance(before, program, program.xp)
                except ProgramError as error:
                    raise ProgramError(f"{self.folder} (target {self.manifest.target['name']}): {error}") from error

            state = on_component(name, step)
            if not self.keep_programs:
                del program, step
                self.programs.pop(self.record(name).name, None)
        return state

    def output(self, name: str, state: State) -> np.ndarray:
        """What a component's sampler loop ends with, from the state after it."""
        loop = self.declared[name].loop
        assert loop is not None, f"{name} has no sampler loop"
        return np.asarray(loop.output(to_numpy(state)))

    def generate(
        self,
        prompt: str = "",
        seed: int = 0,
        features: np.ndarray | None = None,
        image: str | Path | Any = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Mesh:
        """Make the mesh of one asset.

        Args:
            inputs: arrays by name, where the model takes such.
            image: what to make it of, where the model takes an image: a file, an uint8 array [H, W, 3 or 4], or a
                Pillow image. Best with a transparent background; else one is cut out, which needs `rembg`.

        Raises:
            UsageError: for a prompt or an image that the model cannot take, or when this pipeline makes no mesh.
            AccuracyError: when nothing came out.
        """
        require_mesh(self.folder, self.settings.asset_kinds)
        mesh: Mesh = self.generate_assets(prompt, seed, features, image, inputs=inputs)["mesh"]
        return mesh

    def generate_assets(
        self,
        prompt: str = "",
        seed: int = 0,
        features: np.ndarray | None = None,
        image: str | Path | Any = None,
        video: Iterable[Any] | None = None,
        rate: float | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make one asset in every kind of this pipeline: Mesh, Gaussians, RadianceField by `mesh`, `gaussians`, ...

        Args:
            image: as of `generate`; several pictures as a list, an array or a folder, where the model takes those.
            video: a film's pictures in order, where the model is of films; rate: how many a second.

        Raises:
            UsageError: for a prompt or an image that the model cannot take.
            AccuracyError: when nothing came out.
        """
        request = Request(prompt, seed, features, image=image, video=video, rate=rate, inputs=inputs)
        made = self.family.make_assets(self.run(request), self.settings)
        for kind, asset in made.items():
            if (problem := kinds.of(kind).problem(asset)) is not None:
                raise AccuracyError(f"nothing was generated: {problem}; try another seed or another prompt")
        return made


def require_mesh(folder: Path, kinds_made: Sequence[str]) -> None:
    """Refuse to make a mesh alone with a bundle whose pipeline makes none, before it runs.

    Raises:
        UsageError: naming what it makes.
    """
    if "mesh" not in kinds_made:
        raise UsageError(f"{folder}: makes {', '.join(kinds_made)}, no mesh; use generate_assets")


def load(folder: str | Path, conditions: str | Path | None = None, remember: bool = True) -> LoadedBundle:
    """A bundle, its digests checked before any byte reaches a vendor runtime.

    Args:
        conditions: a folder where encoders' answers are kept, so that a prompt or image that was seen before needs no
            encoder (see `condition_cache`).
        remember: whether the last answers are kept in memory, where no folder is given: the empty prompt's is always
            the same. False runs the encoder always.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when it was changed, is of a newer format, or says what its family does not take.
    """
    loaded = verified(Path(folder), reports=False)
    if conditions is not None:
        loaded.conditions = ConditionCache(Path(conditions))
    elif remember:
        loaded.conditions = LastConditions()
    return loaded


def verified(folder: Path, reports: bool = True) -> LoadedBundle:
    """A bundle whose every file is as its manifest says, and whose manifest is what its family and backend take.

    Args:
        reports: whether the reports must be as they were written, too.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when anything of it is not as it was written, is of a newer format, or says what its family
            does not take.
    """
    loaded = LoadedBundle(folder, verify(folder, reports))
    loaded.check_settings()
    return loaded


def to_numpy(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of any library on the host; waits for asynchronous devices."""
    return {name: on_host(a) for name, a in arrays.items()}
