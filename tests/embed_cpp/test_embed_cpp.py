"""The C++ library `gen3d`: two compilers, sanitizers; bundles run as Python runs them, damaged ones are refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("executorch", reason="needs the extra: pip install 'gen3dexport[executorch]'")
if not (shutil.which("cmake") and shutil.which("g++")):
    pytest.skip("needs cmake and g++ (Debian: apt-get install cmake g++ clang)", allow_module_level=True)

import embed_cpp_builds
import tiny_text

from gen3dexport import backends
from gen3dexport.assets import mesh_files
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.host_steps import HostSteps
from gen3dexport.host_steps import check_kit, interpret
from gen3dexport.host_steps.make_kit import make_kit
from gen3dexport.models import Request
from gen3dexport.runtime import load

LARGEST = 5_000_000
"""Bytes of libraries beside libc that an application may have to ship."""


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with clang (g++ without one) under the address and undefined sanitizers."""
    c, cpp = ("clang", "clang++") if shutil.which("clang++") else ("gcc", "g++")
    compilers = [f"-DCMAKE_C_COMPILER={c}", f"-DCMAKE_CXX_COMPILER={cpp}"]
    return embed_cpp_builds.built(tmp_path_factory.mktemp("careful") / "build", *compilers, "-DGEN3D_SANITIZE=ON")


def _gen3d(build_: Path, *words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(build_ / "gen3d"), *map(str, words)], capture_output=True, text=True, input=text, timeout=300
    )


def _copy(bundle: Path, place: Path) -> Path:
    """A copy of hard links, its manifest apart: cheap to damage by replacing files."""
    shutil.copytree(bundle, place, copy_function=os.link)
    text = (place / "manifest.json").read_text()
    (place / "manifest.json").unlink()
    (place / "manifest.json").write_text(text)
    return place


def _by_python(bundle: Path, request: Request) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Assets and values of a bundle by the reference interpreter over its programs."""
    data = json.loads((bundle / "manifest.json").read_text())
    backend = backends.find("executorch")
    records = [ProgramRecord.model_validate_json(json.dumps(entry)) for entry in data["programs"]]
    programs = {r.component: backend.load(bundle / "programs", r) for r in records if r.role == "component"}

    def call(component: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        answer: Mapping[str, np.ndarray] = programs[component](inputs)
        return answer

    declared = HostSteps.model_validate_json(json.dumps(data["host_steps"]))
    values = interpret.run(declared, request, bundle, call)
    return interpret.assets(declared, values), values


@pytest.mark.parametrize("built", ["plain", "careful"])
def test_what_needs_no_bundle(built: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(built)
    done = subprocess.run(["ctest", "--test-dir", str(folder), "--output-on-failure"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "9 tests passed" in done.stdout or "0 tests failed out of 9" in done.stdout


def test_what_ships_is_small_and_finds_its_libraries(plain: Path, text_bundle: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(plain.parent / "out", tmp_path / "elsewhere"))
    libraries = [path for path in (out / "lib").rglob("*.so*") if path.is_file()]
    assert 1_000_000 < sum(path.stat().st_size for path in libraries) < LARGEST
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    command = [str(out / "bin" / "gen3d"), "run", str(text_bundle), "-p", "a chair", "-o", str(tmp_path / "a.glb")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    used = subprocess.run(["ldd", str(out / "bin" / "gen3d")], capture_output=True, text=True).stdout
    assert str(out) in used and "python" not in used and "torch_" not in used.replace("executorch_", "")


@pytest.mark.parametrize("built", ["plain", "careful"])
def test_features_make_the_bytes_that_python_makes(
    built: str, features_bundle: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    features = np.random.default_rng(8).standard_normal((11, 48), dtype=np.float32)
    np.save(tmp_path / "features.npy", features)
    mesh = load(features_bundle).generate(seed=2, features=features)
    outs = ["-o", tmp_path / "a.glb", "-o", tmp_path / "a.ply"]
    done = _gen3d(
        request.getfixturevalue(built),
        "run",
        features_bundle,
        "--features",
        tmp_path / "features.npy",
        "--seed",
        "2",
        *outs,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for ending in (".glb", ".ply"):
        assert (tmp_path / f"a{ending}").read_bytes() == mesh_files.content(mesh, ending)


@pytest.mark.parametrize("prompt", ["a chair", "Ch\u00e1ir, 3 legs!", "\u6905chair"])
def test_a_prompt_makes_the_bytes_that_python_makes(
    prompt: str, careful: Path, text_bundle: Path, tmp_path: Path
) -> None:
    assets, values = _by_python(text_bundle, Request(prompt, 7))
    done = _gen3d(careful, "run", text_bundle, "-p", prompt, "--seed", "7", "-o", tmp_path / "a.glb", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.glb").read_bytes() == mesh_files.content(assets["mesh"], ".glb")
    said = json.loads(done.stdout)
    assert said["assets"][0]["vertices"] == len(assets["mesh"].vertices) and said["seed"] == 7
    assert not np.array_equal(values["ids"], values["neg_ids"])


def test_constants_and_scales(careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    """Guidance away from given numbers in place of the empty prompt's features; weaker noise."""
    shape = [1, tiny_text.LENGTH, tiny_text.WIDTH]
    numbers = np.random.default_rng(4).standard_normal(shape[1] * shape[2]).tolist()

    def edit(data: dict[str, Any]) -> None:
        steps = data["host_steps"]["steps"]
        made = {name: k for k, step in enumerate(steps) for name in step.get("outputs", {}).values()}
        steps[made["neg_cond"]] = {"op": "constant", "shape": shape, "numbers": numbers, "output": "neg_cond"}
        noise = next(k for k, step in enumerate(steps) if step["op"] == "noise")
        steps[noise] |= {"output": "louder"}
        steps.insert(noise + 1, {"op": "scale", "value": "louder", "factor": 0.7, "output": "noise"})

    bundle = tiny_text.change(_copy(text_bundle, tmp_path / "bundle"), edit)
    assets, _ = _by_python(bundle, Request("a chair", 7))
    done = _gen3d(careful, "run", bundle, "-p", "a chair", "--seed", "7", "-o", tmp_path / "a.ply")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.ply").read_bytes() == mesh_files.content(assets["mesh"], ".ply")


def test_threads_and_runs_change_nothing(plain: Path, text_bundle: Path, tmp_path: Path) -> None:
    made = set()
    for more in (["--threads", "1"], ["--threads", "2"], ["--runs", "3"]):
        done = _gen3d(plain, "run", text_bundle, "-p", "a chair", "-o", tmp_path / "a.ply", *more)
        assert (done.returncode, done.stderr) == (0, "")
        made.add((tmp_path / "a.ply").read_bytes())
    assert len(made) == 1


def test_a_kit_holds_it_and_python_agrees(careful: Path, features_bundle: Path, tmp_path: Path) -> None:
    kit = make_kit(load(features_bundle), tmp_path / "kit")
    done = _gen3d(careful, "check-kit", features_bundle, tmp_path / "kit", "--write", tmp_path / "own", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["rows"]}
    assert {row["found"] for name, row in rows.items() if name.endswith("logits.npy")} == {0.0}
    assert {rows[f"{k}/mesh{ending}"]["found"] for k in (0, 1) for ending in (".glb", ".ply")} == {"equal"}
    assert all(row.passed for row in check_kit.check(kit, tmp_path / "kit", tmp_path / "own"))
    values = np.load(tmp_path / "kit" / "0" / "noise.npy")
    np.save(tmp_path / "kit" / "0" / "noise.npy", values * np.float32(1.00001))
    wrong = _gen3d(careful, "check-kit", features_bundle, tmp_path / "kit")
    assert wrong.returncode == 5 and "NO  0/noise.npy" in wrong.stdout
    told = _gen3d(careful, "check-kit", features_bundle, tmp_path / "kit", "--json")
    assert (told.returncode, told.stderr) == (5, "")
    noise = next(row for row in json.loads(told.stdout)["rows"] if row["name"] == "0/noise.npy")
    assert noise["passed"] is False and isinstance(noise["found"], float) and 0 <= noise["limit"] < 1e-6


def test_tokens_are_those_of_the_tokenizers_library(plain: Path, text_bundle: Path) -> None:
    from tokenizers import Tokenizer

    path = text_bundle / "host" / "tokenizer.json"
    reader = Tokenizer.from_file(str(path))
    plain_characters = [chr(c) for c in range(1, 0x3100) if chr(c) not in "\n"]
    numbers = random.Random(3)
    far = [chr(c) for c in (numbers.randrange(0x3100, 0x110000) for _ in range(3000)) if not 0xD800 <= c <= 0xDFFF]
    lines = ["chair".join(plain_characters[i : i + 30]) for i in range(0, len(plain_characters), 30)]
    lines += ["a".join(far[i : i + 30]) for i in range(0, len(far), 30)]
    lines += ["", "[SEP]", "a[CLS]b", "x" * 101, "chairs"]
    done = _gen3d(plain, "tokens", path, text="".join(f"{line}\n" for line in lines))
    found = [[int(number) for number in line.split()] for line in done.stdout.split("\n")[:-1]]
    assert found == [reader.encode(line).ids for line in lines]


def test_the_examples_are_applications(careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    def run(example: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(careful / "tests" / example), *map(str, words)], capture_output=True, text=True)

    by_c = run("gen3d_example_c", text_bundle, "a chair", tmp_path / "c.ply")
    by_cpp = run("gen3d_example_cpp", text_bundle, "a chair", tmp_path / "cpp.ply")
    assert (by_c.returncode, by_cpp.returncode) == (0, 0), by_c.stderr + by_cpp.stderr
    assert (tmp_path / "c.ply").read_bytes() == (tmp_path / "cpp.ply").read_bytes()
    assert "0 % text_encoder" in by_c.stderr and "decoder" in by_c.stderr
    stopped = run("gen3d_example_c", text_bundle, "a chair", tmp_path / "none.ply", "0.5")
    assert stopped.returncode == 130 and not (tmp_path / "none.ply").exists()


def _replace(bundle: Path, name: str, content: bytes) -> None:
    (bundle / name).unlink()
    (bundle / name).write_bytes(content)


def _flipped(bundle: Path) -> None:
    content = bytearray((bundle / "programs/flow.pte").read_bytes())
    content[len(content) // 2] ^= 1
    _replace(bundle, "programs/flow.pte", bytes(content))


def _linked(bundle: Path) -> None:
    (bundle / "programs/flow.pte").rename(bundle.parent / "flow.pte")
    (bundle / "programs/flow.pte").symlink_to(bundle.parent / "flow.pte")


def _linked_folder(bundle: Path) -> None:
    (bundle / "programs").rename(bundle.parent / "programs")
    (bundle / "programs").symlink_to(bundle.parent / "programs")


def _edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda bundle: tiny_text.change(bundle, edit)


def _step(number: int, **fields: Any) -> Callable[[Path], object]:
    return _edited(lambda data: data["host_steps"]["steps"][number].update(fields))


def _cut_manifest(bundle: Path) -> None:
    _replace(bundle, "manifest.json", (bundle / "manifest.json").read_bytes()[:-200])


def _another_program(bundle: Path) -> None:
    """The decoder's program, with the digest that fits, in the place of the flow's."""
    _replace(bundle, "programs/flow.pte", (bundle / "programs/decoder.pte").read_bytes())
    tiny_text.change(
        bundle, lambda data: data["files"].update({"programs/flow.pte": data["files"]["programs/decoder.pte"]})
    )


DAMAGE: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "a bit of a program": (_flipped, 7, "SHA-256 differs"),
    "a program cut": (lambda b: _replace(b, "programs/flow.pte", b"ET12"), 7, "4 bytes, the manifest says"),
    "a program gone": (lambda b: (b / "programs/decoder.pte").unlink(), 7, "cannot be read"),
    "a program behind a link": (_linked, 7, "a link"),
    "programs behind a link": (_linked_folder, 7, "a link"),
    "another program": (_another_program, 7, "input"),
    "no program at all": (lambda b: _replace(b, "host/tokenizer.json", b"{}"), 7, "2 bytes"),
    "the manifest cut": (_cut_manifest, 7, "no JSON"),
    "the manifest gone": (lambda b: (b / "manifest.json").unlink(), 7, "missing"),
    "the manifest changed": (
        lambda b: _replace(
            b, "manifest.json", (b / "manifest.json").read_bytes().replace(b'"fill": "zeros"', b'"fill": "end"')
        ),
        7,
        "changed after it was written",
    ),
    "a newer format": (_edited(lambda d: d.update(schema=3)), 7, "take a newer gen3d"),
    "an older format": (_edited(lambda d: d.update(schema=1)), 7, "build the bundle again"),
    "newer host steps": (_edited(lambda d: d["host_steps"].update(version=2)), 7, "take a newer gen3d"),
    "no host steps": (_edited(lambda d: d.update(host_steps=None)), 3, "no host steps"),
    "an unknown operation": (_step(0, op="photograph"), 3, '"photograph" is unknown'),
    "an unknown generator": (_step(-3, generator="mt19937"), 7, '"generator"'),
    "an unknown rule": (
        _edited(lambda d: d["host_steps"]["assets"]["mesh"].update(rule="nets")),
        3,
        '"nets" is unknown',
    ),
    "a value that nothing makes": (_step(-1, inputs={"z": "nothing"}), 7, "read before it is made"),
    "an input that is none": (_step(-1, inputs={"q": "z"}), 7, "decoder"),
    "a value of another shape": (_step(-1, inputs={"z": "cond"}), 2, "input z is"),
    "noise without end": (_step(-3, shape=[2**40, 2**40]), 7, '"shape"'),
    "a file outside": (_step(0, file="../../etc/passwd"), 7, "is no key of files"),
    "a file outside the bundle": (
        _edited(lambda d: d["files"].update({"../outside": d["files"]["programs/flow.pte"]})),
        7,
        "lies outside the bundle",
    ),
    "a kernel that is not here": (
        _edited(lambda d: d["programs"][1]["facts"]["delegation"]["outside"].update({"aten.topk.default": 1})),
        3,
        "no kernel here for aten.topk.default",
    ),
    "another backend": (_edited(lambda d: d["target"].update(backend="onnx")), 3, "-t executorch"),
    "random weights": (_edited(lambda d: d.update(random_weights=True)), 2, "random weights"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_bundles_are_errors(damage: str, careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    bundle = _copy(text_bundle, tmp_path / "bundle")
    do, code, words = DAMAGE[damage]
    do(bundle)
    done = _gen3d(careful, "run", bundle, "-p", "a chair", "-o", tmp_path / "a.glb")
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert done.stderr.startswith("error: ") and not (tmp_path / "a.glb").exists()


def test_verify_sees_what_run_does_not_read(careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    bundle = _copy(text_bundle, tmp_path / "bundle")
    assert _gen3d(careful, "verify", bundle).returncode == 0
    (bundle / "report.json").write_text("{}")
    assert _gen3d(careful, "verify", bundle).returncode == 0
    (bundle / "programs" / "more.pte").write_text("")
    _replace(bundle, "NOTICES.txt", b"other")
    done = _gen3d(careful, "verify", bundle)
    assert (
        done.returncode == 7
        and "more.pte: not in the manifest" in done.stderr
        and "NOTICES.txt: 5 bytes" in done.stderr
    )


def test_manifests_with_wrong_values_and_right_digests(careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    """Whatever stands in a manifest, the tool runs it or says what is wrong; nothing crashes."""
    bundle = _copy(text_bundle, tmp_path / "bundle")
    text, numbers = (bundle / "manifest.json").read_text(), random.Random(11)
    codes = set()
    for _ in range(40):
        _replace(bundle, "manifest.json", text.encode())
        tiny_text.change(bundle, lambda data: _mutate(data, numbers))
        done = _gen3d(careful, "run", bundle, "-p", "a chair", "-o", tmp_path / "a.glb")
        assert done.returncode in (0, 2, 3, 5, 7), done.stderr[-2000:]
        codes.add(done.returncode)
    assert 7 in codes


_WRONG = (None, True, -1, 0, 2, 2**62, 1e300, "", "x", "../x", [], {}, [1], {"a": 1}, "noise", "z", [2**20] * 3)


def _mutate(data: dict[str, Any], numbers: random.Random) -> None:
    """A value somewhere in what the library reads becomes another."""
    value: Any = data
    key: Any = numbers.choice(("host_steps", "files", "programs"))
    while isinstance(value[key], dict | list) and value[key] and (value is data or numbers.random() < 0.8):
        value = value[key]
        key = numbers.choice([*value]) if isinstance(value, dict) else numbers.randrange(len(value))
    value[key] = numbers.choice(_WRONG)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "gen3d run BUNDLE"),
        (["fly"], 2, "unknown command"),
        (["run"], 2, "arguments"),
        (["run", "BUNDLE", "--sed", "3"], 2, "unknown option"),
        (["run", "BUNDLE", "--seed", "-3"], 2, "whole number"),
        (["run", "BUNDLE", "-p", " "], 2, "prompt: empty"),
        (["run", "BUNDLE", "-p", "a chair with many more letters than the model takes"], 2, "shorten it"),
        (["run", "BUNDLE", "-p", "a", "-o", "a.obj"], 2, "unknown format"),
        (["run", "BUNDLE", "-p", "a", "-o", "none/a.glb"], 2, "is no folder"),
        (["run", "none", "-p", "a"], 2, "no such folder"),
        (["info", "."], 2, "not a bundle"),
        (["check-kit", "BUNDLE", "."], 2, "no kit"),
    ],
)
def test_wrong_requests_are_told(
    words: list[str], code: int, said: str, careful: Path, text_bundle: Path, tmp_path: Path
) -> None:
    command = [str(careful / "gen3d"), *(str(text_bundle) if word == "BUNDLE" else word for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not any(tmp_path.iterdir())


def test_errors_are_one_object_of_json(careful: Path, text_bundle: Path, tmp_path: Path) -> None:
    for words, code, kind in (
        (["run", text_bundle, "-p", "a", "--seed", "-1"], 2, "UsageError"),
        (["run", tmp_path / "none", "-p", "a"], 2, "UsageError"),
        (["info", text_bundle / "programs"], 2, "UsageError"),
        (["fly"], 2, "UsageError"),
    ):
        done = _gen3d(careful, *words, "--json")
        assert (done.returncode, done.stderr) == (code, ""), done.stderr
        told = json.loads(done.stdout)
        assert told["error"] == kind and told["message"]


def test_info_says_what_a_bundle_needs(plain: Path, text_bundle: Path) -> None:
    said = json.loads(_gen3d(plain, "info", text_bundle).stdout)
    manifest = json.loads((text_bundle / "manifest.json").read_text())
    assert said["digest"] == manifest["digest"] and said["host_steps"] is True
    encoder = said["programs"][0]
    assert encoder["outside"] == [*tiny_text.OUTSIDE] and encoder["missing_kernels"] == []
