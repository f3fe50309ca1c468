"""One comment of a pull or merge request, written anew when there is a newer one. Standard library alone.

    TOKEN=... python comment.py github API/repos/OWNER/NAME/issues/NUMBER/comments KEY comparison.md
    TOKEN=... python comment.py gitlab API/projects/ID/merge_requests/NUMBER/notes KEY comparison.md

The comment starts with a mark that has KEY in it and that pages do not show: the same KEY replaces it. A token that may
not write (that of a pull request from a fork) is told as a warning, and is no error.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

AUTHORISATION = {"github": ("Authorization", "Bearer {}"), "gitlab": ("PRIVATE-TOKEN", "{}")}
UPDATE = {"github": "PATCH", "gitlab": "PUT"}
LONGEST = 60_000
"""Characters of a comment; GitHub takes 65 536."""
PAGE = 100
TIMEOUT_S = 30


def post(service: str, comments: str, key: str, text: str, token: str) -> str:
    """Write the comment, and say what was done.

    Args:
        comments: address of the request's comments; key: which of them this is.

    Raises:
        urllib.error.HTTPError: when the service refuses it.
    """
    mark = f"<!-- gen3dexport {re.sub(r'[^0-9A-Za-z]', '', key)} -->"
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + "\n\n(cut; the job's summary has all of it)\n"
    body = {"body": f"{mark}\n{text}"}
    for page in range(1, 1000):
        found = _ask(service, "GET", f"{comments}?per_page={PAGE}&page={page}", token)
        for comment in found:
            if comment["body"].startswith(mark):
                # GitHub's comments of an issue lie beside the issues: .../issues/comments/ID.
                place = re.sub(r"/\d+/comments$", "/comments", comments) if service == "github" else comments
                _ask(service, UPDATE[service], f"{place}/{comment['id']}", token, body)
                return "replaced"
        if len(found) < PAGE:
            break
    _ask(service, "POST", comments, token, body)
    return "written"


def _ask(service: str, method: str, address: str, token: str, body: Any = None) -> Any:
    name, form = AUTHORISATION[service]
    headers = {name: form.format(token), "Content-Type": "application/json", "User-Agent": "gen3dexport"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def main(words: list[str]) -> int:
    """Write the file as the comment; 0: it was written or may not be, 1: the service fails, 2: wrong words."""
    if len(words) != 4 or words[0] not in UPDATE:
        print(f"usage: TOKEN=... comment.py {'|'.join(UPDATE)} COMMENTS_ADDRESS KEY FILE", file=sys.stderr)
        return 2
    service, comments, key, file = words
    try:
        token = os.environ["TOKEN"]
        done = post(service, comments, key, Path(file).read_text(encoding="utf-8"), token)
    except urllib.error.HTTPError as error:
        allowed = error.code not in (401, 403, 404)
        print(f"::{'error' if allowed else 'warning'}::the comparison is no comment: {comments}: {error}")
        return int(allowed)
    except KeyError as error:
        missing = "set the variable TOKEN" if error.args == ("TOKEN",) else f"the answer has no {error}"
        print(f"::error::the comparison is no comment: {comments}: {missing}")
        return 1
    except (OSError, ValueError, TypeError, http.client.HTTPException) as error:
        print(f"::error::the comparison is no comment: {comments}: {type(error).__name__}: {error}")
        return 1
    print(f"comparison: comment {done}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
