"""Token ids of a prompt, by a tokenizer's file. Imports the tokenizers library when it is asked."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gen3dexport.errors import UsageError, VerificationError


def tokenize(
    prompt: str,
    length: int,
    tokenizer: Path,
    fill: Literal["zeros", "end"] = "zeros",
    overflow: Literal["refuse", "cut"] = "refuse",
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and mask, each [1, length] int64, of one prompt; the mask is 1 where a token is.

    Args:
        tokenizer: its file.
        fill: what stands after the tokens: zeros, or the last token again (CLIP's end mark).
        overflow: `cut` shortens a prompt that is too long and warns (CLIP was trained so), its end mark stays.

    Raises:
        UsageError: when the prompt has more tokens than the model takes and is not to be cut.
        VerificationError: when the tokenizer is none.
    """
    ids = token_ids(prompt, tokenizer)
    if (over := len(ids) - length) > 0:
        if overflow == "refuse":
            raise UsageError(f"prompt: {len(ids) - 2} tokens, and the model takes {length - 2}; shorten it by {over}")
        warnings.warn(f"prompt: cut by {over} tokens to the model's {length - 2}", stacklevel=2)
        ids = [*ids[: length - 1], ids[-1]]
    row = np.full((1, length), ids[-1] if fill == "end" else 0, np.int64)
    row[0, : len(ids)] = ids
    return row, (np.arange(length) < len(ids)).astype(np.int64)[None]


@lru_cache(maxsize=4)
def _reader(content: bytes) -> Any:
    """The tokenizer of a file's content, which alone decides whether it was made before: half of a prompt's time."""
    from tokenizers import Tokenizer

    reader = Tokenizer.from_buffer(content)
    reader.no_truncation()
    reader.no_padding()
    return reader


def token_ids(prompt: str, tokenizer: Path) -> list[int]:
    """Start mark, words, end mark: as many as there are. Warns of words that the encoder has no token for.

    Raises:
        VerificationError: when the tokenizer is none, or sets no marks.
    """
    try:
        reader = _reader(tokenizer.read_bytes())
        read = reader.encode(prompt)
    except Exception as error:  # the library's own types derive from Exception alone; the cause is kept
        raise VerificationError(f"{tokenizer}: no tokenizer can be made of it ({error}); copy it again") from error
    if not read.ids:
        raise VerificationError(f"{tokenizer}: sets no mark at a prompt's ends, as its encoder needs; copy it again")
    unknown = getattr(reader.model, "unk_token", None)
    places = zip(read.tokens, read.offsets, read.special_tokens_mask, strict=True)
    words = dict.fromkeys(prompt[a:b] for token, (a, b), mark in places if token == unknown and not mark)
    if words:
        missing = ", ".join(map(repr, words))
        warnings.warn(f"prompt: the text encoder has no token for {missing}: it reads a mark instead", stacklevel=2)
    found: list[int] = read.ids
    return found
