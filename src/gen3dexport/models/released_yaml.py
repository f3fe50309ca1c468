"""A released `config.yaml` whose parts name classes and refer to each other. No torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from gen3dexport.documents.document import read_yaml

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def read_released_yaml(path: Path) -> CommentedMap:
    """The values of a configuration: references (`${tokenizer.num_channels}`) are followed, names of classes (`*_cls`)
    left out.

    Raises:
        UsageError: when the file is missing or is no such document.
    """
    data = read_yaml(path)
    for key in [key for key in data if str(key).endswith("_cls")]:
        del data[key]
    for part, values in data.items():
        for key, value in values.items() if isinstance(values, Mapping) else ():
            data[part][key] = _followed(value, data)
    return data


def _followed(value: Any, data: Mapping[str, Any]) -> Any:
    """A value, or what its reference `${part.key}` stands for."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    node: Any = data
    for key in found[1].split(".") if found else ():
        node = node.get(key, value) if isinstance(node, Mapping) else value
    return node if found else value
