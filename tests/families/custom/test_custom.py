"""A model of one's own: a factory's networks as components; what requests take; what recipes say; what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gen3dexport import models
from gen3dexport.documents.caches import private_folder
from gen3dexport.errors import UsageError
from gen3dexport.models import Request, custom
from gen3dexport.models.custom.host.asset import Cloud, Splats, Surface
from gen3dexport.models.custom.host.sources import digests
from gen3dexport.models.custom.networks import factory as factories
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.testing import FamilyContract

HERE = str(Path(__file__).parent)
if HERE not in sys.path:
    sys.path.append(HERE)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEN3DEXPORT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def described(name: str, **knobs: Any) -> custom.Settings:
    folder = private_folder("factories")
    return custom.read_settings(folder, custom.Knobs(factory=f"own_networks:{name}", **knobs), False)


class TestContract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "custom"

    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("weights")
        for part in factories.make("own_networks:cloud", {}).parts:  # type: ignore[union-attr]
            torch.manual_seed(5)
            made = {n: torch.randn_like(v) for n, v in part.module.state_dict().items()}
            save_file(made, folder / f"{part.name}.safetensors")
        (folder / "model.safetensors").write_bytes(b"")  # the marker; a pipeline of two parts has no such weights
        return folder

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return {"factory": "own_networks:cloud"}


def test_a_field_becomes_a_mesh_of_its_surface() -> None:
    settings = described("ball")
    assert settings.asset_kinds == ("mesh", "tensors") and list(settings.asked) == ["radius"]
    declared = custom.components(settings)[0]
    files = private_folder("factories")
    (files / "examples.safetensors").write_bytes(next(iter(declared.host_files(files).values())).read_bytes())
    state = custom.begin(settings, Request(inputs={"radius": np.full((1, 1), 0.5)}), files, xp)
    program = Eager(declared.load(files))
    made = custom.make_assets(declared.advance(state, program, xp), settings)
    mesh = made["mesh"]
    assert len(program.calls) == -(-(64**3) // 700)
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 0.5, atol=2e-3)
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    assert np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * 0.125, rel=0.01)
    assert made["tensors"].arrays["output"].shape == (64, 64, 64)
    golden = custom.begin(settings, Request("x", 0, stand_in="trained"), files, xp)
    assert golden["radius"] == np.float32(0.6) and {*golden} == {"radius"}


def test_what_a_network_returns_is_flat_and_named() -> None:
    settings = described("cloud")
    assert [(p.name, p.inputs, p.outputs) for p in settings.parts] == [
        ("encoder", ("ids",), ("tokens", "extra_mean")),
        ("decoder", ("tokens", "keep"), ("positions", "colors", "nearest")),
    ]
    assert settings.takes["ids"].dtype == "int64" and settings.gives["nearest"].dtype == "int64"
    component = custom.components(settings)[0].load(private_folder("factories"))
    assert [name for name, _ in component.module.named_parameters()][:2] == ["table.weight", "mix.weight"]
    own = described("Same", inputs={"x": (1, 4)}, outputs=("a", "b", "c"))
    made = custom.components(own)[0].load(private_folder("factories"))
    x = torch.randn(1, 4)
    exported = torch.export.export(made.module, (x,), strict=False).module()(x)
    assert len(exported) == 3 and torch.equal(exported[0], x) and torch.equal(exported[2], 2 * x)


def test_requests_are_held_to_shapes_and_types(tmp_path: Path) -> None:
    settings = described("cloud")
    good: dict[str, Any] = {"ids": np.zeros((1, 8), np.int32), "keep": np.ones((1, 8, 1))}
    state = custom.begin(settings, Request(inputs=good), tmp_path, xp)
    assert state["ids"].dtype == np.int64 and state["keep"].dtype == np.float32
    for change, message in (
        ({"ids": np.zeros((1, 7), np.int64)}, r"ids has shape \[1, 7\]; needs int64 \[1, 8\]"),
        ({"ids": np.zeros((1, 8), np.float32)}, "ids is of type float32; needs int64"),
        ({"keep": np.full((1, 8, 1), np.nan)}, "keep holds NaN"),
        ({"kep": np.ones(1)}, "'kep' is no input; did you mean 'keep'"),
    ):
        with pytest.raises(UsageError, match=message):
            custom.begin(settings, Request(inputs={**good, **change}), tmp_path, xp)
    with pytest.raises(UsageError, match="keep is missing: float32"):
        custom.begin(settings, Request(inputs={"ids": good["ids"]}), tmp_path, xp)
    with pytest.raises(UsageError, match="give them with --input FILE"):
        custom.begin(settings, Request(), tmp_path, xp)
    with pytest.raises(UsageError, match="takes no prompt"):
        custom.begin(settings, Request("a chair", inputs=good), tmp_path, xp)


@pytest.mark.parametrize(
    ("name", "knobs", "message"),
    [
        ("InPlace", {"inputs": {"x": (1, 8)}}, r"changes its input x in place; begin forward with x = x\.clone\(\)"),
        ("Noisy", {"inputs": {"x": (1, 8)}}, "differs between two calls on the same input; it draws random"),
        ("Number", {"inputs": {"x": (1, 8)}}, r"output size returns float 3\.0; a program gives tensors alone"),
        ("Wide", {"inputs": {"x": (1, 8)}}, r"needs width; give them as `arguments: \{width: \.\.\.\}`"),
        ("Wide", {"inputs": {"x": (1, 8)}, "arguments": {"width": 8, "deep": 1}}, "argument 'deep': unknown"),
        ("Wide", {"inputs": {"x": (1, 7)}, "arguments": {"width": 8}}, r"fails on x \[1, 7\]: .*own_networks\.py:\d+"),
        ("Wide", {"inputs": {"y": (1, 8)}, "arguments": {"width": 8}}, "nothing gives its input 'x'; there is y"),
        ("Wide", {"arguments": {"width": 8}}, r"no example inputs, and programs have fixed shapes; .*x: \[1, \.\.\.\]"),
        ("Wide", {"example": "gone.safetensors", "arguments": {"width": 8}}, "gone.safetensors: no safetensors file"),
        ("Complex", {"inputs": {"x": (1, 8)}}, "output output is complex"),
        ("scripted", {"inputs": {"x": (1, 8)}}, "is scripted or traced already"),
        ("broken", {"inputs": {"x": (1, 8)}}, r"RuntimeError: no such file: weights\.bin \(.*own_networks\.py:\d+\)"),
        ("text", {"inputs": {"x": (1, 8)}}, "gave a str; needs a torch module"),
        ("Tie", {"inputs": {"x": (1, 8)}}, "has no Tie; did you mean 'Tied'"),
        ("Tied", {"inputs": {"x": (1, 8)}, "outputs": ("a", "b")}, r"returns 1 outputs \(output\); outputs names a, b"),
        ("cloud", {"asset": {"kind": "points", "positions": "position"}}, "'position' is no output; did you mean"),
        ("ball", {"asset": {"kind": "mesh", "points": "radius", "values": "output"}}, r"radius has shape \[1, 1\]"),
    ],
)
def test_what_cannot_be_is_told(name: str, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        described(name, **knobs)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_module_on_a_gpu_that_is_not_here_is_told() -> None:
    with pytest.raises(UsageError, match="make the module on the CPU"):
        described("on_cuda", inputs={"x": (1, 8)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_there_is", r"ModuleNotFoundError: No module named 'nothing_there_is' .*:1"),
        ("def f(:\n", "SyntaxError: .*unlucky2.py:1"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(.*:1\)"),
    ],
)
def test_imports_that_fail_are_told(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    name = "unlucky2" if "def" in text else f"unlucky{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=message):
        factories.find(f"{name}:make")
    with pytest.raises(UsageError, match="no module no_such_module; install its package"):
        factories.find("no_such_module.inner:make")
    with pytest.raises(UsageError, match="write package"):
        factories.find("a/b.py")


def test_weights_come_from_a_file_or_the_factory(tmp_path: Path) -> None:
    settings = custom.read_settings(tmp_path, custom.Knobs(factory="own_networks:Tied", inputs={"x": (1, 8)}), False)
    (part,) = custom.components(settings)
    assert settings.own_weights == ""
    with pytest.raises(UsageError, match="weights not found"):
        part.load(tmp_path)
    weight = torch.randn(8, 8)
    zeros = torch.zeros(8)
    stored = {"first.weight": weight, "first.bias": zeros, "second.bias": zeros.clone()}  # as save_model has it
    save_file(stored, tmp_path / "model.safetensors")
    state = part.load(tmp_path).module.state_dict()
    assert torch.equal(state["second.weight"], weight)
    save_file({**stored, "third": weight.clone()}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="unexpected third"):
        part.load(tmp_path)
    own = described("Tied", inputs={"x": (1, 8)})
    assert len(own.own_weights) == 64
    with pytest.raises(UsageError, match="a file, where a folder is needed"):
        custom.Knobs.WEIGHTS.folder(str(tmp_path / "model.safetensors"), "recipe x")
    with pytest.raises(UsageError, match="or write `weights: factory`"):
        custom.Knobs.WEIGHTS.folder(str(tmp_path / "gone"), "recipe x")


def test_changed_code_gives_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "one_of_mine"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "inner" / "__init__.py").write_text("from . import deep\n")
    (package / "inner" / "deep.py").write_text("X = 1\n")
    (package / "net.py").write_text(
        "import numpy\nimport os\ndef make():\n    from torch import nn\n    from .inner import deep\n"
        "    import beside_it\n    return nn.Linear(4, 4)\n"
    )
    (tmp_path / "beside_it.py").write_text("Y = 1\n")
    (package / "unused.py").write_text("Z = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = digests("one_of_mine.net")
    assert {*before} == {
        "beside_it", "one_of_mine", "one_of_mine.inner", "one_of_mine.inner.deep", "one_of_mine.net"
    }  # fmt: skip
    knobs = custom.Knobs(factory="one_of_mine.net:make", inputs={"input": (1, 4)})
    settings = custom.read_settings(private_folder("factories"), knobs, False)
    assert settings.source == before
    (tmp_path / "beside_it.py").write_text("Y = 2\n")
    assert digests("one_of_mine.net")["beside_it"] != before["beside_it"]
    with pytest.raises(UsageError, match="beside_it changed after this process imported it; start a new process"):
        custom.read_settings(private_folder("factories"), knobs, False)


def test_a_recipe_names_a_factory(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    head = "schema: 2\nname: mine\nsummary: mine\n"
    path.write_text(head + 'model: {factory: "own_networks:cloud", arguments: {width: 16}}\n')
    target = read_target("eager")
    plan = make_plan(read_recipe(str(path), target, ["model.arguments.width=24"]), target)
    assert plan.recipe.family == "custom" and plan.recipe.golden.prompts == ("example",)
    assert plan.declared["decoder"].load(plan.weights).module.head.in_features == 24
    for text, message in (
        ("model: own\n", r"mine\.yaml:4: model: needs a mapping"),
        ("model: {factory: a:b}\nfamily: trellis\n", "a model of its own or a family"),
        ("model: {factory: a:b}\nknobs: {}\n", "leave knobs out"),
        ("model:\n  factory: a:b\n  factry: c\n", r"mine\.yaml:6: knobs\.factry: unknown key; did you mean 'factory'"),
        ("model: {factory: a:b, inputs: {x: [0]}}\n", r"inputs\.x\.0: input should be greater"),
    ):
        path.write_text(head + text)
        with pytest.raises(UsageError, match=message):
            read_recipe(str(path), target)
    path.write_text(head + "family: custom\nweights: factory\ngolden: {prompts: [x]}\n")
    with pytest.raises(UsageError, match="no factory"):
        make_plan(read_recipe(str(path), target), target)


def test_outputs_become_assets_in_this_frame() -> None:
    points = np.array([[[1, 2, 3], [4, 5, 6]]], np.float32)
    cloud = Cloud(kind="points", positions="p", colors="c", up="y").asset({"p": points, "c": points / 6})
    assert np.allclose(cloud.positions[0], [1, -3, 2]) and cloud.colors is not None and cloud.colors[1, 2] == 255
    splats = Splats(
        kind="gaussians", positions="p", scales="s", quaternions="q", opacities="o", colors="c", scale="log",
        opacity="logit", order="xyzw",
    )  # fmt: skip
    turns = np.array([[0, 0, 0, 1], [1, 0, 0, 0]], np.float32)
    arrays = {"p": points, "s": np.zeros((1, 2, 3), np.float32), "q": turns}
    made = splats.asset({**arrays, "o": np.array([[0.0, 100.0]], np.float32), "c": np.full((2, 3), 0.75, np.float32)})
    assert np.allclose(made.scales, 1) and np.allclose(made.opacities, [0.5, 1])
    assert np.allclose(made.quaternions, [[1, 0, 0, 0], [0, 1, 0, 0]]) and np.allclose(made.colors, 0.75)
    inside = Surface(kind="mesh", points="p", values="v", inside="above", resolution=16, level=0.25)
    field = 0.5 - np.linalg.norm(inside.grid(), axis=1)
    found = inside.asset({"v": field.reshape(16, 16, 16)})
    assert np.allclose(np.linalg.norm(found.vertices, axis=1), 0.25, atol=0.02)


def test_the_runtime_s_side_names_no_user_code() -> None:
    settings = described("cloud")
    text = settings.model_dump_json()
    assert HERE not in text and "/" not in "".join(settings.source)
    assert models.find("custom") is custom
