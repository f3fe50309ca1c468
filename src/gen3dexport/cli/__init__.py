"""The command line. Heavy packages are imported inside the commands, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import typer

from gen3dexport.cli.app import app
from gen3dexport.errors import GenExportError, Interrupted, UsageError

__all__ = ["main"]

# Packages that only extras install -> the extra.
VENDORS = {"torch": "torch", "torchao": "torch", "executorch": "executorch", "jax": "tpu", "torchax": "tpu"} | {
    "onnx": "onnx",
    "onnxruntime": "onnx",
}
RESUMED = ("build", "tune")
"""Commands that keep finished parts in the stage cache."""
_WRONG_ARGUMENTS: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, wherever typer has its click


def main() -> None:
    """Run the command line; the one place where errors become exit codes."""
    as_json = "--json" in sys.argv
    for name in ("torch.utils._pytree", "torch.onnx"):  # notes on packages that are not ours to change
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except _WRONG_ARGUMENTS as error:
        if as_json:
            _complain(as_json, "UsageError", error.format_message())  # type: ignore[attr-defined]
        else:
            error.show()  # type: ignore[attr-defined]
        sys.exit(UsageError.exit_code)
    except GenExportError as error:
        _complain(as_json, type(error).__name__, str(error))
        sys.exit(error.exit_code)
    except Interrupted as error:
        kept = "what was finished is in the stage cache and will be used again"
        resumed = any(command in sys.argv[1:2] for command in RESUMED)
        _complain(as_json, "Interrupted", f"interrupted; {kept if resumed else 'no file is left half-written'}")
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

        refused = _refused_by_stdout()
        if isinstance(refused, BrokenPipeError):  # whoever read it has seen enough
            sys.exit(1)
        if refused is not None:
            reason = refused.strerror or refused
            _complain(False, "UsageError", f"standard output cannot be written ({reason}); send it to another place")
            sys.exit(UsageError.exit_code)
        mended = disk_error(error, Path(str(error.filename or ".")))
        _complain(as_json, "UsageError", str(mended))
        sys.exit(mended.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise Interrupted


def _refused_by_stdout() -> OSError | None:
    """Why stdout cannot take what was printed, or None when it can. What it does not take is then thrown away, so that
    Python does not try once more when it ends."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def _complain(as_json: bool, kind: str, message: str) -> None:
    if as_json:
        print(json.dumps({"error": kind, "message": message}))
    else:
        print(f"error: {message}", file=sys.stderr)
