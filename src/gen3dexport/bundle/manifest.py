"""Bundles on disk: manifest, digests, verification and atomic writing. No torch.

BUNDLE/
  manifest.json            what this is, how it was made, every file's digest
  programs/                programs and their weights
  baseline/                unquantized programs that `budgets.allow_slowdown` times quantized ones against
  host/                    what the host's steps read (tokenizer, ...)
  golden/NAME.safetensors  calls of a component: inputs, float32 and quantized outputs; likewise NAME.trajectory and
                           NAME.sampler where the component is a sampler's network
  golden/assets.safetensors      `0.logits`, ...: the float32 eager model's result for each golden prompt
  report.json, .md, .html, junit.xml   written by validate; not part of the digests
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.record import Record
from gen3dexport.errors import UsageError, VerificationError

SCHEMA = 2
BASELINE = "baseline"
"""Folder of the unquantized programs that a budget compares with; they are no part of the bundle's programs."""
REPORTS = ("report.json", "report.md", "report.html", "junit.xml")


class File(Record):
    """Size and SHA-256 of a file of the bundle."""

    bytes: int
    sha256: str


class Unquantized(Record):
    """The unquantized program of a component, which budgets compare with.

    Attributes:
        program: what is needed to load and call it. Its files lie in the bundle's folder `baseline`, where a budget
            limits the slowdown; else the bundle has none of them.
        bytes: size of its files.
    """

    program: ProgramRecord
    bytes: int


class Manifest(Record):
    """What a bundle is; version 1 of the format (2026-11).

    Attributes:
        recipe, target: as they were resolved, whole.
        family: the model family; settings: its pipeline's settings.
        programs: every program, in pipeline order, with what is needed to load and call it.
        parameters: number of parameters by component; calls: how often one asset calls it.
        versions: packages that built it; host: what the building machine was.
        random_weights: True when the weights mean nothing.
        unquantized: the unquantized program of each quantized component, where a budget compares with it.
        files: every file but the manifest and the reports, by path relative to the bundle.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    recipe: dict[str, Any]
    target: dict[str, Any]
    family: str
    settings: dict[str, Any]
    programs: tuple[ProgramRecord, ...]
    parameters: dict[str, int]
    calls: dict[str, int]
    versions: dict[str, str]
    host: dict[str, str]
    random_weights: bool = False
    unquantized: dict[str, Unquantized] = {}
    files: dict[str, File]

    def component(self, name: str) -> ProgramRecord:
        """The program that is the component itself (not its sampler loop or twin)."""
        return next(p for p in self.programs if p.component == name and p.role == "component")

    def twin(self, name: str) -> ProgramRecord | None:
        """The form of the component's program for its device alone, which the device runs; None without one."""
        return next((p for p in self.programs if p.component == name and p.role == "twin"), None)

    @property
    def components(self) -> tuple[str, ...]:
        """Names of the components in pipeline order."""
        return tuple(p.component for p in self.programs if p.role == "component")

    def has_baseline(self, unquantized: Unquantized) -> bool:
        """Whether the files of an unquantized program are in the bundle."""
        return all(f"{BASELINE}/{name}" in self.files for name in unquantized.program.files)

    def bytes_of(self, program: ProgramRecord) -> int:
        """Size of a program's files."""
        return sum(self.files[f"programs/{name}"].bytes for name in program.files)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when the manifest is damaged or of another format.
    """
    path = bundle / "manifest.json"
    if not path.is_file():
        raise UsageError(f"{bundle}: not a bundle (no manifest.json); build one with: gen3dexport build -o {bundle}")
    try:
        data = json.loads(path.read_text())
        version = data["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError(f"{path}: damaged ({error!r}); build the bundle again") from error
    if version != SCHEMA:
        remedy = "build the bundle again" if version in range(SCHEMA) else "upgrade gen3dexport"
        raise VerificationError(f"{path}: format {version!r}, and this gen3dexport reads {SCHEMA}; {remedy}")
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise VerificationError(f"{path}: damaged: {error}") from error


def verify(bundle: Path) -> Manifest:
    """The manifest of a bundle whose every file has its size and digest; nothing else is parsed.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: with every file that is missing, changed or not in it.
    """
    manifest = read_manifest(bundle)
    problems = []
    for name, listed in manifest.files.items():
        path = bundle / name
        if not path.resolve().is_relative_to(bundle.resolve()):
            problems.append(f"{name}: lies outside the bundle")
        elif not path.is_file():
            problems.append(f"{name}: missing")
        elif path.stat().st_size != listed.bytes:
            problems.append(f"{name}: {path.stat().st_size} bytes, the manifest says {listed.bytes}")
        elif digest(path) != listed.sha256:
            problems.append(f"{name}: SHA-256 differs from the manifest's")
    problems += [f"{name}: not in the manifest" for name in sorted(_files(bundle) - manifest.files.keys())]
    if problems:
        raise VerificationError(
            f"{bundle}: the bundle was changed or damaged; copy or build it again:\n  " + "\n  ".join(problems)
        )
    return manifest


def _files(bundle: Path) -> set[str]:
    found = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    return found - {"manifest.json", *REPORTS}


def write_manifest(bundle: Path, fields: Mapping[str, Any]) -> Manifest:
    """Record every file of `bundle` and write its manifest."""
    for name in _files(bundle):
        (bundle / name).chmod(0o644)  # some writers make private files
    files = {n: File(bytes=(bundle / n).stat().st_size, sha256=digest(bundle / n)) for n in sorted(_files(bundle))}
    manifest = Manifest(**fields, files=files)
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True), indent=1)
    (bundle / "manifest.json").write_text(text + "\n")
    return manifest
