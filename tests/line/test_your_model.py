"""A model of one's own through the whole line: the example of docs/your-model.md, as that page says. The bundle works
where its code is not; changed code is built anew; `init` finds what fails by trying."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.runtime import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "your_model"


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """What a command says, run in a folder as a user does; its cache lies beside it."""
    environment = {**os.environ, "GEN3DEXPORT_CACHE": str(folder.parent / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with weights, and its bundle for ONNX beside it."""
    folder = tmp_path_factory.mktemp("mine") / "your_model"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    said = run(folder, "field.py")
    assert float(said.rpartition("mean error ")[2].split()[0]) < 0.02
    run(folder, "-m", "gen3dexport", "build", "recipe.yaml", "-t", "onnx", "-o", "../bundle")
    return folder


def eager(example: Path, radius: float) -> np.ndarray:
    """The distances [48, 48, 48] that the example's network itself gives, in float32 torch."""
    code = (
        "import field, numpy as np, torch; from safetensors.torch import load_file; net = field.Field(); "
        "net.load_state_dict(load_file('weights/model.safetensors')); line = torch.linspace(-0.5, 0.5, 48); "
        "grid = torch.stack(torch.meshgrid(line, line, line, indexing='ij'), -1).reshape(1, -1, 3); "
        f"np.save('eager.npy', net(grid, torch.full((1, 1), {radius})).detach().numpy().reshape(48, 48, 48))"
    )
    run(example, "-c", code)
    found: np.ndarray = np.load(example / "eager.npy")
    return found


def test_the_bundle_runs_without_the_code(example: Path, tmp_path: Path) -> None:
    bundle = example.parent / "bundle"
    np.savez(tmp_path / "thick.npz", radius=np.full((1, 1), 0.12, np.float32))
    save_file({"radius": np.full((1, 1), 0.09, np.float32)}, tmp_path / "thin.safetensors")
    inside = {}
    for name, radius in (("thick.npz", 0.12), ("thin.safetensors", 0.09)):
        out = tmp_path / f"{name}.glb"
        arguments = ("run", str(bundle), "--input", name, "-o", str(out), "-o", f"{name}.values.npz")
        run(tmp_path, "-m", "gen3dexport", *arguments)  # here is no field.py
        values = np.load(tmp_path / f"{name}.values.npz")["distance"]
        assert out.stat().st_size > 1000 and values.shape == (48, 48, 48)
        wanted, inside[name] = eager(example, radius), values < 0
        assert np.abs(values - wanted).mean() < 0.01
        assert (inside[name] & (wanted < 0)).sum() > 0.9 * (inside[name] | (wanted < 0)).sum()
    assert inside["thick.npz"].sum() > 1.3 * inside["thin.safetensors"].sum()
    loaded = load(bundle)
    mesh = loaded.generate_assets(inputs={"radius": np.full((1, 1), 0.1)})["mesh"]
    across = np.linalg.norm(mesh.vertices[:, :2], axis=1) - 0.3
    assert np.abs(np.hypot(across, mesh.vertices[:, 2]) - 0.1).mean() < 0.02
    said = run(tmp_path, "-m", "gen3dexport", "run", str(bundle), "-o", "x.glb", code=2)
    assert "takes radius float32 [1, 1]; give them with --input" in said
    said = run(tmp_path, "-m", "gen3dexport", "run", str(bundle), "--input", "thick.txt", "-o", "x.glb", code=2)
    assert "needs a .npz or .safetensors file" in said


def test_arrays_go_into_a_process_of_its_own(example: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", radius=np.full((1, 1), 0.1, np.float32))
    bundle = str(example.parent / "bundle")
    common = ("-m", "gen3dexport", "run", bundle, "--input", "in.npz", "--kind", "tensors")
    run(tmp_path, *common, "-o", "here.npz")
    run(tmp_path, *common, "-o", "there.safetensors", "--isolate")
    from safetensors.numpy import load_file

    there = load_file(tmp_path / "there.safetensors")["distance"]
    assert np.allclose(np.load(tmp_path / "here.npz")["distance"], there, atol=1e-6)


def test_the_manifest_says_what_code_it_was(example: Path) -> None:
    manifest = read_manifest(example.parent / "bundle")
    assert manifest.settings["factory"] == "field:make" and {*manifest.settings["source"]} == {"field"}
    assert manifest.recipe["family"] == "custom" and manifest.components == ("model",)
    assert {*manifest.weights["model"]} == {"model.safetensors"}
    assert str(example) not in manifest.model_dump_json()


def test_changed_code_is_built_anew_and_same_code_is_not(example: Path) -> None:
    build = ("-m", "gen3dexport", "build", "recipe.yaml", "-t", "onnx", "--skip-validation", "-o")
    assert re.search(r"model\s+cached", run(example, *build, "../again"))
    before = read_manifest(example.parent / "again").settings["source"]["field"]
    path = example / "field.py"
    text = path.read_text()
    path.write_text(text.replace("return self.body(", "return 2 * self.body("))
    try:
        said = run(example, *build, "../changed")
    finally:
        path.write_text(text)
    assert not re.search(r"model\s+cached", said) and re.search(r"model\s+lower", said)
    assert read_manifest(example.parent / "changed").settings["source"]["field"] != before
    radius = {"radius": np.full((1, 1), 0.1)}
    old, new = (
        load(example.parent / name).generate_assets(inputs=radius)["tensors"].arrays["distance"]
        for name in ("again", "changed")
    )
    assert np.allclose(new, 2 * old, rtol=0.05, atol=0.02)


NETS = """\
import torch
from torch import nn

class Sums(nn.Module):
    def forward(self, x):
        if x.sum().item() > 0:
            return x * 2
        return x

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.sums = Sums()

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.sums(x)

class Inverse(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4)

    def forward(self, x):
        y = self.first(x) + 4 * torch.eye(4)
        return torch.linalg.inv(y) * 2

class Dies(nn.Module):
    def __init__(self):
        super().__init__()
        self.good, self.bad = nn.Linear(8, 8), Kill()

    def forward(self, x):
        return self.bad(self.good(x))

class Kill(nn.Module):
    def forward(self, x):
        if torch.compiler.is_exporting():
            import os
            os.kill(os.getpid(), 9)
        return x + 1
"""


def _init(folder: Path, name: str, shape: str, target: str, code: int) -> dict[str, object]:
    said = run(
        folder, "-m", "gen3dexport", "init", "--from", f"nets:{name}", "--shape", f"x={shape}", "-t", target,
        "-o", f"{name}.yaml", "--json", code=code,
    )  # fmt: skip
    found, _ = json.JSONDecoder().raw_decode(said[said.index("{\n") :])
    assert found["recipe"] == f"{name}.yaml"
    result: dict[str, object] = found["targets"][0]
    return result


def test_init_finds_the_block_the_operator_and_the_line(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    lines = NETS.splitlines()
    net = _init(folder, "Net", "1,8", "onnx", 4)
    trials = {t["block"]: t for t in net["trials"]}  # type: ignore[attr-defined]
    assert trials["model.blocks.0"]["works"] and trials["model.blocks.0"]["ran"]
    assert trials["model.blocks.1"]["alike"] == "model.blocks.0"
    bad = trials["model.sums"]
    assert (bad["works"], bad["stage"]) == (False, "export") and "torch.where" in bad["rewrite"]
    assert bad["line"] == f"nets.py:{lines.index('        if x.sum().item() > 0:') + 1}"
    assert not trials["model"]["works"]
    inverse = _init(folder, "Inverse", "1,4,4", "onnx", 4)
    tried = inverse["trials"]
    one = next(t for t in tried if t["operator"].startswith("aten.linalg_inv"))  # type: ignore[attr-defined]
    number = lines.index("        return torch.linalg.inv(y) * 2") + 1
    assert (one["stage"], one["line"]) == ("lower", f"nets.py:{number}")
    assert "closed form" in one["rewrite"]


def test_init_outlives_a_block_that_kills_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    found = _init(folder, "Dies", "1,8", "eager", 4)
    trials = {t["block"]: t for t in found["trials"]}  # type: ignore[attr-defined]
    assert trials["model.good"]["works"]
    assert trials["model.bad"]["stage"] == trials["model"]["stage"] == "crash"


def test_the_recipe_of_init_is_one_that_build_takes(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    save_file({"input": np.ones((2, 4), np.float32)}, folder / "real.safetensors")
    said = run(
        folder, "-m", "gen3dexport", "init", "--from", "torch.nn:Linear", "--argument", "in_features=4", "--argument",
        "out_features=3", "--example", "real.safetensors", "-t", "eager", "-o", "linear.yaml",
    )  # fmt: skip
    assert "eager: works" in said
    run(folder, "-m", "gen3dexport", "build", "linear.yaml", "-t", "eager", "-o", "bundle")
    made = load(folder / "bundle").generate_assets(inputs={"input": np.ones((2, 4))})
    assert made["tensors"].arrays["output"].shape == (2, 3)
    assert "exists; choose another name" in run(
        folder, "-m", "gen3dexport", "init", "--from", "torch.nn:Linear", "-o", "linear.yaml", code=2
    )


def test_the_page_says_what_the_example_has() -> None:
    """Code and commands of the page are those of the example."""
    text = (ROOT / "docs" / "your-model.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(python|yaml)\n(.*?)```", text, re.DOTALL)
    sources = {"python": (EXAMPLE / "field.py").read_text(), "yaml": (EXAMPLE / "recipe.yaml").read_text()}
    shown = [(kind, body) for kind, body in blocks if body.startswith(("class Field", "schema: 2"))]
    assert len(shown) == 2
    for kind, body in shown:
        assert body.strip() in sources[kind]
