"""Released checkpoints from the Hugging Face hub at a pinned commit: `hf://OWNER/NAME@COMMIT[,OWNER/NAME@COMMIT...]`.

The first repository is the checkpoint; the others are those that its files point into. They come to lie next to each
other in the cache, which is where a family looks for them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from gen3dexport.documents.caches import cache_folder
from gen3dexport.errors import MissingError, UsageError

PREFIX = "hf://"
_REPOSITORY = re.compile(r"(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)@(?P<commit>[0-9a-f]{40})")
_WHOLE = ".whole"  # written when every file of a repository has come


def fetched(address: str, wanted: Sequence[str]) -> Path:
    """The folder of an address's first repository; what is not in the cache yet is downloaded.

    Args:
        wanted: patterns of the files that are needed.

    Raises:
        UsageError: when the address is not one, or names a branch or tag instead of a commit.
        MissingError: when huggingface_hub is not installed, or a repository or commit cannot be had.
    """
    from filelock import FileLock

    parts = [part.strip() for part in address.removeprefix(PREFIX).split(",")]
    found = [match for match in map(_REPOSITORY.fullmatch, parts) if match]
    if len(found) < len(parts):
        raise UsageError(
            f"{address!r}: need {PREFIX}OWNER/NAME@COMMIT, the 40 hexadecimal digits of a commit (a branch "
            "may change under a build); further repositories that the checkpoint points into follow after commas"
        )
    place = cache_folder("hub") / hashlib.sha256(address.encode()).hexdigest()[:16]
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".lock"):
        for match in found:
            if not (place / match["name"] / _WHOLE).is_file():
                _download(f"{match['owner']}/{match['name']}", match["commit"], place / match["name"], wanted)
    return place / found[0]["name"]


def _download(repository: str, commit: str, folder: Path, wanted: Sequence[str]) -> None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise MissingError(
            "huggingface_hub is not installed; run: pip install 'gen3dexport[torch]', or give a folder instead"
        ) from None
    try:
        snapshot_download(repository, revision=commit, local_dir=folder, allow_patterns=list(wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise MissingError(
            f"{PREFIX}{repository}@{commit}: cannot be downloaded ({reason}); "
            "download it elsewhere and give its folder (weights=FOLDER, encoder=FOLDER)"
        ) from error
    (folder / _WHOLE).touch()
