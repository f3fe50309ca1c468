"""Bundles on disk: manifest, digests, verification and atomic writing. No torch.

BUNDLE/
  manifest.json            what this is, how it was made, every file's digest, and its own
  programs/                programs and their weights
  baseline/                unquantized programs that `budgets.allow_slowdown` times quantized ones against
  host/                    what the host's steps read (tokenizer, ...)
  golden/NAME.safetensors  calls of a component: inputs, float32 and quantized outputs; likewise NAME.trajectory and
                           NAME.sampler where the component is a sampler's network
  golden/assets.safetensors      `0.logits`, ...: the float32 eager model's result for each golden prompt
  NOTICES.txt              licences of what is in it
  report.json, .md, .html, junit.xml, reports.sha256   written by validate, with digests of their own (`report_files`)
  model.sig                written by sign, over the manifest and every file that it lists (`signatures`)
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from gen3dexport.bundle import fitting
from gen3dexport.bundle.drafts import recover
from gen3dexport.bundle.files import File, FileName, change, file_of, found_in
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.bundle.report_files import BESIDE_MANIFEST, MANIFEST, changed_reports
from gen3dexport.documents import plain
from gen3dexport.documents.host_steps import HostSteps
from gen3dexport.documents.licences import Licences
from gen3dexport.documents.recipe import Recipe
from gen3dexport.documents.record import Record, told
from gen3dexport.documents.target import Target
from gen3dexport.errors import UsageError, VerificationError

SCHEMA = 2
BASELINE = "baseline"
"""Folder of the unquantized programs that a budget compares with; they are no part of the bundle's programs."""

_Package = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]
_Version = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class Unquantized(Record):
    """The unquantized program of a component, which budgets compare with.

    Attributes:
        program: what is needed to load and call it. Its files lie in the bundle's folder `baseline`, where a budget
            limits the slowdown; else the bundle has none of them.
        bytes: size of its files.
    """

    program: ProgramRecord
    bytes: int = Field(ge=0)


class Manifest(Record):
    """What a bundle is; version 2 of the format.

    Attributes:
        recipe, target: as they were resolved, whole.
        family: the model family; settings: its pipeline's settings, which the family checks.
        programs: every program, in pipeline order, with what is needed to load and call it.
        parameters: number of parameters by component; calls: how often one asset calls it.
        versions: packages that built it; host: what the building machine was.
        random_weights: True when the weights mean nothing.
        unquantized: the unquantized program of each quantized component, where a budget compares with it.
        host_steps: what an application does between the programs, as data (docs/host-steps.md); None where the family
            declares nothing.
        weights: SHA-256 of each component's checkpoint files by their name; without components whose weights are random
            or come with a package, which `versions` has.
        files: every file but the manifest, the reports and the signature, by path relative to the bundle.
        digest: SHA-256 of the rest, see `own_digest`.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    recipe: dict[str, Any]
    target: dict[str, Any]
    family: str
    settings: dict[str, Any]
    programs: tuple[ProgramRecord, ...] = Field(min_length=1)
    parameters: dict[str, int]
    calls: dict[str, int]
    versions: dict[_Package, _Version]
    host: dict[str, str]
    random_weights: bool = False
    unquantized: dict[str, Unquantized] = {}
    host_steps: HostSteps | None = None
    weights: dict[str, dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]] = {}
    files: dict[FileName, File]
    digest: str = ""

    @field_validator("recipe", "target")
    @classmethod
    def _documents_are_whole(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        model = Recipe if info.field_name == "recipe" else Target
        try:
            whole = model.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            raise ValueError(told(error)) from error
        return whole.model_dump(mode="json", by_alias=True)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        """Every name that one part has of another is there, and every file that is read is listed."""
        names, components = [p.name for p in self.programs], set(self.components)
        problems = [f"program {name}: twice" for name in sorted({n for n in names if names.count(n) > 1})]
        if len(self.components) != len(components):
            problems.append("a component has two programs of the role `component`")
        for program in self.programs:
            wanted = [f"programs/{name}" for name in program.files]
            if program.component not in components:
                problems.append(f"program {program.name}: of component {program.component!r}, which has no program")
            if program.role == "sampler":
                wanted.append(f"golden/{program.component}.sampler.safetensors")
            problems += [f"program {program.name}: {file!r} is no key of files" for file in self._unlisted(wanted)]
        golden = [f"golden/{component}.safetensors" for component in self.components]
        problems += [f"{file!r} is no key of files" for file in self._unlisted(golden)]
        for field in ("parameters", "calls"):
            counts: dict[str, int] = getattr(self, field)
            if set(counts) != components or any(count < 0 for count in counts.values()):
                problems.append(f"{field}: needs a number from 0 on for each of {', '.join(self.components)}")
        for name, unquantized in self.unquantized.items():
            baseline = [f"{BASELINE}/{file}" for file in unquantized.program.files]
            if name not in components:
                problems.append(f"unquantized.{name}: no such component")
            if 0 < len(self._unlisted(baseline)) < len(baseline):
                problems.append(f"unquantized.{name}: only some of its files are keys of files")
        if self.host_steps is not None:
            problems += fitting.problems(self.host_steps, self.programs, self.files)
        problems += [f"weights.{name}: no such component" for name in self.weights if name not in components]
        if self.family != self.recipe["family"]:
            problems.append(f"family: {self.family!r}, and the recipe's is {self.recipe['family']!r}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _unlisted(self, files: list[str]) -> list[str]:
        return [file for file in files if file not in self.files]

    def component(self, name: str) -> ProgramRecord:
        """The program that is the component itself (not its sampler loop or twin)."""
        return next(p for p in self.programs if p.component == name and p.role == "component")

    def twin(self, name: str) -> ProgramRecord | None:
        """The form of the component's program for its device alone, which the device runs; None without one."""
        return next((p for p in self.programs if p.component == name and p.role == "twin"), None)

    @property
    def licences(self) -> Licences:
        """Under which terms the model is used, as its recipe says."""
        return Licences.model_validate(self.recipe["licences"])

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


def own_digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's JSON without its field `digest`: no spaces, ASCII, keys in their order, which counts (a
    program takes its inputs in theirs)."""
    rest = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(rest, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle, as it was written: every value is checked, and the digest of the whole.

    A bundle that a killed build had moved aside is put back first.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: when the manifest is missing, damaged or of another format.
    """
    recover(bundle)
    path = bundle / MANIFEST
    _require_file(path)
    try:
        text = path.read_bytes().decode("utf-8")  # line ends count too
        data = json.loads(text, parse_constant=_no_number)
        version = data["schema"]
        as_written, own = text == _text(data), own_digest(data)
        if type(version) is not int:
            raise TypeError(f"schema {version!r}")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise VerificationError(f"{path}: damaged ({error!r}); copy or build the bundle again") from error
    if version != SCHEMA:
        remedy = "build the bundle again" if version < SCHEMA else "upgrade gen3dexport"
        raise VerificationError(f"{path}: format {version!r}, and this gen3dexport reads {SCHEMA}; {remedy}")
    if found := plain.problems(data):
        raise VerificationError(f"{path}: damaged: {_listed(found)}; copy or build the bundle again")
    try:
        manifest = Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        newer = any(e["type"] == "union_tag_invalid" and e["loc"][:1] == ("host_steps",) for e in error.errors())
        remedy = "upgrade gen3dexport, which may know them, or build" if newer else "copy or build"
        raise VerificationError(f"{path}: damaged: {told(error)}; {remedy} the bundle again") from error
    if manifest.digest != own or not as_written:
        raise VerificationError(
            f"{path}: was changed after it was written (its own SHA-256 differs); copy or build the bundle again"
        )
    return manifest


def _require_file(path: Path) -> None:
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        if (path.parent / "programs").is_dir():
            raise VerificationError(
                f"{path}: missing, so nothing in this bundle can be trusted; copy or build it again"
            ) from None
        raise UsageError(
            f"{path.parent}: not a bundle (no {MANIFEST}); build one with: gen3dexport build -o {path.parent}"
        ) from None
    if not regular:
        raise VerificationError(f"{path}: a link or no file at all; copy or build the bundle again")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def verify(bundle: Path, reports: bool = True) -> Manifest:
    """The manifest of a bundle whose every file has its size and digest; nothing else is parsed.

    Args:
        reports: whether the reports must be as they were written too; nothing but people reads them.

    Raises:
        UsageError: when the folder is not a bundle.
        VerificationError: with every file that is missing, changed, a link, a pipe or not in the manifest.
    """
    manifest = read_manifest(bundle)
    while wrong := _wrong(bundle, manifest, reports):
        again = read_manifest(bundle)
        if again.digest == manifest.digest:
            raise VerificationError(
                f"{bundle}: the bundle was changed or damaged; copy or build it again:\n  " + "\n  ".join(wrong)
            )
        manifest = again  # a build has put another bundle here meanwhile
    return manifest


def _wrong(bundle: Path, manifest: Manifest, reports: bool) -> list[str]:
    problems = [change(bundle, name, listed) for name, listed in manifest.files.items()]
    for name, mode in sorted(found_in(bundle)):
        if name in manifest.files or (name in (MANIFEST, *BESIDE_MANIFEST) and stat.S_ISREG(mode)):
            continue
        problems.append(f"{name}: {_what(mode)}not in the manifest")
    problems += changed_reports(bundle) if reports else []
    return [problem for problem in problems if problem is not None]


def _what(mode: int) -> str:
    """What stands there, when it is no regular file."""
    kinds = {stat.S_IFLNK: "a link, ", stat.S_IFIFO: "a pipe, ", stat.S_IFSOCK: "a socket, ", stat.S_IFREG: ""}
    return kinds.get(stat.S_IFMT(mode), "a device, ")


def write_manifest(bundle: Path, fields: Mapping[str, Any]) -> Manifest:
    """Record every file of `bundle` and write its manifest.

    Raises:
        ValidationError: when the fields are no manifest, which is an error of this package or of a plug-in.
        VerificationError: when they hold what no manifest may, so that nobody could read it.
    """
    names = sorted(name for name, _ in found_in(bundle))
    for name in names:
        (bundle / name).chmod(0o644)  # some writers make private files
    manifest = Manifest(**fields, files={name: file_of(bundle / name) for name in names})
    data = manifest.model_dump(mode="json", by_alias=True)
    if found := plain.problems(data):
        raise VerificationError(f"{bundle}: no manifest can hold what its backend or family says: {_listed(found)}")
    data["digest"] = own_digest(data)
    (bundle / MANIFEST).write_text(_text(data), encoding="utf-8")
    return manifest.model_copy(update={"digest": data["digest"]})


def _listed(found: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{key}: {problem}" for key, problem in found)


def _text(data: Any) -> str:
    return json.dumps(data, indent=1) + "\n"
