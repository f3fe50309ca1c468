"""SF3D's networks: golden parity, the released layout, the camera in the weights, CLIP, queries, precision."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sf3d_tiny import CONFIG, GOLDEN, KNOBS, checkpoint

from gen3dexport.errors import UsageError
from gen3dexport.export import Captured, export_module
from gen3dexport.models import sf3d
from gen3dexport.models.declaration import AS_STORED
from gen3dexport.models.sf3d.host.model import Model, read_model
from gen3dexport.models.sf3d.host.parts import Clip
from gen3dexport.models.sf3d.networks import attention, loading
from gen3dexport.models.sf3d.networks.camera import default_embedding
from gen3dexport.models.sf3d.networks.clip import ClipPicture, ClipVisual
from gen3dexport.models.sf3d.networks.golden_sets import read_golden
from gen3dexport.models.sf3d.networks.image_encoder import ImageEncoder
from gen3dexport.models.sf3d.networks.triplane import planes_of, rows_of
from gen3dexport.validation.parity import compare

OUTPUTS = {
    "backbone": {"hidden_states"},
    "camera_tokenizer": {
        *("embedding", "default_c2w", "default_intrinsic", "default_intrinsic_normed", "default_embedding"),
    },
    "decoder_query": {"density", "features", "perturb_normal", "vertex_offset", "features_sampled"},
    "global_estimator": {"sg_amplitudes"},
    "image_tokenizer": {"tokens", "embeddings", "layer0", "layer0_norm1_modulated"},
    "marching_tets": {"vertices", "faces", "vertices_undeformed", "faces_undeformed"},
    "material_heads": {"roughness", "metallic", "roughness_alpha", "roughness_beta"},
    "post_processor": {"triplanes"},
}
_NAMES = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""Layers of a block in open_clip's files -> in the transformers library."""
RELEASED = Path(__file__).parents[3] / "weights" / "SF3D"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("sf3d"))


@pytest.fixture(scope="module")
def settings(weights: Path) -> sf3d.Settings:
    return sf3d.read_settings(weights, sf3d.Knobs(**KNOBS), False)


def test_every_set_is_compared() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {*OUTPUTS}


@pytest.mark.parametrize("name", OUTPUTS)
def test_golden_parity(name: str) -> None:
    result = compare("sf3d", GOLDEN / name, None, "fp32", None)
    assert result["passed"], result
    assert {row["output"] for row in result["outputs"]} == OUTPUTS[name]


def test_released_keys() -> None:
    """Every tensor of the released checkpoint without its estimators, and no other, at the shipped configuration."""
    expected = json.loads((Path(__file__).with_name("released_keys.json")).read_text())
    released = read_model(RELEASED)
    with torch.device("meta"):
        bare = loading.Parts(released.model_copy(update={"image_estimator": None})).state_dict()
        whole = loading.Parts(released, text=True).state_dict()
    assert {name: list(value.shape) for name, value in bare.items()} == expected["tensors"]
    assert sum(value.numel() for value in bare.values()) == expected["elements"] == 834_805_136
    clip = {name: value for name, value in whole.items() if name.startswith("image_estimator.model.")}
    assert sum(value.numel() for value in clip.values()) == 151_277_313  # CLIP ViT-B/32, as published
    assert "image_estimator.model.visual.transformer.resblocks.11.attn.in_proj_weight" in clip
    heads = {name for name in whole if name.startswith("image_estimator.heads.roughness.") and name.endswith("weight")}
    ends = {name.removeprefix("image_estimator.heads.roughness.").removesuffix(".weight") for name in heads}
    assert ends == {"0.0", "0.2", "0.4", "1.0", "1.2", "2.0", "2.2"}


def test_the_released_size_is_planned_from_shapes() -> None:
    settings = sf3d.read_settings(RELEASED, sf3d.Knobs(), True)
    made = {one.name: one.load(RELEASED, "shapes") for one in sf3d.components(settings)}
    shapes = {name: {k: tuple(v.shape) for k, v in one.inputs.items()} for name, one in made.items()}
    planes = (1, 3, 386 * 386, 40)
    assert shapes == {
        "image_encoder": {"image": (1, 3, 512, 512)},
        "backbone": {"features": (1, 1297, 1024)},
        "material": {"picture": (1, 3, 224, 224)},
        "geometry": {"planes": planes, "points": (1, 32768, 3)},
        "texture": {"planes": planes, "points": (1, 32768, 3)},
    }


def _refused(weights: Path, settings: sf3d.Settings, folder: Path, change: dict[str, torch.Tensor | None]) -> str:
    state = load_file(weights / "model.safetensors") | change
    save_file({name: value for name, value in state.items() if value is not None}, folder / "model.safetensors")
    with pytest.raises(UsageError) as raised:
        loading.load_component("backbone", settings, folder / "model", "stored", AS_STORED)
    return str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder.heads.density.0.bias": None}, "missing decoder.heads.density.0.bias"),
        ({"bbox": None}, "missing bbox"),
        ({"backbone.latent_init": torch.ones(3)}, "backbone.latent_init has shape [3], needs [1, 12, 32]"),
        ({"image_tokenizer.modulations.0.linear2.bias": torch.ones(96)}, "unexpected image_tokenizer.modulations.0"),
        ({"global_estimator.layers.0.bias": torch.ones(3)}, "unexpected global_estimator.layers.0.bias"),
        ({"image_estimator.model.ln_final.bias": None}, "missing image_estimator.model.ln_final.bias"),
        ({"image_tokenizer.model.embeddings.mask_token": None}, "missing image_tokenizer.model.embeddings.mask_token"),
        ({"bbox": torch.full((2, 3), torch.nan)}, "NaN"),
    ],
)
def test_other_tensors_are_refused(
    weights: Path, settings: sf3d.Settings, tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    assert message in _refused(weights, settings, tmp_path, change)


def test_a_truncated_file_is_refused(weights: Path, settings: sf3d.Settings, tmp_path: Path) -> None:
    whole = (weights / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"model\.safetensors: safetensors cannot read it"):
        loading.load_component("geometry", settings, tmp_path / "model", "stored", AS_STORED)


def test_clip_under_another_name_and_without_its_text_tower(
    weights: Path, settings: sf3d.Settings, tmp_path: Path
) -> None:
    state = load_file(weights / "model.safetensors")
    clip = "image_estimator.model."
    text = [name for name in state if name.startswith(clip) and not name.startswith(f"{clip}visual.")]
    renamed = {name.replace(clip, "image_estimator.clip."): v for name, v in state.items() if name not in text}
    save_file(renamed, tmp_path / "model.safetensors")
    expected, found = (
        loading.load_component("material", settings, folder / "model", "stored", AS_STORED).module.state_dict()
        for folder in (weights, tmp_path)
    )
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_model_without_estimators_and_one_with_both(tmp_path: Path) -> None:
    bare = {name: value for name, value in CONFIG.items() if name != "image_estimator"}
    folder = checkpoint(tmp_path / "bare", bare)
    settings = sf3d.read_settings(folder, sf3d.Knobs(**KNOBS), False)
    assert "material" not in [one.name for one in sf3d.components(settings)]
    loading.load_component("texture", settings, folder / "model", "stored", AS_STORED)
    light = {"name": "sg_amplitudes", "out_channels": 24, "n_hidden_layers": 2, "output_activation": "softplus"}
    both = {**CONFIG, "global_estimator": {"triplane_features": 32, "hidden_features": 16, "heads": [light]}}
    folder = checkpoint(tmp_path / "both", both)
    settings = sf3d.read_settings(folder, sf3d.Knobs(**KNOBS), False)
    loading.load_component("texture", settings, folder / "model", "stored", AS_STORED)
    assert "global_estimator.heads.sg_amplitudes.4.weight" in load_file(folder / "model.safetensors")


def test_the_default_camera_becomes_weights(weights: Path, settings: sf3d.Settings) -> None:
    """The built encoder gives what the layers give under the default camera's embedding."""
    state, model = loading.own_names(load_file(weights / "model.safetensors")), settings.model
    made = loading.read_parts(model, "image_encoder", state, "here")
    with torch.no_grad():
        free = ImageEncoder(made["image_tokenizer"], 62)
        camera = default_embedding(made["camera_embedder"], 1.6, 40.0, 62)
        image = torch.rand(1, 3, 62, 62, generator=torch.Generator().manual_seed(0))
        expected = free(image, camera[None])
        built = loading.load_component("image_encoder", settings, weights / "model", "stored", AS_STORED)
        torch.testing.assert_close(built.module(image), expected, rtol=1e-4, atol=1e-4)
        assert (free(image, 2 * camera[None]) - expected).abs().max() > 0.01
    assert not [name for name in built.module.state_dict() if "modulation" in name or "scale" in name]


def test_clip_is_that_of_transformers() -> None:
    """The same weights in the library's own tower give the same vectors."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = Clip(width=32, layers=2, heads=2, image_size=32, patch_size=8, embed_dim=24)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        library = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=32, intermediate_size=128, projection_dim=24, num_hidden_layers=2, num_attention_heads=2,
                image_size=32, patch_size=8, hidden_act="gelu",
            )
        ).eval()  # fmt: skip
        for value in library.parameters():
            torch.nn.init.normal_(value, std=0.2)
        image = torch.rand(2, 3, 32, 32)
    own, theirs = ClipVisual(config), library.state_dict()
    state = {
        "class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
        "proj": theirs["visual_projection.weight"].T,
    }
    for kind in ("weight", "bias"):
        state |= {f"ln_pre.{kind}": theirs[f"vision_model.pre_layrnorm.{kind}"]}
        state |= {f"ln_post.{kind}": theirs[f"vision_model.post_layernorm.{kind}"]}
        for i in range(2):
            block, layer = f"transformer.resblocks.{i}", f"vision_model.encoder.layers.{i}"
            state[f"{block}.attn.in_proj_{kind}"] = torch.cat(
                [theirs[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            )
            for ours, part in _NAMES.items():
                state[f"{block}.{ours}.{kind}"] = theirs[f"{layer}.{part}.{kind}"]
    own.load_state_dict(state)
    with torch.no_grad():
        built = ClipPicture(own)
        normalised = (image - built.mean) / built.std
        torch.testing.assert_close(built(image), library(normalised).image_embeds, rtol=1e-4, atol=1e-5)


def test_rows_hold_every_plane_and_queries_are_bilinear_lookups() -> None:
    """Against torch's own: corners on the cube's faces, zeros outside, planes (x, y), (x, z), (y, z)."""
    query = read_golden(GOLDEN / "decoder_query").component.module
    planes = torch.randn(1, 3, 6, query.edge, query.edge)
    assert torch.equal(planes_of(rows_of(planes)), planes)
    points = torch.cat([torch.rand(500, 3) * 2 - 1, torch.tensor([[-1.0, 1, 0], [9, -9, 9]])]) * query.radius * 1.2
    places = (points / query.radius)[None, :, None]
    sampled = [
        torch.nn.functional.grid_sample(plane[None], places[..., pair], align_corners=True)[0, :, :, 0].T
        for plane, pair in zip(planes[0], ((0, 1), (0, 2), (1, 2)), strict=True)
    ]
    found = query.features(rows_of(planes), points[None])
    torch.testing.assert_close(found, torch.cat(sampled, -1), rtol=1e-4, atol=1e-5)
    assert (found[-1] == 0).all()


@pytest.mark.parametrize("name", ["image_tokenizer", "backbone", "decoder_query"])
def test_half_precision_stays_near_float32(name: str) -> None:
    component = read_golden(GOLDEN / name).component
    expected = component.run()
    component.module.set_block_dtype(torch.bfloat16)
    for key, value in component.run().items():
        assert value.dtype == torch.float32
        error = torch.linalg.norm(value - expected[key]) / torch.linalg.norm(expected[key])
        assert 0 < error < 3e-2


def test_many_queries_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tokens, by calls of few scores each."""
    component = read_golden(GOLDEN / "backbone").component
    expected = component.run()["hidden_states"]
    monkeypatch.setattr(attention, "MOST_SCORES", 500)
    calls = []
    whole = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", lambda *a: calls.append(a) or whole(*a))
    torch.testing.assert_close(component.run()["hidden_states"], expected, rtol=1e-5, atol=1e-5)
    assert len(calls) > 30 and all(q.shape[1] * q.shape[2] * k.shape[2] <= 500 for q, k, _ in calls)


def test_components_export_with_nothing_unused(weights: Path, settings: sf3d.Settings) -> None:
    """Every component as one graph, whose weights are all read; stacks in parts, too."""
    for one in sf3d.components(settings):
        shapes = one.load(weights, "shapes").inputs
        component = one.load(weights).with_inputs({k: torch.zeros(v.shape) for k, v in shapes.items()})
        exported = export_module(component.module, tuple(component.inputs.values()), one.name)
        assert not [n.name for n in exported.graph.nodes if n.op == "placeholder" and not n.users]
        stack = Captured(component).stack
        assert (stack is None) == (one.name in ("geometry", "texture"))
        if stack is not None:
            assert len(stack.weights) == 2


def test_sets_of_other_sizes_and_wrong_weights(tmp_path: Path) -> None:
    """Parity follows a set's own sizes, and a weight that is off fails it."""
    for path in (GOLDEN / "post_processor").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "weights.safetensors")
    state["upsample.6.bias"] += 0.01
    save_file(state, tmp_path / "weights.safetensors")
    assert not compare("sf3d", tmp_path, None, "fp32", None)["passed"]
    (tmp_path / "meta.json").write_text('{"component": "light"}')
    with pytest.raises(UsageError, match="a set of 'light' is not known"):
        read_golden(tmp_path)


def test_defaults_are_the_shipped_configuration() -> None:
    assert read_model(RELEASED) == Model(image_estimator=read_model(RELEASED).image_estimator)
