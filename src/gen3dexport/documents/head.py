"""A few top-level values of a YAML document, read without its other lines: what a list of documents shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LINE = re.compile(r"(?P<key>\w+):[ ]+(?P<value>\S.*)")
_PLAIN = re.compile(r"[A-Za-z][^\x00-\x1f:#\[\]{}\"'`&*!|>%@]*")
_WORDS_OF_YAML = {"true", "false", "null", "yes", "no", "on", "off"}


def head(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The values of top-level keys; keys that the document has not are left out.

    Plain words and lists of plain words on the key's own line are read here; a document with anything else under one
    of the keys is read whole.

    Raises:
        UsageError: when the file is missing, not UTF-8 text, not YAML, or not a mapping.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = [f"{key}:" for key in keys]  # whose reading tells what is wrong
    found: dict[str, Any] = {}
    for number, line in enumerate(lines):
        if (key := line.partition(":")[0]) not in keys:
            continue
        value, goes_on = _value(line), "".join(lines[number + 1 : number + 2]).startswith((" ", "\t", "-"))
        if value is None or goes_on:
            from gen3dexport.documents.document import read_yaml

            data = read_yaml(path)
            return {key: data[key] for key in keys if key in data}
        found[key] = value
    return found


def _value(line: str) -> str | list[str] | None:
    """The value on a `key: value` line, or None where it takes a YAML reader."""
    match = _LINE.fullmatch(line.rstrip())
    text = match["value"] if match else ""
    if text == "[]":
        return []
    words = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    words = [word.strip() for word in words]
    if not all(_PLAIN.fullmatch(word) and word.lower() not in _WORDS_OF_YAML for word in words):
        return None
    return words if text.startswith("[") else text
