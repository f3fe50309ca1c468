"""Hunyuan3D-2 as a family: its contract, whole assets of both kinds, the notice before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import pytest
from hunyuan_tiny import KNOBS, checkpoint

from gen3dexport.assets.mesh import Mesh
from gen3dexport.models import Request, hunyuan3d_2
from gen3dexport.models.image_preparation import sample_image
from gen3dexport.observe import Eager
from gen3dexport.testing import FamilyContract

Cli = Callable[..., tuple[int, str, str]]


class _Contract(FamilyContract):
    @pytest.fixture(scope="class")
    def name(self) -> str:
        return "hunyuan3d-2"

    @pytest.fixture(scope="class")
    def knobs(self) -> dict[str, Any]:
        return dict(KNOBS)


class TestPlain(_Contract):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("hunyuan"))


class TestTurbo(_Contract):
    @pytest.fixture(scope="class")
    def weights(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return checkpoint(tmp_path_factory.mktemp("hunyuan"), "turbo")

    def test_the_host_side_imports_no_torch(self, name: str) -> None:
        """Tested with the plain one."""


def _made(weights: Path, **knobs: Any) -> tuple[dict[str, Any], Mesh, list[Eager]]:
    """The finished state, the mesh and the programs of a run."""
    settings = hunyuan3d_2.read_settings(weights, hunyuan3d_2.Knobs(**{**KNOBS, **knobs}), False)
    state = hunyuan3d_2.begin(settings, Request(image=sample_image(0)), weights, xp)
    programs = []
    for one in hunyuan3d_2.components(settings):
        programs.append(Eager(one.load(weights)))
        state = one.advance(state, programs[-1], xp)
    return state, hunyuan3d_2.make_assets(state, settings)["mesh"], programs


def test_even_steps_run_from_noise_to_the_last_but_one(tmp_path: Path) -> None:
    """The last of four steps has width 0 and is not made; each of the others is two calls."""
    state, mesh, programs = _made(checkpoint(tmp_path))
    times = [float(call[0]["t"][0]) for call in programs[1].calls]
    assert times == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert len(mesh.faces) > 100 and mesh.cell == pytest.approx(1 / 19)
    alone, _, ran = _made(tmp_path, guidance_scale=1.0)
    steps = sum(call[1]["v"] for call in ran[1].calls)
    np.testing.assert_allclose(alone["z"], alone["noise"] + steps / 3, atol=1e-5)
    assert not np.allclose(alone["z"], state["z"])


def test_a_distilled_model_is_called_once_a_step(tmp_path: Path) -> None:
    _, mesh, programs = _made(checkpoint(tmp_path, "turbo"), steps=5)
    times = [float(call[0]["t"][0]) for call in programs[1].calls]
    assert times == pytest.approx([0, 199 / 999, 399 / 999, 599 / 999, 799 / 999])
    assert len(mesh.faces) > 100
    _, other, _ = _made(tmp_path, steps=5, guidance_scale=2.0)
    assert len(other.faces) != len(mesh.faces)


def test_the_notice_comes_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("plan", "hunyuan3d-2-mini", f"weights={tmp_path / 'nowhere'}", "-t", "onnx")
    assert code == 2
    told = err.index("European Union, the United Kingdom and South Korea")
    assert told < err.index("no folder with a config.yaml")


def test_steps_that_were_not_taught_are_the_knobs(cli: Cli, tmp_path: Path) -> None:
    weights = checkpoint(tmp_path, "turbo")
    code, _, err = cli("plan", "hunyuan3d-2-mini-turbo", f"weights={weights}", "knobs.steps=500", "-t", "onnx")
    assert code == 2 and "knobs: " in err and "was taught" in err and "change them, or leave them to" in err
