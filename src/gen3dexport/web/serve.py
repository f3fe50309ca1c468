"""A server for a site on this machine, with the headers that let a page use several threads."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gen3dexport.errors import UsageError
from gen3dexport.web.site import SITE

HEADERS = {
    # Both make the page `crossOriginIsolated`: browsers share memory between threads of such pages alone.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    "": "application/octet-stream",
}


class _Handler(SimpleHTTPRequestHandler):
    """Files of the site, and no lists of folders."""

    extensions_map = TYPES  # the system's table knows neither .mjs nor .wasm everywhere
    server_version, sys_version = "gen3dexport", ""

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(404, "File not found")

    def send_head(self) -> Any:
        root = Path(self.directory).resolve()
        try:
            place = Path(self.translate_path(self.path)).resolve()
            inside = place.is_relative_to(root) and (place / "index.html").resolve().is_relative_to(root)
        except (ValueError, OSError, RuntimeError):  # a NUL, a link to itself
            inside = False
        if not inside:
            self.send_error(404, "File not found")  # through a link
            return None
        return super().send_head()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def server(site: Path, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is bound and not yet started; `serve_forever` runs it.

    Args:
        port: 0 takes a free one, which `server_address` names.

    Raises:
        UsageError: when the folder is no site, or the address cannot be taken.
    """
    if not (site / SITE).is_file():
        raise UsageError(f"{site}: no site (no {SITE}); make one with: gen3dexport web BUNDLE -o {site}")
    try:
        return ThreadingHTTPServer((host, port), partial(_Handler, directory=str(site)))
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"{host}:{port}: cannot be served at ({error}); choose another --host or --port (0 for any)"
        ) from error


def address(made: ThreadingHTTPServer) -> str:
    """Where a browser finds the site."""
    host, port = made.server_address[:2]
    name = host.decode() if isinstance(host, bytes) else str(host)
    return f"http://{'localhost' if name in ('127.0.0.1', '0.0.0.0') else name}:{port}/"
