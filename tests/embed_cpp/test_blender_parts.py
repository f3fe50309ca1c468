"""The extension's parts that know nothing of Blender: manifest, command, process, Gaussians' file, archive."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import tomllib
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gen3dexport.assets import gaussian_files
from gen3dexport.assets.colour import linear_light
from gen3dexport.assets.gaussians import SH_C0, Gaussians

EMBED = Path(__file__).parents[2] / "embed"
# A package of that name whose __init__, which needs bpy, is left out.
_package = types.ModuleType("gen3dexport_blender")
_package.__path__ = [str(EMBED / "blender")]
sys.modules["gen3dexport_blender"] = _package
bundle, command, gaussian_ply, job = (
    importlib.import_module(f"gen3dexport_blender.{name}") for name in ("bundle", "command", "gaussian_ply", "job")
)
Refused = bundle.Refused
MANIFEST = {
    "recipe": {"name": "chairs", "summary": "text to chairs"},
    "target": {"name": "executorch-xnnpack", "backend": "executorch"},
    "host_steps": {"request": {"prompt": True}, "steps": [{"op": "flow_euler", "steps": [{}, {}, {}]}]},
}


def _bundle(folder: Path, **changed: Any) -> Any:
    (folder / "manifest.json").write_text(json.dumps({**MANIFEST, **changed}))
    return bundle.read(folder)


def _gaussians(count: int = 50) -> Gaussians:
    numbers = np.random.default_rng(3)
    return Gaussians(
        numbers.uniform(-0.5, 0.5, (count, 3)).astype(np.float32),
        numbers.uniform(0.002, 0.03, (count, 3)).astype(np.float32),
        numbers.standard_normal((count, 4)).astype(np.float32),
        numbers.uniform(0.05, 0.95, count).astype(np.float32),
        ((numbers.uniform(0, 1, (count, 1, 3)) - 0.5) / SH_C0).astype(np.float32),
    )


def test_a_manifest(tmp_path: Path) -> None:
    found = _bundle(tmp_path)
    assert (found.name, found.backend, found.steps, found.prompt, found.by_cpp) == (
        "chairs",
        "executorch",
        3,
        True,
        True,
    )
    other = _bundle(tmp_path, host_steps=None)
    assert (other.steps, other.prompt, other.by_cpp) == (0, None, False)


@pytest.mark.parametrize("text", ["", "[]", '{"recipe": 1}', '{"recipe": {"name": "a"}, "target": {}}', "\x80"])
def test_no_manifest_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused, match=r"manifest\.json: no manifest of a bundle; build or copy"):
        bundle.read(tmp_path)
    with pytest.raises(Refused, match="no bundle there"):
        bundle.read(tmp_path / "none")


def test_which_executable(tmp_path: Path) -> None:
    found, eager = _bundle(tmp_path), bundle.Bundle(tmp_path, "a", "", "eager", "eager", 0, None)
    mesh, points = command.Request("a chair"), command.Request("a chair", kind="gaussians")

    def on(*names: str) -> Any:
        return lambda name: f"/bin/{name}" if name in names else None

    both = on("gen3d", "gen3dexport")
    assert command.executable("", found, mesh, both) == ["/bin/gen3d"]
    assert command.executable("", found, points, both) == ["/bin/gen3dexport"]
    assert command.executable("", eager, mesh, both) == ["/bin/gen3dexport"]
    assert command.executable("", found, mesh, on("gen3dexport")) == ["/bin/gen3dexport"]
    assert command.executable("python3.11", found, mesh, on("python3.11")) == ["/bin/python3.11", "-m", "gen3dexport"]
    for given, what, where, message in (
        ("", mesh, on(), "neither gen3d nor gen3dexport is on PATH"),
        ("", points, on("gen3d"), "makes meshes of prompts"),
        ("gen3d", points, both, "makes meshes of prompts"),
        ("/none", mesh, both, "no executable there"),
    ):
        with pytest.raises(Refused, match=message):
            command.executable(given, found, what, where)
    with pytest.raises(Refused, match="makes assets of ExecuTorch bundles"):
        command.executable("gen3d", eager, mesh, both)


def test_the_command_is_one_that_gen3dexport_takes(tmp_path: Path) -> None:
    """Its own parser reads every option: what it complains of is the bundle."""
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "bundle").mkdir()
    found = _bundle(tmp_path / "bundle")
    for request in (
        command.Request("--a chair", seed=3, largest_part=True, fields=("a=1", "b=2")),
        command.Request(image=str(tmp_path / "a.png"), kind="gaussians"),
    ):
        words = command.words([sys.executable, "-m", "gen3dexport"], found, request, tmp_path)
        done = subprocess.run(words, capture_output=True, text=True)
        told = json.loads(done.stdout)
        assert (done.returncode != 0 and "a.png" in told["message"]) or "manifest.json" in told["message"], told


def test_requests_that_no_bundle_could_make(tmp_path: Path) -> None:
    for request, message in (
        (command.Request(" "), "no prompt"),
        (command.Request(image=str(tmp_path)), "no picture there"),
        (command.Request("a", fields=("steps",)), "write NAME=VALUE"),
    ):
        with pytest.raises(Refused, match=message):
            request.check()


def _ended(words: list[str]) -> Any:
    made = job.Job()
    made.start(words)
    while made.running():
        time.sleep(0.01)
    return made


def test_an_error_is_the_commands_own_in_one_line(tmp_path: Path) -> None:
    made = _ended([sys.executable, "-m", "gen3dexport", "run", str(tmp_path / "none"), "--prompt", "a", "--json"])
    with pytest.raises(Refused, match=str(tmp_path / "none")) as refused:
        made.result()
    assert "\n" not in str(refused.value)
    made.close()
    assert not made.folder.exists()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.stderr.write('\\r 50 %  flow\\rerror: no chair:\\n'); sys.exit(2)", "^no chair:$"),
        ("raise ValueError('odd')", "ended with 1: ValueError: odd$"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by signal 11"),
        ("print('{}x')", "gave no result"),
        ("print('{}')", "gave no result"),
    ],
)
def test_what_else_a_process_may_say(script: str, message: str) -> None:
    made = _ended([sys.executable, "-c", script])
    with pytest.raises(Refused, match=message):
        made.result()
    made.close()


@pytest.mark.parametrize("indent", [None, 1])
def test_progress_and_a_result(indent: int | None) -> None:
    result = {"assets": [{"path": "a.glb", "faces": 2}]}
    script = "import sys, json; sys.stderr.write('\\r 12 %  text_encoder  ');"
    made = _ended([sys.executable, "-c", f"{script} print(json.dumps({result}, indent={indent}))"])
    assert (made.progress, made.doing, made.result()) == (0.12, "text encoder", result)
    made.close()


def test_cancel_ends_the_child_and_all_that_it_started() -> None:
    """One that does not end when it is asked to is ended all the same."""
    script = "import signal, subprocess, sys; signal.signal(15, signal.SIG_IGN);"
    script += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    script += "sys.stderr.write(f'{p.pid} %  ready'); sys.stderr.flush(); p.wait(); import time; time.sleep(60)"
    made = job.Job()
    made.start([sys.executable, "-c", script])
    while made.progress is None:
        time.sleep(0.01)
    grandchild = round(100 * made.progress)
    made.cancel()
    assert made.running()
    made._asked -= job.PATIENCE_S
    while made.running():
        time.sleep(0.01)
    with pytest.raises(Refused, match=r"^cancelled$"):
        made.result()
    for _ in range(500):
        if not Path(f"/proc/{grandchild}").exists() or _is_zombie(grandchild):
            break
        time.sleep(0.01)
    assert not Path(f"/proc/{grandchild}").exists() or _is_zombie(grandchild)
    made.close()
    assert not made.folder.exists()


def _is_zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_gen3dexport_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """Blender may crash: what it started must not go on."""
    variable = job._PARENT
    from gen3dexport import children

    assert variable == children.PARENT
    made = job.Job()
    script = f"import json, os; print(json.dumps({{'assets': [{{'path': os.environ['{variable}']}}]}}))"
    made.start([sys.executable, "-c", script])
    while made.running():
        time.sleep(0.01)
    assert made.result()["assets"][0]["path"] == str(os.getpid())
    made.close()


def test_gaussians_are_what_was_written(tmp_path: Path) -> None:
    given = _gaussians()
    (tmp_path / "a.ply").write_bytes(gaussian_files.content(given, ".ply"))
    found = gaussian_ply.read(tmp_path / "a.ply")
    assert np.abs(found.positions - given.positions).max() < 1e-6
    assert np.abs(found.scales / given.scales - 1).max() < 1e-5
    assert np.abs(found.opacities - given.opacities).max() < 1e-6
    assert np.abs(found.colors - linear_light(np.clip(given.colors, 0, 1))).max() < 1e-5
    assert np.abs(np.abs((found.rotations * given.rotations).sum(1)) - 1).max() < 1e-5


def test_other_files_are_no_gaussians(tmp_path: Path) -> None:
    content = gaussian_files.content(_gaussians(), ".ply")
    lacking = content.replace(b"property float opacity\n", b"property float opaque_\n")
    infinite = content[:-4] + np.float32(np.inf).tobytes()
    for number, (bad, message) in enumerate(
        [(b"", "no binary"), (content[:-5], "no binary"), (lacking, "lacks opacity"), (infinite, "not finite")]
    ):
        (tmp_path / f"{number}.ply").write_bytes(bad)
        with pytest.raises(Refused, match=message):
            gaussian_ply.read(tmp_path / f"{number}.ply")


def test_the_archive(tmp_path: Path) -> None:
    command_line = [sys.executable, str(EMBED / "blender_zip.py")]
    made = [
        subprocess.run([*command_line, str(tmp_path / n)], check=True, capture_output=True, text=True) for n in "ab"
    ]
    first, second = (Path(done.stdout.strip()) for done in made)
    assert first.read_bytes() == second.read_bytes()
    manifest = tomllib.loads((EMBED / "blender" / "blender_manifest.toml").read_text())
    assert first.name == f"gen3dexport-{manifest['version']}.zip"
    with zipfile.ZipFile(first) as archive:
        names = set(archive.namelist())
    sources = {path.name for path in (EMBED / "blender").glob("*.py")}
    assert names == sources | {"blender_manifest.toml", "LICENSE"}
    # What Blender's own check demands (blender_ext.py).
    assert manifest["schema_version"] == "1.0.0" and manifest["blender_version_min"] == "4.2.0"
    assert 0 < len(manifest["tagline"]) <= 64 and manifest["tagline"][-1].isalnum()
    assert all(0 < len(text) <= 64 and text[-1].isalnum() for text in manifest["permissions"].values())
