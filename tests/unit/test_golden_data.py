"""Golden data on disk: one grammar of names, written and read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gen3dexport.bundle import golden
from gen3dexport.bundle.golden import Arrays, Call, Trajectories
from gen3dexport.cli.parity import show_parity


def same(found: Arrays, expected: Arrays) -> bool:
    assert found.keys() == expected.keys()
    return all(np.array_equal(found[k], v) and found[k].dtype == v.dtype for k, v in expected.items())


def test_calls_and_what_is_equal_in_both_is_kept_once(tmp_path: Path) -> None:
    x, v, w = np.arange(6.0).reshape(1, 3, 2), np.ones((1, 3)), np.zeros((1, 3), np.int64)
    calls = [Call({"x": x + k}, {"v": v, "w": w}, {"v": v + 0.5 * k, "w": w}) for k in range(11)]
    golden.write_calls(tmp_path, "flow", calls)
    stored = load_file(tmp_path / "flow.safetensors")
    assert {k for k in stored if k.startswith("0.")} == {"0.in.x", "0.fp32.v", "0.fp32.w"}
    assert {k for k in stored if k.startswith("10.")} == {"10.in.x", "10.fp32.v", "10.fp32.w", "10.quantized.v"}
    found = golden.read_calls(tmp_path, "flow")
    assert len(found) == 11  # in order, ten after nine
    for one, other in zip(found, calls, strict=True):
        assert same(one.inputs, other.inputs) and same(one.fp32, other.fp32) and same(one.quantized, other.quantized)


@pytest.mark.parametrize("outputs", [{}, {"x": np.ones((1, 4), np.float32)}])
def test_a_sampler_loop_may_have_inputs_alone(tmp_path: Path, outputs: dict[str, np.ndarray]) -> None:
    inputs = {"x": np.zeros((1, 4), np.float32), "neg_cond": np.ones((1, 2), np.float16)}
    golden.write_loop(tmp_path, "flow", Call(inputs, outputs, {k: v + 1 for k, v in outputs.items()}))
    found = golden.read_loop(tmp_path, "flow")
    assert same(found.inputs, inputs) and same(found.fp32, outputs)
    assert same(found.quantized, {k: v + 1 for k, v in outputs.items()})


def test_trajectories_name_the_latent_and_the_time(tmp_path: Path) -> None:
    assert golden.read_trajectories(tmp_path, "flow") is None
    latents = tuple(np.full((3, 1, 2), k, np.float32) for k in range(11))
    golden.write_trajectories(tmp_path, "flow", Trajectories("x", "t", latents))
    found = golden.read_trajectories(tmp_path, "flow")
    assert found is not None and (found.state, found.time) == ("x", "t")
    assert [float(latent[0, 0, 0]) for latent in found.latents] == [*map(float, range(11))]


def test_assets_of_every_prompt_and_kind_keep_their_axes(tmp_path: Path) -> None:
    mesh = {"vertices": np.zeros((0, 3), np.float32), "cell": np.array(1 / 64)}
    made = [{"mesh": mesh, "voxels": {"occupancy": np.eye(3, dtype=bool)}}, {"mesh": mesh}]
    golden.write_assets(tmp_path / golden.ASSETS, made)
    assert set(load_file(tmp_path / golden.ASSETS)) == {
        *("0.mesh.vertices", "0.mesh.cell", "0.voxels.occupancy", "1.mesh.vertices", "1.mesh.cell"),
    }
    found = golden.read_assets(tmp_path / golden.ASSETS)
    assert [sorted(assets) for assets in found] == [["mesh", "voxels"], ["mesh"]]
    assert all(same(one[kind], made[k][kind]) for k, one in enumerate(found) for kind in one)
    assert found[0]["mesh"]["cell"].shape == () and found[0]["mesh"]["vertices"].shape == (0, 3)


def test_assets_whose_names_have_dots_are_kept(tmp_path: Path) -> None:
    """Those of a sequence are its items' names."""
    made = [
        {"sequence": {"times": np.arange(2.0), "0.depth_map.depth": np.ones((2, 3)), "1.depth_map.depth": np.eye(2)}}
    ]
    golden.write_assets(tmp_path / golden.ASSETS, made)
    found = golden.read_assets(tmp_path / golden.ASSETS)
    assert [*found[0]] == ["sequence"] and same(found[0]["sequence"], made[0]["sequence"])


def test_states_of_a_pipeline_may_have_dots_in_their_names(tmp_path: Path) -> None:
    states = [{"noise": np.ones((1, 2)), "tables.a": np.array(3)}, {"noise": np.zeros((1, 2))}]
    golden.write_states(tmp_path / "states.safetensors", states)
    found = golden.read_states(tmp_path / "states.safetensors")
    assert len(found) == 2 and all(same(a, b) for a, b in zip(found, states, strict=True))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--scheme", "int8-dynamic"], "--scheme int8-dynamic: needs --target; without it the network runs eagerly"),
        (["--scheme", "int9"], "--scheme int9: needs --target"),
        (["--tolerance", "-1"], "--tolerance"),
    ],
)
def test_parity_refuses_what_it_would_not_do(
    options: list[str], told: str, cli: Callable[..., tuple[int, str, str]]
) -> None:
    folder = Path(__file__).parents[1] / "golden" / "triposr" / "tokenizer"
    code, out, error = cli("parity", "triposr", folder, *options)
    assert (code, out) == (2, "") and told in " ".join(error.split())


def test_parity_says_where_more_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    errors = {"max_abs": 2e-4, "relative": 2e-4, "relative_l2": 2e-4}
    outputs = [{"output": name, **errors, "allowed": allowed} for name, allowed in (("exact", 1e-3), ("root", 3e-3))]
    verdict = {"golden": "set", "target": "eager", "scheme": "fp32", "tolerance": 1e-3, "passed": True}
    show_parity({**verdict, "outputs": outputs})
    said = capsys.readouterr().out
    assert "root: 0.003 allowed, its reference is not exact" in said and "exact:" not in said
