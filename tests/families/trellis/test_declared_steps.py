"""Host steps as data: every variant of the structure stage makes what the family's own code makes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders

from gen3dexport.documents.host_steps import FlowEuler, HostSteps, Tokenize
from gen3dexport.errors import UsageError, VerificationError
from gen3dexport.host_steps import interpret
from gen3dexport.models import Request, trellis
from gen3dexport.models.trellis.host.settings import Settings
from gen3dexport.testing.family_contract import compare_host_steps

VARIANTS: dict[str, dict[str, Any]] = {
    "two calls": {},
    "one call of two": {"guidance": "batched"},
    "held context": {"cache_context": True},
    "held context, one call of two": {"guidance": "batched", "cache_context": True},
    "no time table": {"tabulate_time": False},
    "guidance to the end": {"guidance_interval": (0.0, 1.0), "guidance_scale": 7.5},
    "second order, reused guidance": {"order": 2, "reuse_guidance": (1, 2), "guidance_interval": (0.6, 1.0)},
    "given times, in one call": {"step_times": (1.0, 0.6, 0.2), "reuse_guidance": (1,), "guidance": "batched"},
    "guidance nowhere": {"guidance_interval": (0.2, 0.2), "guidance": "batched"},
}


@pytest.fixture(scope="module")
def clip_weights(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny weights with a tiny CLIP."""
    folder = Path(shutil.copytree(tiny_weights, tmp_path_factory.mktemp("clip") / "weights"))
    pipeline = json.loads((folder / "pipeline.json").read_text())
    pipeline["args"]["text_cond_model"] = "openai/clip-vit-large-patch14"
    (folder / "pipeline.json").write_text(json.dumps(pipeline))
    tiny_encoders.write(folder / "encoders" / "clip-vit-large-patch14", "clip")
    return folder


def _settings(weights: Path, **sampler: Any) -> tuple[Settings, HostSteps]:
    settings = trellis.read_settings(weights, trellis.Knobs.model_validate({"sampler": sampler}), False)
    declared = trellis.host_steps(settings)
    assert declared is not None
    return settings, declared


def _compare(weights: Path, settings: Settings, declares: HostSteps, tmp_path: Path) -> None:
    declared = trellis.components(settings)
    (tmp_path / "host").mkdir()
    for one in declared:
        for name, path in one.host_files(weights).items():
            shutil.copyfile(path, tmp_path / "host" / name)
    compare_host_steps(trellis, settings, declared, weights, tmp_path / "host", declares)


@pytest.mark.parametrize("variant", VARIANTS)
def test_given_features(variant: str, tiny_weights: Path, tmp_path: Path) -> None:
    settings, declares = _settings(tiny_weights, **VARIANTS[variant])
    assert declares.request.features == (11, 48)
    flow = next(step for step in declares.steps if isinstance(step, FlowEuler))
    assert {step.weight for step in flow.steps} == {*settings.schedule.weights}
    _compare(tiny_weights, settings, declares, tmp_path)


@pytest.mark.parametrize("variant", ["two calls", "held context, one call of two"])
def test_a_prompt_by_clip(variant: str, clip_weights: Path, tmp_path: Path) -> None:
    settings, declares = _settings(clip_weights, **VARIANTS[variant])
    assert settings.negative == "empty_prompt"
    tokens = [step for step in declares.steps if isinstance(step, Tokenize)]
    assert [(step.text, step.fill, step.overflow, step.mask) for step in tokens] == [
        ("prompt", "end", "cut", None),
        ("empty", "end", "cut", None),
    ]
    _compare(clip_weights, settings, declares, tmp_path)


def test_features_in_pairs(tiny_weights: Path, tmp_path: Path) -> None:
    """A text encoder that is no part of the pipeline: the application gives the empty prompt's features too."""
    settings, _ = _settings(tiny_weights)
    settings = settings.model_copy(update={"negative": "given"})
    declares = trellis.host_steps(settings)
    assert declares is not None and declares.request.features == (2, 11, 48)
    _compare(tiny_weights, settings, declares, tmp_path)


def test_what_no_operation_describes_is_not_declared(tiny_weights: Path) -> None:
    settings, _ = _settings(tiny_weights)
    image = settings.model_copy(update={"checkpoints": {"image_encoder": "ckpts/e", **settings.checkpoints}})
    assert trellis.host_steps(image) is None


def test_a_request_that_lacks_something_is_refused(tiny_weights: Path, tmp_path: Path) -> None:
    _, declares = _settings(tiny_weights)
    for features, said in ((None, "shape none"), (np.zeros((3, 4)), r"shape \[3, 4\]")):
        with pytest.raises(UsageError, match=rf"features: {said}, and these host steps take \[11, 48\]"):
            interpret.run(declares, Request(features=features), tmp_path, lambda name, inputs: {})


def test_programs_that_do_not_fit_are_named(tiny_weights: Path, tmp_path: Path) -> None:
    _, declares = _settings(tiny_weights)
    request = Request(features=np.zeros((11, 48), np.float32))
    with pytest.raises(VerificationError, match=r"host_steps.steps.3 \(flow_euler\): does not fit its values: 'v'"):
        interpret.run(declares, request, tmp_path, lambda name, inputs: {})
