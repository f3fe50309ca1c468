"""Encoders of transformers are checked by their weights' headers, before any is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_encoders

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import headers_alone
from gen3dexport.networks.clip import clip_encoder
from gen3dexport.networks.dino import dino_encoder


@pytest.mark.parametrize("kind", ["dinov2", "clip"])
def test_headers_of_encoders_are_enough_to_check_them(kind: str, tmp_path: Path) -> None:
    made, config = (dino_encoder, tiny_encoders.DINO) if kind == "dinov2" else (clip_encoder, tiny_encoders.CLIP)
    known = {name: value for name, value in config.items() if name not in ("bos_token_id", "eos_token_id")}
    tiny_encoders.write(tmp_path, kind)
    with headers_alone():
        found = {name: parameter.shape for name, parameter in made(known, tmp_path).named_parameters()}
    assert found == {name: parameter.shape for name, parameter in made(known, tmp_path).named_parameters()}
    wider = known | {"hidden_size": 96}
    with headers_alone(), pytest.raises(UsageError, match=r"model.safetensors: does not fit"):
        made(wider, tmp_path)
