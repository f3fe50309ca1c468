"""Weights in several safetensors files (shards) and the index that names them. No torch."""

from __future__ import annotations

from pathlib import Path

from gen3dexport.documents.json_file import read_json
from gen3dexport.errors import UsageError


def index_of(path: Path) -> Path:
    """The index beside the place of a safetensors file: `x.safetensors` -> `x.safetensors.index.json`."""
    return path.with_name(f"{path.name}.index.json")


def read_index(index: Path) -> dict[Path, list[str]]:
    """The shards that an index names, with the tensors of each.

    Raises:
        UsageError: when it is no such index, names a file outside its folder, or a shard is missing.
    """
    listed = read_json(index, "an index of shards").get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
        raise UsageError(f"{index}: weight_map: needs a shard's name for each tensor; copy the file again")
    found: dict[Path, list[str]] = {}
    for tensor, name in listed.items():
        if not name or Path(name).name != name or name in (".", ".."):
            raise UsageError(f"{index}: weight_map.{tensor}: {name!r} is not a file of its own folder; copy it again")
        found.setdefault(index.with_name(name), []).append(tensor)
    if missing := sorted(shard.name for shard in found if not shard.is_file()):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise UsageError(
            f"{index}: {len(missing)} of its {len(found)} shards are missing: {', '.join(missing[:3])}{more}; "
            f"copy them into {index.parent}"
        )
    return found
