"""The process of an isolated bundle: `python -m gen3dexport.runtime.isolated_child BUNDLE ANSWERS SCRATCH`.

It reads a request from each line of its standard input, a JSON object, and writes an answer as a line to the file
descriptor ANSWERS; it ends with its standard input.

    {"do": "open", "conditions": FOLDER or null, "fields": {NAME: VALUE}}     first; verifies the bundle
    {"do": "change", "fields": {NAME: VALUE}}
    {"do": "load_programs"}
    {"do": "make", "prompt": TEXT, "seed": NUMBER, "rate": of a film or null, "inputs": whether arrays are given}
    an answer: {"warnings": [TEXT], "digest": of the manifest, "encoders": {NAME: [calls, cached]}}
               {"warnings": [TEXT], "error": a class of `errors`, "message": TEXT}

Arrays lie in the folder SCRATCH: those of a request in `REQUEST`, assets in `golden.ASSETS`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from gen3dexport.assets import kinds
from gen3dexport.bundle import golden
from gen3dexport.children import end_with_parent
from gen3dexport.disk import disk_error
from gen3dexport.errors import GenExportError
from gen3dexport.runtime.pipeline import LoadedBundle, load

REQUEST = "request.safetensors"
"""File of a request's arrays: `features`, `image` (`image.0`, ... of several), `video.0`, ..., `inputs.NAME`."""


def main(arguments: Sequence[str]) -> None:
    """Answer until standard input ends, or the process that asks does."""
    end_with_parent()
    folder, answers, scratch = Path(arguments[0]), int(arguments[1]), Path(arguments[2])
    os.set_inheritable(answers, False)
    loaded: LoadedBundle | None = None
    with os.fdopen(answers, "w", encoding="utf-8") as stream:
        for line in sys.stdin:
            asked, answer = json.loads(line), {}
            with warnings.catch_warnings(record=True) as heard:
                try:
                    if asked["do"] == "open":
                        loaded = load(folder, asked["conditions"], remember=False)
                    assert loaded is not None, "open comes first"
                    _do(loaded, asked, scratch)
                    encoders = loaded.encoders if loaded.programs else {}  # which loads a program
                    counts = {name: (e.calls, e.cached) for name, e in encoders.items()}
                    answer = {"digest": loaded.manifest.digest, "encoders": counts}
                except GenExportError as error:
                    answer = {"error": error.kind, "message": str(error)}
                except OSError as error:
                    mended = disk_error(error, scratch)
                    answer = {"error": mended.kind, "message": str(mended)}
            print(json.dumps({**answer, "warnings": [str(w.message) for w in heard]}), file=stream, flush=True)


def _do(loaded: LoadedBundle, asked: Mapping[str, Any], scratch: Path) -> None:
    if asked["do"] in ("open", "change"):
        loaded.change(asked["fields"])
    elif asked["do"] == "load_programs":
        loaded.load_programs()
    elif asked["do"] == "make":
        arrays = load_file(scratch / REQUEST)
        image = arrays.get("image", _several(arrays, "image"))
        named = {k.removeprefix("inputs."): v for k, v in arrays.items() if k.startswith("inputs.")}
        made = loaded.generate_assets(
            asked["prompt"],
            asked["seed"],
            arrays.get("features"),
            image,
            _several(arrays, "video"),
            asked["rate"],
            named if asked["inputs"] else None,
        )
        golden.write_assets(
            scratch / golden.ASSETS, [{kind: kinds.of(kind).arrays(asset) for kind, asset in made.items()}]
        )


def _several(arrays: Mapping[str, Any], name: str) -> list[Any] | None:
    """The arrays `NAME.0`, `NAME.1`, ...; None where there is none."""
    count = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{k}"] for k in range(count)] or None


if __name__ == "__main__":
    main(sys.argv[1:])
