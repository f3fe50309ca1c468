"""Conformance kits: what is in one, and implementations held to it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper_bundle import rewrite

from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.host_steps import make_kit, token_cases
from gen3dexport.host_steps.kit import read_kit
from gen3dexport.runtime import load

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def kit(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit of the tiny bundle, whose requests bring features."""
    folder = tmp_path_factory.mktemp("kits") / "kit"
    make_kit.make_kit(load(tiny_bundle), folder)
    return folder


@pytest.fixture
def own(kit: Path, tmp_path: Path) -> Path:
    """What an implementation made that does all as the kit; a copy to damage."""
    return Path(shutil.copytree(kit, tmp_path / "own"))


def test_every_value_is_in_it(kit: Path, tiny_bundle: Path) -> None:
    found = read_kit(kit)
    manifest = read_manifest(tiny_bundle)
    assert found.bundle == manifest.digest and found.host_steps == manifest.host_steps
    assert len(found.requests) == 2
    for request in found.requests:
        assert request.features is not None and np.load(kit / request.features).shape == (11, 48)
        assert [step.op for step in request.steps] == [step.op for step in found.host_steps.steps]
        values = {name: np.load(kit / file) for step in request.steps for name, file in step.values.items()}
        assert values.keys() == found.tolerances.keys()
        flow = next(step for step in request.steps if step.op == "flow_euler")
        assert len(flow.latents) == 4 and np.array_equal(np.load(kit / flow.latents[-1]), values["z"])
        occupancy = np.load(kit / request.assets["voxels"]["occupancy"])
        assert np.array_equal(occupancy, values["logits"][0, 0] > 0)
        assert (kit / request.files["mesh"][0]).read_bytes()[:4] == b"glTF"
    first, second = (np.load(kit / request.steps[0].values["noise"]) for request in found.requests)
    assert not np.array_equal(first, second)
    assert {value: tolerance.relative_l2 for value, tolerance in found.tolerances.items()} == {
        "noise": 1e-7,
        "cond": 0.0,
        "neg_cond": 0.0,
        "z": 1e-5,
        "logits": 1e-5,
    }
    assert "- `1/`: features (`features.npy`), seed 1\n" in (kit / "README.md").read_text()
    every = {str(path.relative_to(kit)) for path in kit.rglob("*") if path.is_file()}
    told = {file for r in found.requests for step in r.steps for file in (*step.values.values(), *step.latents)}
    told |= {file for r in found.requests for arrays in r.assets.values() for file in arrays.values()}
    told |= {file for r in found.requests for files in r.files.values() for file in files}
    told |= {str(r.features) for r in found.requests} | {case.first for case in found.noise}
    assert every == told | {"kit.json", "README.md"}


def test_an_implementation_that_agrees_passes(kit: Path, own: Path, cli: Cli) -> None:
    for path in (*own.glob("*/z.[0-9].npy"), *own.glob("*/mesh.normals.npy")):
        path.unlink()  # not every implementation has them
    near = np.load(own / "1" / "logits.npy")
    np.save(own / "1" / "logits.npy", near * np.float32(1 + 2e-6))
    code, out, error = cli("embed-kit", kit, "--check", own, "--json")
    assert code == 0, error
    data = json.loads(out)
    rows = {row["name"]: row for row in data["rows"]}
    assert data["passed"] and 1e-6 < rows["1/logits.npy"]["found"] < 3e-6 and rows["0/z.npy"]["found"] == 0
    assert "0/mesh" in rows and "noise/42.npy" in rows


def _change(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    np.save(path, change(np.load(path)))


def _flipped(occupancy: np.ndarray) -> np.ndarray:
    return ~occupancy


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "another seed": (lambda own: _change(own / "0" / "noise.npy", lambda a: a + 1), "0/noise.npy: .*too far"),
    "noise in the wrong order": (lambda own: _change(own / "noise" / "1.npy", lambda a: a[::-1]), "noise/1.npy: .*bit"),
    "guidance away from ones": (
        lambda own: _change(own / "1" / "neg_cond.npy", lambda a: a + 1),
        "1/neg_cond.npy: .*bit",
    ),
    "a fused multiply": (
        lambda own: _change(own / "0" / "z.npy", lambda a: a * np.float32(1.001)),
        "0/z.npy: .*too far",
    ),
    "a missing value": (lambda own: (own / "0" / "logits.npy").unlink(), "0/logits.npy:  missing"),
    "a missing asset": (lambda own: (own / "1" / "voxels.occupancy.npy").unlink(), "1/voxels: .*missing"),
    "another type": (lambda own: _change(own / "0" / "z.npy", lambda a: a.astype(np.float64)), "0/z.npy: .*float64"),
    "another shape": (lambda own: _change(own / "0" / "z.npy", lambda a: a[0]), "0/z.npy: .*cannot be compared"),
    "not a number": (lambda own: _change(own / "0" / "z.npy", lambda a: a * np.float32("nan")), "0/z.npy: .*too far"),
    "no array": (lambda own: (own / "0" / "z.npy").write_bytes(b"z"), "0/z.npy: .*cannot be read"),
    "an archive cut": (lambda own: (own / "0" / "z.npy").write_bytes(b"PK\3\4 none"), "0/z.npy: .*cannot be read"),
    "a header cut": (
        lambda own: (own / "0" / "z.npy").write_bytes(b"\x93NUMPY\1\0\6\0{'de(\n"),
        "0/z.npy: .*cannot be read",
    ),
    "a pickle": (lambda own: np.save(own / "0" / "z.npy", np.array([{}])), "0/z.npy: .*cannot be read"),
    "other voxels": (lambda own: _change(own / "0" / "voxels.occupancy.npy", _flipped), "0/voxels: .*too far"),
    "vertices in another frame": (
        lambda own: _change(own / "0" / "mesh.vertices.npy", lambda a: a[:, [0, 2, 1]]),
        "0/mesh: .*",
    ),
    "faces inside out": (
        lambda own: _change(own / "0" / "mesh.faces.npy", lambda a: a[:, ::-1]),
        "0/mesh: .*faces are others",
    ),
    "a face of no vertex": (lambda own: _change(own / "0" / "mesh.faces.npy", lambda a: a + 10**6), "0/mesh: .*cannot"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_implementation_that_does_not_is_told_where(damage: str, kit: Path, own: Path, cli: Cli) -> None:
    change, said = DAMAGE[damage]
    change(own)
    code, out, error = cli("embed-kit", kit, "--check", own)
    assert code == 5 and "Traceback" not in error, error
    (line,) = [line for line in out.splitlines() if not line.endswith("  ok")]
    assert re.match(said, line), line
    assert line.partition(":")[0] in error


def test_what_is_no_kit_or_no_folder_is_told(kit: Path, tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    asked: list[tuple[list[str | Path], int, str]] = [
        ([tiny_bundle, "--check", kit], 2, "no kit (no kit.json)"),
        ([kit, "--check", tmp_path / "nowhere"], 2, "no folder"),
        ([kit, "--check", tmp_path / "empty"], 2, "has none of the kit's files"),
        ([kit, "--check", kit, "-o", tmp_path / "out"], 2, "leave -o out"),
        ([tmp_path / "empty", "-o", tmp_path / "out"], 2, "not a bundle"),
        ([kit], 2, "a kit, not a bundle"),
        ([tiny_bundle, "-o", tmp_path / "file"], 2, "exists and is not a kit"),
        ([tiny_bundle, "-o", tiny_bundle / "kit"], 2, "lies in the bundle"),
        ([tiny_bundle, "-o", tiny_bundle], 2, "lies in the bundle"),
    ]
    for arguments, expected, words in asked:
        code, _, error = cli("embed-kit", *arguments)
        assert code == expected and words in error, (arguments, error)
    assert not (tmp_path / "out").exists()


INDEXES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another version": (lambda index: index.update(version=9), "version"),
    "no tolerances": (lambda index: index.update(tolerances={}), "tolerances: cond: missing"),
    "no scores": (lambda index: index.update(scores={}), "assets: mesh: has no score"),
    "no arrays": (lambda index: index["requests"][0]["assets"].update(mesh={}), "assets: mesh: has no array"),
    "another kind": (lambda index: index["requests"][0]["assets"].update(bogus={"a": "0/z.npy"}), "assets: bogus"),
}


@pytest.mark.parametrize("damage", INDEXES)
def test_a_damaged_index_is_told(damage: str, own: Path, cli: Cli) -> None:
    change, said = INDEXES[damage]
    index = json.loads((own / "kit.json").read_text())
    change(index)
    (own / "kit.json").write_text(json.dumps(index))
    code, _, error = cli("embed-kit", own, "--check", own)
    assert code == 7 and "kit.json: damaged" in error and said in error and "make the kit again" in error


def test_a_bundle_without_host_steps_is_told(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    for report in ("report.json", "report.md", "report.html", "junit.xml", "reports.sha256"):
        (bundle / report).unlink(missing_ok=True)
    rewrite(bundle, lambda data: data.pop("host_steps"))
    code, _, error = cli("embed-kit", bundle, "-o", tmp_path / "kit")
    assert code == 2 and "its manifest has no host steps: family trellis declares none" in error
    assert not (tmp_path / "kit").exists()


def test_host_steps_that_are_not_the_pipeline_make_no_kit(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    """A hand-edited schedule; nothing half-written is left, and a kit that was there stays."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    for report in ("report.json", "report.md", "report.html", "junit.xml", "reports.sha256"):
        (bundle / report).unlink(missing_ok=True)

    def change(data: dict) -> None:
        flow = next(step for step in data["host_steps"]["steps"] if step["op"] == "flow_euler")
        flow["steps"][0]["dt"] = 0.9

    rewrite(bundle, change)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, error = cli("embed-kit", bundle, "-o", tmp_path / "kit")
    assert code == 7 and "its host steps do not make the pipeline's" in error
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == before


def test_a_kit_is_replaced_whole(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "bundle-kit"
    for _ in range(2):
        code, said, error = cli("embed-kit", tiny_bundle, "-o", out, "--json")
        assert code == 0, error
        assert not (out / "old").exists() and json.loads(said)["kit"] == str(out)
        (out / "old").write_text("of the first")
    again = {path.name: path.read_bytes() for path in out.glob("0/*") if path.suffix == ".npy"}
    assert again and (out / "old").exists()


def test_texts_are_apart() -> None:
    assert len({*token_cases.TEXTS, *token_cases.DIFFERING}) == len(token_cases.TEXTS) + len(token_cases.DIFFERING)
