"""The comment of a comparison: written once, then replaced; a token that may not write is no error."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from comment_server import Comments, serving

SCRIPT = Path(__file__).parents[2] / "examples" / "ci" / "comment.py"
PLACES = {"github": "/repos/a/b/issues/7/comments", "gitlab": "/projects/5/merge_requests/7/notes"}


@pytest.fixture
def comments() -> Iterator[Comments]:
    with serving() as state:
        yield state


def write(comments: Comments, service: str, key: str, text: str, folder: Path) -> tuple[int, str]:
    file = folder / "comparison.md"
    file.write_text(text)
    command = [sys.executable, str(SCRIPT), service, comments.address + PLACES[service], key, str(file)]
    done = subprocess.run(command, env={"TOKEN": "a-token"}, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.parametrize(("service", "update"), [("github", "PATCH"), ("gitlab", "PUT")])
def test_a_key_has_one_comment(service: str, update: str, comments: Comments, tmp_path: Path) -> None:
    comments.found = [{"id": n, "body": f"of somebody, {n}"} for n in range(130)]  # more than a page
    assert write(comments, service, "one", "first", tmp_path) == (0, "comparison: comment written\n")
    assert write(comments, service, "two --> <b>", "other", tmp_path) == (0, "comparison: comment written\n")
    assert write(comments, service, "one", "second", tmp_path) == (0, "comparison: comment replaced\n")
    assert [c["body"] for c in comments.found[130:]] == [
        "<!-- gen3dexport one -->\nsecond",
        "<!-- gen3dexport twob -->\nother",
    ]
    place = PLACES["github"].replace("/7", "") if service == "github" else PLACES[service]
    assert comments.asked[-1] == (update, f"{place}/1130")


def test_a_token_that_may_not_write_is_a_warning(comments: Comments, tmp_path: Path) -> None:
    comments.refuse = 403
    code, out = write(comments, "github", "one", "first", tmp_path)
    assert code == 0 and out.startswith("::warning::") and "403" in out and comments.found == []
    comments.refuse = 500
    code, out = write(comments, "github", "one", "first", tmp_path)
    assert code == 1 and out.startswith("::error::")


def test_a_long_comparison_is_cut_at_a_line(comments: Comments, tmp_path: Path) -> None:
    assert write(comments, "github", "one", "a row of a table\n" * 5000, tmp_path)[0] == 0
    body = comments.found[0]["body"]
    assert len(body) < 61_000 and body.endswith("a row of a table\n\n(cut; the job's summary has all of it)\n")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "usage: "),
        (["forge", "A", "key", "FILE"], 2, "github|gitlab"),
        (["github", "A", "key", "nowhere"], 1, "nowhere"),
        (["github", "not an address", "key", "FILE"], 1, "unknown url type"),
        (["github", "A/page", "key", "FILE"], 1, "JSONDecodeError"),
        (["github", "A/other", "key", "FILE"], 1, "::error::"),
    ],
)
def test_what_cannot_be_written_is_told(
    words: list[str], code: int, told: str, comments: Comments, tmp_path: Path
) -> None:
    comments.files |= {"/page": b"<html>", "/other": b'{"message": "moved"}'}
    (tmp_path / "comparison.md").write_text("text")
    given = [
        word.replace("FILE", str(tmp_path / "comparison.md")).replace("A/", f"{comments.address}/") for word in words
    ]
    command = [sys.executable, str(SCRIPT), *given]
    done = subprocess.run(command, env={"TOKEN": "a-token"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and told in done.stdout + done.stderr and "Traceback" not in done.stderr
    if len(words) == 4:
        without = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60)
        assert without.returncode == code and "Traceback" not in without.stderr
