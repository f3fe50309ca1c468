"""JSON files that others wrote (checkpoints' configurations), read with every way they can be damaged told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gen3dexport.documents.git_lfs import refuse_pointer
from gen3dexport.documents.plain import problems
from gen3dexport.errors import UsageError


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        what: what the file should be, with its article, for the error.

    Raises:
        UsageError: when the file is missing, a Git LFS pointer, not UTF-8 text, not JSON, not an object, or holds what
            no configuration does: numbers that are not finite or beyond 64 bits, control characters, hundreds of
            levels.
    """
    if path.exists() and not path.is_file():  # a pipe or a device may give no end
        raise UsageError(f"{path}: a folder, a pipe or a device, and no file; put {what} there")
    try:
        refuse_pointer(path)
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{path}: not found; {path.parent} is not a complete folder of {what}, copy it again"
        ) from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); copy it again") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text; save it as UTF-8, or copy it again") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deep for {what}; copy it again") from error
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise UsageError(f"{path}: not {what} ({error}); copy it again") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: not {what}, for it holds no object ({{...}}); copy it again")
    if found := problems(data):
        raise UsageError.of([f"{path}: {key}: {problem}" for key, problem in found])
    return data
