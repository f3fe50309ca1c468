"""onnxruntime without its telemetry.

The official packages of onnxruntime keep a number for the device in the user's cache folder and queue events there for
its maker's server as soon as they are imported; the variable below is read then (by its own account of privacy).
"""

from __future__ import annotations

import os


def switch_off() -> None:
    """Before onnxruntime is imported: it keeps no number and sends nothing, unless the user has set the variable."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
