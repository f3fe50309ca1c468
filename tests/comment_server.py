"""What GitHub and GitLab do with a request's comments, on this machine: lists in pages, new ones, other texts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Comments:
    """The server's state.

    Attributes:
        address: without a path; found: comments in order; asked: method and path of each request; refuse: the status
            that every writing request gets; token: what a request has to carry, in either service's header; files:
            what else lies there, by path.
    """

    address: str = ""
    found: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refuse: int | None = None
    token: str = "a-token"
    files: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serving() -> Iterator[Comments]:
    """A running server."""
    state = Comments()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, code: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def allowed(self) -> bool:
            tokens = self.headers.get("Authorization", "").removeprefix("Bearer "), self.headers.get("PRIVATE-TOKEN")
            if self.command != "GET" and state.refuse is not None:
                self.answer(state.refuse, {"message": "refused"})
            elif state.token not in tokens:
                self.answer(401, {"message": "no token"})
            else:
                return True
            return False

        def body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            state.asked.append(("GET", self.path))
            if parts.path in state.files:
                return self.answer(200, state.files[parts.path])
            if not parts.path.endswith(("/comments", "/notes")):
                return self.answer(404, {"message": "not here"})
            query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
            first = (query["page"] - 1) * query["per_page"]
            if self.allowed():
                self.answer(200, state.found[first : first + query["per_page"]])

        def do_POST(self) -> None:
            state.asked.append(("POST", self.path))
            body = self.body()
            if self.allowed():
                state.found.append({"id": 1000 + len(state.found), **body})
                self.answer(201, state.found[-1])

        def do_PATCH(self) -> None:
            state.asked.append((self.command, self.path))
            body, number = self.body(), int(self.path.rpartition("/")[2])
            if self.allowed():
                comment = next(c for c in state.found if c["id"] == number)
                comment |= body
                self.answer(200, comment)

        do_PUT = do_PATCH

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()
