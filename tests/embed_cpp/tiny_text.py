"""The tiny pipeline's bundle with a text encoder of two look-ups before it: an embedder's whole path in seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen3dexport.bundle.files import file_of
from gen3dexport.bundle.manifest import own_digest
from gen3dexport.bundle.program import ProgramRecord

LENGTH, WIDTH = 11, 48  # of the tiny flow's condition
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789!,.\u6905"
OUTSIDE = {"aten.embedding.default": 2, "dim_order_ops._to_dim_order_copy.default": 1}


def change(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Edit a bundle's manifest and give it the digest that fits."""
    path = bundle / "manifest.json"
    data = json.loads(path.read_text())
    edit(data)
    data["digest"] = own_digest(data)
    path.write_text(json.dumps(data, indent=1) + "\n")
    return bundle


def write(source: Path, bundle: Path) -> Path:
    """A copy of the tiny bundle that takes a prompt."""
    shutil.copytree(source, bundle)
    (bundle / "host").mkdir(exist_ok=True)
    (bundle / "host" / "tokenizer.json").write_text(_tokenizer())
    (bundle / "programs" / "text_encoder.pte").write_bytes(_encoder())
    change(bundle, lambda data: _with_encoder(data, bundle))
    return bundle


def _tokenizer() -> str:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [*marks, "chair", *LETTERS, *(f"##{c}" for c in LETTERS)]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(marks)
    return str(made.to_str())


def _encoder() -> bytes:
    """Of a table in int8, which is widened outside the delegate, and one in float32."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Lookup(torch.nn.Module):
        words: torch.Tensor
        marks: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            numbers = torch.Generator().manual_seed(5)
            self.register_buffer("words", torch.randint(-99, 99, (128, WIDTH), generator=numbers, dtype=torch.int8))
            self.register_buffer("marks", torch.randn(2, WIDTH, generator=numbers))

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            words = torch.nn.functional.embedding(ids, self.words).to(torch.float32)
            return words * 0.01 + torch.nn.functional.embedding(mask, self.marks)

    inputs = (torch.zeros(1, LENGTH, dtype=torch.int64), torch.ones(1, LENGTH, dtype=torch.int64))
    lowered = to_edge_transform_and_lower(
        torch.export.export(Lookup().eval(), inputs), partitioner=[XnnpackPartitioner()]
    )
    return bytes(lowered.to_executorch().buffer)


def _with_encoder(data: dict[str, Any], bundle: Path) -> None:
    tokens = {"shape": [1, LENGTH], "dtype": "int64"}
    encoder = ProgramRecord.model_validate_json(
        json.dumps(
            {
                "name": "text_encoder",
                "component": "text_encoder",
                "files": ["text_encoder.pte"],
                "inputs": {"ids": tokens, "mask": tokens},
                "outputs": {"features": {"shape": [1, LENGTH, WIDTH], "dtype": "float32"}},
                "facts": {"delegation": {"outside": OUTSIDE}},
            }
        )
    )
    data["programs"].insert(0, encoder.model_dump(mode="json"))
    for field in ("parameters", "calls"):
        data[field]["text_encoder"] = 2
    shutil.copyfile(bundle / "golden" / "flow.safetensors", bundle / "golden" / "text_encoder.safetensors")
    for name in ("host/tokenizer.json", "programs/text_encoder.pte", "golden/text_encoder.safetensors"):
        data["files"][name] = file_of(bundle / name).model_dump(mode="json")
    steps = data["host_steps"]
    steps["request"] |= {"prompt": True, "features": None}
    made = []
    for branch, text in (("", "prompt"), ("neg_", "empty")):
        token = {"op": "tokenize", "text": text, "file": "host/tokenizer.json", "length": LENGTH}
        made.append(token | {"fill": "zeros", "overflow": "refuse", "ids": f"{branch}ids", "mask": f"{branch}mask"})
        inputs = {name: f"{branch}{name}" for name in ("ids", "mask")}
        made.append(
            {"op": "call", "component": "text_encoder", "inputs": inputs, "outputs": {"features": f"{branch}cond"}}
        )
    rest = [step for step in steps["steps"] if step["op"] not in ("features", "zeros")]
    steps["steps"] = [*made, *rest]
