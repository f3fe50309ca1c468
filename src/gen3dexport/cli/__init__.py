"""The command line. Heavy packages are imported inside the commands, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import json
import logging
import signal
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from gen3dexport.cli import building, looking, weighing
from gen3dexport.cli.app import app, split_arguments
from gen3dexport.errors import GenExportError, Interrupted

__all__ = ["app", "building", "looking", "main", "split_arguments", "weighing"]

# Packages that only extras install -> the extra.
VENDORS = {"torch": "torch", "torchao": "torch", "executorch": "executorch", "jax": "tpu", "torchax": "tpu"} | {
    "onnx": "onnx",
    "onnxruntime": "onnx",
}


def main() -> None:
    """Run the command line; the one place where errors become exit codes."""
    as_json = "--json" in sys.argv
    for name in ("torch.utils._pytree", "torch.onnx"):  # notes on packages that are not ours to change
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        app()
    except GenExportError as error:
        _complain(as_json, type(error).__name__, str(error))
        sys.exit(error.exit_code)
    except Interrupted as error:
        _complain(as_json, "Interrupted", "interrupted; what was finished is in the stage cache and will be used again")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in VENDORS:
            raise
        from gen3dexport.errors import MissingError

        remedy = f"{package} is not installed; run: pip install 'gen3dexport[{VENDORS[package]}]'"
        _complain(as_json, "MissingError", f"this command needs {package}: {remedy}")
        sys.exit(MissingError.exit_code)
    except OSError as error:
        from gen3dexport.disk import disk_error

        mended = disk_error(error, Path(str(error.filename or ".")))
        _complain(as_json, "UsageError", str(mended))
        sys.exit(mended.exit_code)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise Interrupted


def _complain(as_json: bool, kind: str, message: str) -> None:
    if as_json:
        print(json.dumps({"error": kind, "message": message}))
    else:
        print(f"error: {message}", file=sys.stderr)
