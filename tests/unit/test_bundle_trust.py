"""What a bundle says of itself: one changed byte, file or field is told, whoever wrote the digests."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paper_bundle import rewrite, write_paper_bundle

from gen3dexport.bundle import manifest
from gen3dexport.bundle.files import File, file_of
from gen3dexport.bundle.manifest import own_digest, read_manifest, verify
from gen3dexport.bundle.report_files import DIGESTS, REPORTS, write_reports
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]
Change = Callable[[dict[str, Any]], object]
EXAMPLE = "programs/flow.bin"


@pytest.fixture
def bundle(paper: Path) -> Path:
    """One whose programs are no programs."""
    return paper


def test_a_whole_bundle_is_taken(bundle: Path, cli: Cli) -> None:
    code, out, error = cli("verify", bundle)
    assert (code, "all as recorded" in out) == (0, True), error
    data = json.loads((bundle / "manifest.json").read_text())
    assert read_manifest(bundle).digest == data["digest"] == own_digest(data)
    assert load(bundle).declared.keys() == set(read_manifest(bundle).components)


def test_flipped_bits_of_a_manifest_are_told(bundle: Path) -> None:
    path, chance = bundle / "manifest.json", random.Random(0)
    whole = path.read_bytes()
    for _ in range(300):
        place, bit = chance.randrange(len(whole)), chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        with pytest.raises(VerificationError):
            verify(bundle)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '{"schema": 2}', "[" * 100_000, '{"schema": 1e999}'])
def test_what_is_no_manifest_is_told(text: str, bundle: Path) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(VerificationError):
        load(bundle)


@pytest.mark.parametrize(("old", "new"), [(b"\n", b"\r\n"), (b"\n", b"\r"), (b": ", b":  ")])
def test_a_manifest_in_other_bytes_is_told(old: bytes, new: bytes, bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(VerificationError):
        read_manifest(bundle)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity", "1E3", "1000.00"])
def test_numbers_are_finite_and_as_they_were_written(number: str, bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(text.replace('"flow": 1000', f'"flow": {number}'))
    with pytest.raises(VerificationError):
        read_manifest(bundle)


def _every_field(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path] * bool(path) + [found for key, child in children for found in _every_field(child, (*path, key))]


def test_every_field_counts(bundle: Path) -> None:
    """One field taken out or replaced, with the manifest's own digest left as it was."""
    data = json.loads((bundle / "manifest.json").read_text())
    whole = json.dumps(data)
    for path in _every_field(data):
        for replaced in (False, True):
            changed = json.loads(whole)
            node = changed
            for key in path[:-1]:
                node = node[key]
            if replaced:
                node[path[-1]] = "changed"
            else:
                del node[path[-1]]
            (bundle / "manifest.json").write_text(json.dumps(changed, indent=1) + "\n")
            with pytest.raises(VerificationError):
                read_manifest(bundle)


def _set(*path: Any, to: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        node: Any = data
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to

    return change


def _outside(name: str) -> Change:
    """A program's file that lies elsewhere, and is listed with a right digest for all that can be told."""

    def change(data: dict[str, Any]) -> None:
        data["programs"][0]["files"] = [name]
        data["files"][f"programs/{name}"] = data["files"][EXAMPLE]

    return change


SHAPE = ("programs", 0, "inputs")
CRAFTED: dict[str, Change] = {
    "a program outside": _outside("../../evil.pt2"),
    "a program at an absolute path": _outside("/tmp/evil.pt2"),
    "a program that is not listed": _set("programs", 0, "files", to=["../../evil.pt2"]),
    "a program without files": _set("programs", 0, "files", to=[]),
    "a key that climbs out": _set("files", "../evil", to={"bytes": 1, "sha256": "0" * 64}),
    "an absolute key": _set("files", "/etc/passwd", to={"bytes": 1, "sha256": "0" * 64}),
    "a key with a backslash": _set("files", "programs\\evil", to={"bytes": 1, "sha256": "0" * 64}),
    "a key with a NUL": _set("files", "programs/\0", to={"bytes": 1, "sha256": "0" * 64}),
    "a key that is not normal": _set("files", "programs/./flow.bin", to={"bytes": 1, "sha256": "0" * 64}),
    "a drive": _set("files", "C:evil", to={"bytes": 1, "sha256": "0" * 64}),
    "no digest": _set("files", EXAMPLE, "sha256", to="0"),
    "a negative size": _set("files", EXAMPLE, "bytes", to=-1),
    "a size that is a text": _set("files", EXAMPLE, "bytes", to="12"),
    "a negative count": _set("parameters", "flow", to=-1),
    "a count of no component": _set("calls", to={"flow": 1}),
    "an estimate that is a text": _set("programs", 0, "estimates", to={"latency_ms": [{"value": "fast", "by": "x"}]}),
    "an empty shape": _set(*SHAPE, to={"x": {"shape": [0], "dtype": "float32"}}),
    "a negative shape": _set(*SHAPE, to={"x": {"shape": [-4], "dtype": "float32"}}),
    "an unknown dtype": _set(*SHAPE, to={"x": {"shape": [4], "dtype": "float31"}}),
    "inputs of another network": _set(*SHAPE, to={"y": {"shape": [4], "dtype": "float32"}}),
    "rules that are none": _set("programs", 0, "facts", to={"rules": 3}),
    "an unknown role": _set("programs", 0, "role", to="king"),
    "an unknown component": _set("programs", 0, "component", to="nothing"),
    "no programs": _set("programs", to=[]),
    "a recipe without a name": _set("recipe", to={}),
    "a recipe that is none": _set("recipe", "golden", "prompts", to=[]),
    "a budget below zero": _set("recipe", "budgets", "latency_ms", to=-5),
    "a target without a measure": _set("target", "measure", "runs", to=0),
    "an unknown backend": _set("target", "backend", to="nothing"),
    "an unknown family": _set("family", to="nothing"),
    "settings of nothing": _set("settings", to={}),
    "settings of another type": _set("settings", "latent", to="deep"),
    "settings with one key more": _set("settings", "evil", to=1),
    "settings of another pipeline": _set("settings", "checkpoints", to={"flow": "ckpts/flow"}),
    "an option that the backend does not take": _set("target", "options", to={"min_features": -1}),
    "a knob that the family does not take": _set("recipe", "knobs", to={"sampler": 5}),
    "knobs that are a list": _set("recipe", "knobs", to=[]),
    "true for a number": _set("recipe", "golden", "seed", to=True),
    "a text for a number": _set("settings", "steps", to="4"),
    "a number of 400 digits": _set("parameters", "flow", to=10**400),
    "a control character": _set("host", "machine", to="x\x1b[2J"),
    "facts without a bottom": _set("programs", 0, "facts", to=json.loads("[" * 60 + "]" * 60)),
    "host steps that are a list": _set("host_steps", to=[]),
    "host steps of a later version": _set("host_steps", "version", to=2),
    "an unknown operation": _set("host_steps", "steps", 0, to={"op": "divine"}),
    "an operation without a name": _set("host_steps", "steps", 0, to={"shape": [1]}),
    "an operation's unknown field": _set("host_steps", "steps", 0, "evil", to=1),
    "an unknown rule": _set("host_steps", "assets", "mesh", "rule", to="divine"),
    "noise beyond all memory": _set("host_steps", "steps", 0, "shape", to=[2**20, 2**20]),
    "noise of no shape": _set("host_steps", "steps", 0, "shape", to=[]),
    "a tokenizer outside": _set("host_steps", "steps", 1, "file", to="host/../../evil"),
    "a tokenizer that is not there": _set("host_steps", "steps", 1, "file", to="host/evil.json"),
    "a value that nothing makes": _set("host_steps", "assets", "mesh", "value", to="nothing"),
    "a value before it is made": _set("host_steps", "steps", 3, "inputs", "ids", to="logits"),
    "a value made twice": _set("host_steps", "steps", 6, "outputs", "logits", to="noise"),
    "a value with a strange name": _set("host_steps", "steps", 0, "output", to="../noise"),
    "a call of no component": _set("host_steps", "steps", 6, "component", to="nothing"),
    "a call with another input": _set("host_steps", "steps", 6, "inputs", to={"x": "z"}),
    "a call with another output": _set("host_steps", "steps", 6, "outputs", to={"x": "logits"}),
    "a sampler without steps": _set("host_steps", "steps", 5, "steps", to=[]),
    "a step of a text": _set("host_steps", "steps", 5, "steps", 0, "dt", to="0.1"),
    "branches that differ": _set("host_steps", "steps", 5, "unconditional", to={"context": "cond"}),
    "a join of one branch": _set("host_steps", "steps", 5, "join", to={"cond": 0}),
    "a prompt that nobody asks for": _set("host_steps", "request", "prompt", to=False),
    "noise without a seed": _set("host_steps", "request", "seed", to=False),
    "an unknown field": _set("evil", to=1),
    "a schema that is true": _set("schema", to=True),
    "a schema that is a list": _set("schema", to=[2]),
}


@pytest.mark.parametrize("case", CRAFTED)
@pytest.mark.parametrize("command", ["verify", "run"])
def test_a_crafted_manifest_is_refused(case: str, command: str, bundle: Path, cli: Cli) -> None:
    """The manifest's own digest is right; nothing is loaded and nothing is a traceback."""
    rewrite(bundle, CRAFTED[case])
    (bundle.parent / "evil.pt2").write_bytes((bundle / EXAMPLE).read_bytes())
    code, _, error = cli(command, bundle)
    assert code == VerificationError.exit_code, error
    assert "Traceback" not in error and "build" in error


def test_an_unknown_operation_is_named(bundle: Path) -> None:
    rewrite(bundle, CRAFTED["an unknown operation"])
    with pytest.raises(VerificationError, match=r"host_steps\.steps\.0: .*'divine'.*upgrade gen3dexport"):
        read_manifest(bundle)


def test_a_manifest_without_host_steps_is_one(bundle: Path) -> None:
    assert read_manifest(bundle).host_steps is not None
    rewrite(bundle, lambda data: data.pop("host_steps"))
    assert read_manifest(bundle).host_steps is None


@pytest.mark.parametrize("target", ["cpu-aoti", "tpu-v5e", "onnx"])
def test_what_a_program_needs_is_looked_at_before_it_is_loaded(target: str, tmp_path: Path, cli: Cli) -> None:
    resolved = read_target(target)
    write_paper_bundle(make_plan(read_recipe("trellis-mini", resolved), resolved), bundle := tmp_path / "bundle")
    assert cli("verify", bundle)[0] == 0
    rewrite(bundle, _set("programs", 0, "requires", to={"threads": "many"}))
    code, _, error = cli("verify", bundle)
    assert code == VerificationError.exit_code and "requires: " in error and "build the bundle again" in error


def test_the_order_of_keys_counts(bundle: Path) -> None:
    """Inputs are given to a program in the manifest's order."""
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(data.items())), indent=1) + "\n")
    with pytest.raises(VerificationError, match="was changed after it was written"):
        read_manifest(bundle)


def test_a_whole_manifest_may_leave_out_what_has_a_default(bundle: Path, cli: Cli) -> None:
    def leave_out(data: dict[str, Any]) -> None:
        del data["target"]["options"], data["target"]["budgets"], data["recipe"]["knobs"], data["recipe"]["budgets"]

    rewrite(bundle, leave_out)
    for command in ("verify", "inspect"):
        code, _, error = cli(command, bundle)
        assert code == 0, error
    assert read_manifest(bundle).target["options"] == {}


def _link(bundle: Path) -> None:
    (bundle / EXAMPLE).rename(bundle.parent / "elsewhere")
    (bundle / EXAMPLE).symlink_to(bundle.parent / "elsewhere")


def _linked_folder(bundle: Path) -> None:
    (bundle / "programs").rename(bundle.parent / "elsewhere")
    (bundle / "programs").symlink_to(bundle.parent / "elsewhere")


def _linked_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").rename(bundle.parent / "elsewhere")
    (bundle / "manifest.json").symlink_to(bundle.parent / "elsewhere")


def _piped_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()
    os.mkfifo(bundle / "manifest.json")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (_link, "flow.bin: a link"),
    "a folder that is a link": (_linked_folder, "programs: a link"),
    "a link to nothing": (lambda b: (b / "golden" / "x").symlink_to("/nowhere"), "golden/x: a link"),
    "a pipe": (lambda b: os.mkfifo(b / "programs" / "x"), "programs/x: a pipe"),
    "a hidden file": (lambda b: (b / ".x").touch(), ".x: not in the manifest"),
    "a second manifest": (lambda b: (b / "host" / "manifest.json").touch(), "host/manifest.json: not in"),
    "a missing manifest": (lambda b: (b / "manifest.json").unlink(), "missing"),
    "a manifest that is a link": (_linked_manifest, "a link"),
    "a manifest that is a pipe": (_piped_manifest, "no file at all"),
    "a report that is a folder": (lambda b: (b / "report.html").mkdir(), "report.html: a folder"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_no_file_of_the_bundle_is_told(harm: str, bundle: Path, cli: Cli) -> None:
    action, words = HARMS[harm]
    action(bundle)
    code, _, error = cli("verify", bundle)
    assert code == VerificationError.exit_code and words in error


PASSED_ON = {
    "verify": [], "run": [], "validate": [], "sbom": [], "sign": ["--key", "key.pem"], "push": ["127.0.0.1:1/x:1"],
    "web": [], "android": [],
}  # fmt: skip
"""Commands that read a bundle's files, and what else they need to be told."""


@pytest.mark.parametrize("harm", ["a link", "a folder that is a link", "a link to nothing"])
@pytest.mark.parametrize("command", PASSED_ON)
def test_no_command_follows_a_link_out_of_a_bundle(command: str, harm: str, bundle: Path, cli: Cli) -> None:
    HARMS[harm][0](bundle)
    before = sorted(bundle.rglob("*"))
    code, out, error = cli(command, bundle, *PASSED_ON[command])
    assert code == VerificationError.exit_code and HARMS[harm][1] in error and not out, error
    assert sorted(bundle.rglob("*")) == before


def test_a_copy_goes_through_no_link(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    code, _, error = cli("cp", "trellis-mini", tmp_path / "mine.yaml")
    assert code == UsageError.exit_code and "exists" in error and not (tmp_path / "elsewhere.yaml").exists()
    assert cli("cp", "../recipes/trellis-mini", tmp_path / "new.yaml")[0] == UsageError.exit_code


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Path(shutil.copytree(bundle, tmp_path / "new"))
    (new / EXAMPLE).write_text("another program")
    rewrite(new, lambda data: data["files"].update({EXAMPLE: file_of(new / EXAMPLE).model_dump()}))
    expected = json.loads((new / "manifest.json").read_text())["digest"]
    change = manifest.change

    def replaced(folder: Path, name: str, listed: File) -> str | None:
        if new.exists():
            bundle.rename(tmp_path / "old")
            new.rename(bundle)
        return change(folder, name, listed)

    monkeypatch.setattr(manifest, "change", replaced)
    assert verify(bundle).digest == expected != read_manifest(tmp_path / "old").digest


def test_a_folder_that_is_no_bundle_is_a_mistake_of_the_command(tmp_path: Path, cli: Cli) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        assert cli("verify", folder)[0] == UsageError.exit_code


TEXTS = {name: f"of {name}\n" for name in REPORTS}


def test_reports_have_digests(bundle: Path, cli: Cli) -> None:
    write_reports(bundle, TEXTS)
    verify(bundle)
    assert len((bundle / DIGESTS).read_text().splitlines()) == len(REPORTS) + 1
    (bundle / "report.html").write_text("another page")
    code, _, error = cli("verify", bundle)
    assert code == VerificationError.exit_code and "report.html: SHA-256 differs" in error
    assert load(bundle).folder == bundle  # nothing but people reads reports
    write_reports(bundle, TEXTS)
    verify(bundle)


@pytest.mark.parametrize("harm", ["gone", "cut", "of another bundle"])
def test_digests_of_reports_are_checked_too(harm: str, bundle: Path) -> None:
    write_reports(bundle, TEXTS)
    path = bundle / DIGESTS
    if harm == "gone":
        path.unlink()
    elif harm == "cut":
        path.write_text(path.read_text()[:-3])
    else:
        rewrite(bundle, lambda data: data["host"].update(machine="another"))
    with pytest.raises(VerificationError, match="validate the bundle again"):
        verify(bundle)


def test_a_process_killed_amid_its_reports_leaves_a_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every replacement of a file: before it, with the temporary file beside."""
    write_reports(bundle, TEXTS)
    replace, done = Path.replace, 0
    for last in range(len(REPORTS) + 2):
        done = 0

        def stop(path: Path, target: Path, last: int = last) -> Path:
            nonlocal done
            if done == last:
                raise KeyboardInterrupt
            done += 1
            return replace(path, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "replace", stop)
            write_reports(bundle, {name: f"{text} {last}" for name, text in TEXTS.items()})
        verify(bundle)


def test_a_file_changed_after_loading_is_not_opened(bundle: Path) -> None:
    loaded = load(bundle)
    for name in loaded.manifest.files:
        path = bundle / name
        data = path.read_bytes()
        path.write_bytes(data[:-1] + b"!")
        with pytest.raises(VerificationError, match=r"changed after it was loaded.*\n.*SHA-256 differs"):
            if name.startswith("programs/"):
                loaded.program(next(p for p in loaded.manifest.programs if f"programs/{p.files[0]}" == name))
            elif name.startswith("host/"):
                loaded.begin(None, None)  # type: ignore[arg-type]
            else:
                loaded.check(name)
        path.write_bytes(data)
