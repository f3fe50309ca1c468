"""A bundle whose programs run in a process of their own: one that crashes its runtime ends that process alone.

A bundle's digests say that its bytes are those that were written, not that a vendor's runtime survives them. Here a
crash is a ProgramError, and the next call starts a process anew. It is no sandbox: the process has its user's rights.
"""

from __future__ import annotations

import json
import operator
import os
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.numpy import save_file

from gen3dexport.arrays import on_host
from gen3dexport.assets import kinds
from gen3dexport.assets.mesh import Mesh
from gen3dexport.bundle import golden
from gen3dexport.bundle.manifest import Manifest, read_manifest
from gen3dexport.children import Child
from gen3dexport.disk import scratch
from gen3dexport.errors import UsageError, VerificationError, of_kind
from gen3dexport.models.run_fields import with_run_fields
from gen3dexport.models.several_pictures import is_many, listed
from gen3dexport.runtime import child_end, isolated_child
from gen3dexport.runtime.pipeline import LoadedBundle, require_mesh

_LONGEST = 2**24  # characters of an answer: names, counts and warnings
_ENDING_S = 10.0  # a process that has closed its answers may still write its core


@dataclass(frozen=True)
class Answered:
    """How often an encoder ran, and how often its answer was in the cache of conditions."""

    calls: int
    cached: int


@dataclass
class _Opened:
    """The process of a bundle.

    Attributes:
        answers: what it answers; folder: where arrays lie, until `leaving` is closed; owner: this process.
    """

    child: Child
    answers: IO[str]
    folder: Path
    leaving: ExitStack
    owner: int


class IsolatedBundle:
    """A verified bundle whose programs another process loads and runs; see `load_isolated`.

    Attributes:
        folder: where the bundle lies; manifest: what it is; settings: the pipeline's.
        encoders: encoders that answer from the cache of conditions, by component, as of the last asset.
        load_seconds: that `load_programs` took so far.
    """

    def __init__(self, folder: Path, manifest: Manifest, conditions: Path | None) -> None:
        self._host = LoadedBundle(folder, manifest)
        self._host.check_settings()
        self.folder, self.manifest, self.settings = folder, manifest, self._host.settings
        self.encoders: dict[str, Answered] = {}
        self.load_seconds = 0.0
        self._conditions = conditions
        self._fields: dict[str, str] = {}
        self._opened: _Opened | None = None
        self._lock = threading.RLock()
        with self._lock:
            self._start()

    def replaced(self) -> bool:
        """Whether a build has put another bundle into the folder since this one was loaded."""
        return self._host.replaced()

    def change(self, values: Mapping[str, str]) -> None:
        """Set what the family lets an application change, by name (`on_overflow`).

        Raises:
            UsageError: for an unknown name, or a value that it does not take.
        """
        self.settings = with_run_fields(self.settings, values)
        self._fields |= values
        self._ask({"do": "change", "fields": dict(values)})

    def load_programs(self) -> None:
        """Load every component's program now, so that the first asset does not wait for it.

        Raises:
            GenExportError: as `LoadedBundle.load_programs`, and where the process ends.
        """
        start = time.perf_counter()
        self._ask({"do": "load_programs"})
        self.load_seconds += time.perf_counter() - start

    def generate(
        self,
        prompt: str = "",
        seed: int = 0,
        features: np.ndarray | None = None,
        image: str | Path | Any = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> Mesh:
        """Make the mesh of one asset; see `LoadedBundle.generate`.

        Raises:
            GenExportError: as there, and where the process ends.
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
        """Make one asset in every kind of this pipeline; see `LoadedBundle.generate_assets`.

        Raises:
            GenExportError: as there.
            ProgramError: when the process ends, by a crash or for want of memory.
            MissingError: when this processor lacks an instruction of a program.
        """
        from gen3dexport.models.image_preparation import read_image

        arrays = {} if features is None else {"features": np.asarray(features, np.float32, order="C")}
        if image is not None:
            many = is_many(image) or (isinstance(image, (str, Path)) and Path(image).is_dir())
            every = {f"image.{k}": one for k, one in enumerate(listed(image))} if many else {"image": image}
            arrays |= {name: np.asarray(read_image(one), order="C") for name, one in every.items()}
        if video is not None:
            arrays |= {f"video.{k}": np.asarray(read_image(one), order="C") for k, one in enumerate(video)}
        named = {f"inputs.{name}": np.asarray(on_host(value), order="C") for name, value in (inputs or {}).items()}
        asked = {"do": "make", "prompt": prompt, "seed": operator.index(seed), "rate": rate}
        with self._lock:
            folder = self._running().folder
            save_file({**arrays, **named}, folder / isolated_child.REQUEST)
            self._ask({**asked, "inputs": inputs is not None})
            found = golden.read_assets(folder / golden.ASSETS)[0]
        return {kind: kinds.of(kind).from_arrays(made) for kind, made in found.items()}

    def close(self) -> None:
        """End the process; a later call starts one anew."""
        with self._lock:
            if self._opened is not None:
                self._opened = None
                self._close()

    def __enter__(self) -> IsolatedBundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any]) -> None:
        """Have the process do something, in one that is started where there is none."""
        with self._lock:
            self._running()
            self._exchange(request)

    def _running(self) -> _Opened:
        """The process; it is started where there is none."""
        if self._opened is None:
            self._start()
        assert self._opened is not None
        return self._opened

    def _start(self) -> None:
        """Start a process, and have it open the bundle.

        It ends with this one, and its folder goes with it; what a killed process left goes with the next such folder.
        """
        with ExitStack() as stack:
            folder = stack.enter_context(scratch())  # where runtimes unpack programs, too
            take, give = os.pipe()
            answers = stack.enter_context(os.fdopen(take, encoding="utf-8", errors="replace"))
            bundle = str(self.folder.absolute())
            command = [sys.executable, "-P", "-m", isolated_child.__name__, bundle, str(give), str(folder)]
            try:  # a key of the terminal stops this process, which ends that one
                child = Child(command, {**os.environ, "TMPDIR": str(folder)}, pass_fds=(give,), start_new_session=True)
            finally:
                os.close(give)
            self._opened = _Opened(child, answers, folder, stack.pop_all(), os.getpid())
        self._close = weakref.finalize(self, _close, self._opened)
        conditions = None if self._conditions is None else str(self._conditions)
        try:
            digest = self._exchange({"do": "open", "conditions": conditions, "fields": self._fields})["digest"]
            if digest != self.manifest.digest:
                raise VerificationError(f"{self.folder}: the bundle was changed after it was loaded; load it again")
        except BaseException:
            self.close()
            raise

    def _exchange(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The process's answer to a request.

        Raises:
            GenExportError: the process's own, or how it ended.
        """
        opened = self._opened
        assert opened is not None and opened.child.process.stdin is not None
        if opened.owner != os.getpid():
            raise UsageError(f"{self.folder}: was loaded before this process was forked; load it in each worker")
        line = ""
        try:
            opened.child.process.stdin.write(json.dumps(request).encode() + b"\n")
            opened.child.process.stdin.flush()
            line = opened.answers.readline(_LONGEST)
        except BrokenPipeError:
            pass  # it has ended
        except BaseException:  # this process is to stop: nobody will read the answer
            self.close()
            raise
        if not line.endswith("\n"):
            self._opened = None
            self._close.detach()
            code = _ended(opened)
            raise child_end.told(str(self.folder), code, opened.child.said(), child_end.MAKING)
        answer: dict[str, Any] = json.loads(line)
        for text in answer["warnings"]:
            warnings.warn(text, stacklevel=4)
        if "error" in answer:
            raise of_kind(answer["error"], answer["message"])
        self.encoders = {name: Answered(*counts) for name, counts in answer["encoders"].items()}
        return answer


def _close(opened: _Opened) -> None:
    """End a process that this one started."""
    if opened.owner == os.getpid():
        opened.child.process.kill()
        _ended(opened)


def _ended(opened: _Opened) -> int:
    """The exit code of a process that has ended, or is about to; its pipes are closed and its folder goes."""
    process = opened.child.process
    assert process.stdin is not None
    with opened.leaving:
        with suppress(BrokenPipeError):  # of what it did not read
            process.stdin.close()
        try:
            return process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def load_isolated(folder: str | Path, conditions: str | Path | None = None) -> IsolatedBundle:
    """A bundle whose programs run in a process of their own, its digests checked there.

    Use it in a `with` block, or `close` it. Calls of several threads wait for each other.

    Args:
        conditions: a folder where encoders' answers are kept, as for `load`; None to run the encoder always.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when it was changed, is of a newer format, or says what its family does not take.
    """
    path = Path(folder)
    return IsolatedBundle(path, read_manifest(path), None if conditions is None else Path(conditions))
