"""TRELLIS whole, tiny: occupancy to structured latent to mesh, Gaussians and radiance field, as one bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY_RECIPE
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file

from gen3dexport.assets import kinds
from gen3dexport.assets import mesh_files as assets
from gen3dexport.assets.gaussian_files import PLY_PROPERTIES
from gen3dexport.assets.gaussians import Gaussians
from gen3dexport.assets.radiance_field import RadianceField
from gen3dexport.bundle.golden import read_assets
from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.errors import UsageError
from gen3dexport.export import export_module
from gen3dexport.models.trellis.host.configs import NETWORKS
from gen3dexport.models.trellis.networks.loading import random_network
from gen3dexport.observe import Eager
from gen3dexport.plan import make_plan, read_recipe, read_target
from gen3dexport.reports.report import read_report
from gen3dexport.runtime import load
from gen3dexport.runtime.pipeline import LoadedBundle
from gen3dexport.search.trials import Choice, Trials

Cli = Callable[..., tuple[int, str, str]]

NAMES = ("slat_flow", "slat_dec_gs", "slat_dec_rf", "slat_dec_mesh")
COMPONENTS = ("flow", "decoder", "slat_flow", "slat_decoder_gs", "slat_decoder_rf", "slat_decoder_mesh")
SCALE = {"mean": [0.25 * k - 1 for k in range(8)], "std": [0.5 + 0.1 * k for k in range(8)]}
WHOLE = TINY_RECIPE + "knobs:\n  voxels: {{budget: 256, on_overflow: coarsen}}\n  slat_sampler: {{steps: 2}}\n"


def _write(folder: Path, name: str, args: dict[str, Any], state: dict[str, torch.Tensor], cls: str) -> None:
    (folder / "ckpts" / f"{name}.json").write_text(json.dumps({"name": cls, "args": args}))
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "ckpts" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def weights(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released layout with a second stage: tiny networks with seeded weights for the structure decoder's grid."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "ckpts").mkdir()
    for name in ("ss_flow_tiny", "ss_dec_tiny"):
        config = json.loads((tiny_weights / "ckpts" / f"{name}.json").read_text())
        state = load_torch(tiny_weights / "ckpts" / f"{name}.safetensors")
        if "dec" in name:  # few voxels: a random decoder fills half the grid
            state["out_layer.2.bias"] = state["out_layer.2.bias"] - 0.6
        _write(folder, name, config["args"], state, config["name"])
    for seed, name in enumerate(NAMES):
        cls, args = NETWORKS[f"{name}_tiny"]
        args = {**args, "resolution": 32}
        module = random_network(cls, args, seed)
        _write(folder, f"{name}_tiny", args, module.state_dict(), cls)
    params = {"steps": 3, "cfg_strength": 2.0, "cfg_interval": [0.5, 1.0], "rescale_t": 3.0}
    roles = {"slat_flow_model": NAMES[0], **{n.replace("dec", "decoder"): n for n in NAMES[1:]}}
    models = {"sparse_structure_flow_model": "ckpts/ss_flow_tiny", "sparse_structure_decoder": "ckpts/ss_dec_tiny"}
    models |= {role: f"owner/elsewhere/ckpts/{name}_tiny" for role, name in roles.items()}
    samplers = {f"{name}_sampler": {"params": params} for name in ("sparse_structure", "slat")}
    args = {"models": models, **samplers, "slat_normalization": SCALE, "text_cond_tokens": 11}
    (folder / "pipeline.json").write_text(json.dumps({"name": "TrellisTextTo3DPipeline", "args": args}))
    return folder


@pytest.fixture(scope="module")
def built(weights: Path, validated: Callable[[str], Path]) -> Path:
    """A bundle of all of it for the eager target, validated."""
    return validated(WHOLE.format(weights=weights))


@pytest.fixture(scope="module")
def loaded(built: Path) -> LoadedBundle:
    """The bundle with its programs, for tests that change nothing of it."""
    return load(built)


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Condition features that some golden asset was not made of."""
    np.save(tmp_path / "features.npy", np.random.default_rng(7).standard_normal((11, 48), dtype=np.float32))
    return tmp_path / "features.npy"


def test_the_bundle_holds_every_component_and_passes(built: Path) -> None:
    manifest = read_manifest(built)
    assert manifest.components == COMPONENTS
    assert manifest.calls["slat_flow"] == 4  # 2 steps of the recipe, both guided: t = 1 and 0.75
    assert list(manifest.component("slat_flow").inputs)[:4] == ["x", "t", "cond", "neighbours"]
    assert manifest.component("slat_decoder_mesh").outputs["feats"].shape == (1, 64 * 256, 101)
    report = json.loads((built / "report.json").read_text())
    assert report["verdict"] == "pass"
    assert set(report["pipeline"]["stages"]) == set(COMPONENTS)
    quality = read_report(built).pipeline.quality
    assert [sorted(q.scores) for q in quality] == [["gaussians", "mesh", "radiance_field", "voxels"]] * 2
    for found in quality:
        values = {f"{kind}.{s.name}": s.value for kind, scores in found.scores.items() for s in scores}
        assert round(values["voxels.iou"], 2) == 1 and values["mesh.f_score"] > 0.99
        assert values["gaussians.psnr"] > 40 and values["gaussians.ssim"] > 0.99 and values["mesh.depth_delta1"] > 0.99
        assert found.loss < 0.01
    page = (built / "report.html").read_text()
    assert page.count('class="splats"') >= 2 and "function splatViewer" in page and "gaussians psnr, dB" in page


def test_golden_assets_keep_every_kind(built: Path, loaded: LoadedBundle) -> None:
    golden = read_assets(built / "golden" / "assets.safetensors")
    assert [set(made) for made in golden] == [set(loaded.settings.asset_kinds)] * 2
    assert set(golden[0]["mesh"]) >= {"vertices", "faces", "colors", "cell"}
    assert set(golden[0]["gaussians"]) == {"positions", "scales", "quaternions", "opacities", "sh"}
    for kind, arrays in golden[0].items():
        module = kinds.of(kind)
        asset = module.from_arrays(arrays)
        assert module.problem(asset) is None and module.scores(asset, asset)[0].value == pytest.approx(1, abs=1e-3)


def test_run_writes_a_coloured_mesh(built: Path, features: Path, tmp_path: Path, cli: Cli) -> None:
    code, out, error = cli("run", built, "--features", features, "-o", tmp_path / "asset.glb")
    assert code == 0, error
    mesh = assets.read(tmp_path / "asset.glb")
    assert f"{len(mesh.faces):,} faces" in out
    assert mesh.colors is not None and len(np.unique(mesh.colors, axis=0)) > 10


def test_run_changes_assets_on_their_way_into_files(built: Path, features: Path, tmp_path: Path, cli: Cli) -> None:
    pytest.importorskip("fast_simplification")
    names = ("mesh.glb", "mesh.stl", "gaussians.spz", "gaussians.ply")
    outputs = [part for name in names for part in ("-o", tmp_path / name)]
    wanted = ("--max-faces", "200", "--largest-part", "--size", "0.5", "--sh-degree", "3", "--render", "--json")
    code, out, error = cli("run", built, "--features", features, *outputs, *wanted)
    assert code == 0, error
    found = json.loads(out)
    assert [file["kind"] for file in found["assets"]] == ["mesh", "mesh", "gaussians", "gaussians"]
    assert all(file["faces"] <= 200 for file in found["assets"][:2])
    glb, stl = assets.read(tmp_path / "mesh.glb"), assets.read(tmp_path / "mesh.stl")
    assert np.ptp(glb.vertices, axis=0).max() == pytest.approx(0.5, rel=1e-5) and glb.colors is not None
    assert np.ptp(stl.vertices, axis=0).max() == pytest.approx(500, rel=1e-5)
    assert b"property float f_rest_44\n" in (tmp_path / "gaussians.ply").read_bytes()
    assert (tmp_path / "mesh.png").is_file()
    code, _, error = cli("run", built, "--features", features, "-o", tmp_path / "a.npz", "--size", "1")
    assert code == UsageError.exit_code and "--size: is of gaussians, height_field, mesh, points" in error


def test_run_writes_gaussians_and_too_many_voxels_are_refused_or_coarsened(
    built: Path, loaded: LoadedBundle, features: Path, tmp_path: Path, cli: Cli
) -> None:
    arguments = ("run", built, "--features", features, "-o", tmp_path / "asset.ply")
    code, _, error = cli(*arguments, "--set", "on_overflow=error")
    assert code == UsageError.exit_code and "build with a budget of" in error and "--set on_overflow=coarsen" in error
    assert not (tmp_path / "asset.ply").exists()
    code, _, error = cli(*arguments, "--set", "on_overflow=coarse")
    assert code == UsageError.exit_code and "did you mean 'coarsen'" in error
    with pytest.warns(UserWarning, match="coarsened 4x"):
        code, out, error = cli(*arguments, "--set", "on_overflow=coarsen")
    assert code == 0, error
    head, _, body = (tmp_path / "asset.ply").read_bytes().partition(b"end_header\n")
    rows = np.frombuffer(body, "<f4").reshape(-1, len(PLY_PROPERTIES))
    assert f"element vertex {len(rows)}\n".encode() in head and f"{len(rows):,} gaussians" in out
    gaussians = loaded.generate_assets(features=np.load(features))["gaussians"]
    assert isinstance(gaussians, Gaussians)
    x, y, z = gaussians.positions.T
    np.testing.assert_allclose(rows[:, :3], np.stack([x, -z, y], 1), atol=1e-6)
    np.testing.assert_allclose(rows[:, 10:13], np.log(gaussians.scales), atol=1e-4)


def test_every_asset_is_of_the_same_voxels(loaded: LoadedBundle, features: Path) -> None:
    from gen3dexport.models import Request

    state = loaded.run(Request("", 3, np.load(features)))
    made = loaded.family.make_assets(state, loaded.settings)
    assert tuple(made) == loaded.settings.asset_kinds == ("mesh", "gaussians", "radiance_field", "voxels")
    count, field = len(state["coords"]), made["radiance_field"]
    assert isinstance(field, RadianceField)
    assert len(made["gaussians"].positions) == 32 * count and len(field.positions) == count
    centres = (state["coords"] + 0.5) / 32
    np.testing.assert_allclose(field.positions, (centres - 0.5) * int(state["scale"][0]) + 0.5, atol=1e-6)
    low, high = made["mesh"].vertices.min(0), made["mesh"].vertices.max(0)
    reach = 2 * int(state["scale"][0]) / 32
    assert (low > (field.positions.min(0) - 0.5) - reach).all() and (high < field.positions.max(0) - 0.5 + reach).all()


def test_a_smaller_budget_changes_no_latent(loaded: LoadedBundle) -> None:
    """Noise of a voxel does not depend on the budget, and padding does not reach real rows."""
    from gen3dexport.models.trellis.host import slat_stage

    settings = loaded.settings
    small = settings.model_copy(update={"slat": settings.slat.model_copy(update={"tokens": 64})})
    one = slat_stage.noise(settings, np.random.default_rng(5))
    other = slat_stage.noise(small, np.random.default_rng(5))
    np.testing.assert_array_equal(one[:, :64], other)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("knobs.decoders=[]", "knobs.decoders"),
        ("knobs.decoders=[voxels]", "knobs.decoders.0"),
        ("knobs.voxels.budget=0", "knobs.voxels.budget"),
        ("knobs.voxels.gather=never", "knobs.voxels.gather"),
        ("knobs.slat_sampler.step=3", "did you mean 'steps'"),
    ],
)
def test_bad_fields(weights: Path, tmp_path: Path, cli: Cli, override: str, message: str) -> None:
    (tmp_path / "whole.yaml").write_text(WHOLE.format(weights=weights))
    code, _, error = cli("plan", tmp_path / "whole.yaml", override, "-t", "eager")
    assert code == UsageError.exit_code
    assert message in error


@pytest.mark.parametrize("override", ["knobs.decoders=[mesh]", "knobs.voxels.budget=512", "knobs.slat_sampler.steps=3"])
def test_fields_of_the_second_stage_need_one(tiny_recipe: Path, cli: Cli, override: str) -> None:
    code, _, error = cli("plan", tiny_recipe, override, "-t", "eager")
    assert code == UsageError.exit_code
    assert "no structured latent" in error


def test_a_choice_of_decoders_and_of_the_gather(weights: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "whole.yaml").write_text(WHOLE.format(weights=weights))
    arguments = ("plan", tmp_path / "whole.yaml", "knobs.decoders=[gaussian]", "-t", "eager", "--json")
    code, out, error = cli(*arguments)
    assert code == 0, error
    plain = {row["name"]: row for row in json.loads(out)["components"]}
    assert list(plain) == ["flow", "decoder", "slat_flow", "slat_decoder_gs"]
    target = read_target("eager")
    recipe = read_recipe(str(tmp_path / "whole.yaml"), target, ["knobs.voxels.gather=per-offset"])
    flow = (plan := make_plan(recipe, target)).declared["slat_flow"].load(plan.weights, "shapes")
    graph = export_module(flow.module, tuple(flow.inputs.values()), flow.name).graph
    per_offset = [str(node.target) for node in graph.nodes].count("aten.index_select.default")
    gathers = plain["slat_flow"]["operators"]["aten.index_select.default"]
    assert per_offset == gathers + 26 * 8  # 8 convolutions, 27 gathers each instead of one


def test_more_voxels_than_the_budget(weights: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "whole.yaml").write_text(WHOLE.format(weights=weights))
    overrides = ("knobs.voxels.budget=8", "knobs.voxels.on_overflow=error", "knobs.decoders=[gaussian]")
    code, _, error = cli("build", tmp_path / "whole.yaml", *overrides, "-t", "eager", "-o", tmp_path / "b")
    assert code == UsageError.exit_code
    assert "build with a budget of" in error


def test_random_weights_need_none_on_disk(weights: Path, tmp_path: Path, cli: Cli) -> None:
    import shutil

    shapes = tmp_path / "shapes"
    shutil.copytree(weights, shapes, ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "whole.yaml").write_text(WHOLE.format(weights=shapes))
    arguments = ("build", tmp_path / "whole.yaml", "golden.assets=false", "-t", "eager", "-o", tmp_path / "b")
    code, _, error = cli(*arguments)
    assert code == UsageError.exit_code and "--random-weights" in error
    code, _, error = cli(*arguments, "--random-weights", "--skip-validation")
    assert code == 0, error
    manifest = read_manifest(tmp_path / "b")
    assert manifest.random_weights and manifest.components == COMPONENTS
    rows = load_file(tmp_path / "b" / "golden" / "slat_decoder_mesh.safetensors")["0.in.real"]
    assert 128 < rows.sum() <= 256  # a shell stands in for the structure


def test_loss_of_a_trial_is_that_of_its_worst_kind(weights: Path, tmp_path: Path) -> None:
    """The mean over the prompts; and of many trials, the references are drawn for the first alone."""
    (tmp_path / "whole.yaml").write_text(WHOLE.format(weights=weights))
    target = read_target("eager")
    trials = Trials(make_plan(read_recipe(str(tmp_path / "whole.yaml"), target), target))
    choices = {"slat_decoder_gs": Choice("bf16"), "slat_decoder_rf": Choice("bf16")}
    field = trials.quantized("slat_decoder_rf", choices["slat_decoder_rf"]).module
    with torch.no_grad():
        field.get_submodule("out_layer").weight.mul_(0.5)
    kept, losses = trials.plan, []
    for state, reference in zip(trials.before["slat_decoder_gs"], trials.assets, strict=True):
        for name in list(COMPONENTS)[3:]:
            program = Eager(trials.quantized(name, choices.get(name, Choice())))
            state = kept.declared[name].advance(state, program, np)
        made = kept.family.make_assets(state, kept.settings)
        lost = {kind: 1 - kinds.of(kind).scores(asset, reference[kind])[0].value for kind, asset in made.items()}
        assert lost["mesh"] < 1e-3 and lost["voxels"] == 0 and 0 < lost["gaussians"] < lost["radiance_field"]
        losses.append(lost["radiance_field"])
    assert len(losses) == 2 and losses[0] != losses[1]
    assert trials.loss(choices) == trials.loss(choices) == pytest.approx(sum(losses) / 2, rel=1e-6)


def test_decoders_of_another_repository_lie_beside(tmp_path: Path) -> None:
    from gen3dexport.models.trellis.host.settings import locate

    for place in ("text/ckpts/flow", "image/ckpts/flow", "image/ckpts/decoder"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{place}.json").write_text("{}")
    assert locate(tmp_path / "text", "ckpts/flow") == "ckpts/flow"
    assert locate(tmp_path / "text", "owner/image/ckpts/flow") == "ckpts/flow"
    assert locate(tmp_path / "text", "owner/image/ckpts/decoder") == "../image/ckpts/decoder"
    assert locate(tmp_path / "text", "owner/image/ckpts/missing") == "ckpts/missing"
    for outside in ("../image/ckpts/decoder", "owner/../ckpts/flow", "/ckpts/flow", "../../x"):
        with pytest.raises(UsageError, match=r"pipeline.json: .* leads out of the folder; name a checkpoint in it"):
            locate(tmp_path / "text", outside)


# Parameters by recipe: the sums over the released checkpoints' tensors.
RELEASED = {
    "trellis-image-large": 1_491_312_022,
    "trellis-text-base": 677_427_094,
    "trellis-text-large": 1_466_146_198,
    "trellis-text-xlarge": 2_384_190_998,
}


@pytest.mark.parametrize("recipe", RELEASED)
def test_released_shapes_are_those_of_configs(recipe: str) -> None:
    from gen3dexport.models.trellis.networks import loading

    target = read_target("eager")
    plan = make_plan(read_recipe(recipe, target), target)
    folder, total = plan.weights, 0
    assert tuple(plan.schemes) == COMPONENTS
    for checkpoint in plan.settings.checkpoints.values():
        config = json.loads((folder / f"{checkpoint}.json").read_text())
        assert (config["name"], config["args"]) == NETWORKS[Path(checkpoint).name]
        with torch.device("meta"):
            total += sum(p.numel() for p in loading.network(config["name"], config["args"]).parameters())
    assert total == RELEASED[recipe]


def test_features_of_a_text_encoder_come_with_the_empty_prompts(tmp_path: Path) -> None:
    from gen3dexport.documents.shipped import shipped
    from gen3dexport.models import Request, find

    family = find("trellis")
    settings = family.read_settings(shipped("weights") / "TRELLIS-text-base", family.Knobs(), False)
    made_up = family.begin(settings, Request(stand_in="trained"), tmp_path, np)
    features = np.concatenate([made_up["cond"], made_up["neg_cond"]])
    state = family.begin(settings, Request(features=features), tmp_path, np)
    np.testing.assert_array_equal(state["neg_cond"][0], features[1])
    with pytest.raises(UsageError, match="of the empty prompt"):
        family.begin(settings, Request(features=features[0]), tmp_path, np)
