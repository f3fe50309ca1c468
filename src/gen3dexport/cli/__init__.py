"""The command line. Heavy packages are imported inside the commands, so that `--help` and `ls` answer at once."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import typer

from gen3dexport.children import end_with_parent
from gen3dexport.cli.app import app
from gen3dexport.errors import GenExportError, Interrupted, UsageError

__all__ = ["main"]

# Packages that only extras install -> the extra.
VENDORS = {"torch": "torch", "torchao": "torch", "executorch": "executorch", "jax": "tpu", "torchax": "tpu"} | {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    **dict.fromkeys(("model_signing", "OpenSSL", "cryptography", "requests"), "trust"),
}
RESUMED = ("build", "matrix", "tune")
"""Commands that keep finished parts in the stage cache."""
_STDOUT = "standard output"
_WRONG_ARGUMENTS: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, wherever typer has its click


class _Stdout:
    """Standard output, whose errors name it: those of a file that is written have no name either."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write to the stream."""
        with _named():
            return self.stream.write(text)

    def flush(self) -> None:
        """Flush the stream."""
        with _named():
            self.stream.flush()


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, _STDOUT) from error


def main() -> None:
    """Run the command line; the one place where errors become exit codes."""
    for name in ("torch.utils._pytree", "torch.onnx"):  # notes on packages that are not ours to change
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    end_with_parent()
    stdout = sys.stdout
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = cast(TextIO, _Stdout(stdout or nowhere))  # a process may be started with stdout closed
        try:
            sys.exit(_exit_code(as_json="--json" in sys.argv))
        finally:
            sys.stdout = stdout


def _exit_code(as_json: bool) -> int:
    """Run the command and tell what went wrong."""
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except _WRONG_ARGUMENTS as error:
        if as_json:
            _complain(as_json, "UsageError", error.format_message())  # type: ignore[attr-defined]
        else:
            error.show()  # type: ignore[attr-defined]
        return UsageError.exit_code
    except GenExportError as error:
        _complain(as_json, type(error).__name__, str(error))
        return error.exit_code
    except Interrupted as error:
        kept = "what was finished is in the stage cache and will be used again"
        resumed = any(command in sys.argv[1:2] for command in RESUMED)
        _complain(as_json, "Interrupted", f"interrupted; {kept if resumed else 'no file is left half-written'}")
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in VENDORS:
            raise
        from gen3dexport.errors import MissingError

        remedy = f"{package} is not installed; run: pip install 'gen3dexport[{VENDORS[package]}]'"
        _complain(as_json, "MissingError", f"this command needs {package}: {remedy}")
        return MissingError.exit_code
    except BrokenPipeError:  # whoever read stdout has seen enough
        _discard_stdout()
        return 1
    except OSError as error:
        if error.filename == _STDOUT:
            _discard_stdout()
            _complain(False, "UsageError", f"{_STDOUT}: cannot be written ({error.strerror}); send it to another place")
            return UsageError.exit_code
        if error.errno == errno.ENOENT and "temporary directory" in str(error):  # all are full or read-only
            _complain(as_json, "UsageError", f"{error.strerror}; set TMPDIR=FOLDER, one that can be written")
            return UsageError.exit_code
        from gen3dexport.disk import disk_error

        mended = disk_error(error, Path(str(error.filename or ".")))
        _complain(as_json, "UsageError", str(mended))
        return mended.exit_code
    return code if isinstance(code, int) else 0


def _interrupt(number: int, frame: object) -> NoReturn:
    raise Interrupted


def _discard_stdout() -> None:
    """Throw away what stdout did not take; Python would try once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(as_json: bool, kind: str, message: str) -> None:
    if as_json:
        try:
            print(json.dumps({"error": kind, "message": message}), flush=True)
            return
        except OSError:
            _discard_stdout()
    print(f"error: {message}", file=sys.stderr)
