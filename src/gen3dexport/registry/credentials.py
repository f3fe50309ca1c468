"""Who a registry is told that this is: the environment, or Docker's configuration. Nothing of it is ever printed."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen3dexport.errors import UsageError

USER, PASSWORD = "GEN3DEXPORT_REGISTRY_USER", "GEN3DEXPORT_REGISTRY_PASSWORD"
"""Environment variables that come before Docker's configuration."""
Credentials = tuple[str, str]


def credentials(host: str) -> Credentials | None:
    """User and password for a registry; None where nothing is known of it.

    Args:
        host: with its port, as Docker's configuration has it.

    Raises:
        UsageError: when the configuration cannot be read, or its helper fails.
    """
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user and password:
        return user, password
    path = Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json"
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        helper = config.get("credHelpers", {}).get(host) or config.get("credsStore")
        return _of_helper(str(helper), host) if helper else _of_entry(config.get("auths", {}), host)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"{path}: not Docker's configuration ({type(error).__name__}); log in again, or set {USER} and {PASSWORD}"
        ) from error


def _of_entry(auths: Mapping[str, Any], host: str) -> Credentials | None:
    entry = next((auths[key] for key in (host, f"https://{host}", f"http://{host}") if key in auths), None)
    if not entry or "auth" not in entry:
        return None
    try:
        user, sign, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("auth") from error
    return (user, password) if sign else None


def _of_helper(helper: str, host: str) -> Credentials | None:
    """What a program `docker-credential-HELPER` knows of a registry."""
    if not re.fullmatch(r"[\w.-]+", helper):
        raise ValueError("credsStore")
    command = f"docker-credential-{helper}"
    try:
        done = subprocess.run([command, "get"], input=host, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(
            f"{command}: Docker's configuration names it and it does not run; set {USER} and {PASSWORD}"
        ) from error
    if done.returncode:  # it says so for hosts that it does not know
        return None
    found = json.loads(done.stdout)
    return str(found["Username"]), str(found["Secret"])
