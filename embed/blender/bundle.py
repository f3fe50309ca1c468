"""What a bundle's manifest says, as far as the panel shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


class Refused(Exception):
    """What is wrong, where, and how to mend it: one line."""


@dataclass(frozen=True)
class Bundle:
    """A bundle's folder.

    Attributes:
        backend: what runs its programs, e.g. `executorch`.
        steps: of the sampler, as the bundle was built; 0 where it has none or several.
        prompt: whether its host steps take a prompt; None where it declares none.
    """

    folder: Path
    name: str
    summary: str
    target: str
    backend: str
    steps: int
    prompt: bool | None

    @property
    def by_cpp(self) -> bool:
        """Whether the C++ tool `gen3d` may run it: it interprets declared host steps over ExecuTorch's programs."""
        return self.backend == "executorch" and self.prompt is not None


def read(folder: Path) -> Bundle:
    """The bundle of a folder; programs and digests are left to what runs it.

    Raises:
        Refused: for a folder that is no bundle.
    """
    path = folder / "manifest.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        declared = data.get("host_steps")
        loops = [step["steps"] for step in (declared or {}).get("steps", ()) if step["op"] == "flow_euler"]
        recipe, target = data["recipe"], data["target"]
        return Bundle(
            folder,
            str(recipe["name"]),
            str(recipe.get("summary", "")),
            str(target["name"]),
            str(target["backend"]),
            len(loops[0]) if len(loops) == 1 else 0,
            bool(declared["request"]["prompt"]) if declared else None,
        )
    except FileNotFoundError:
        raise Refused(f"{folder}: no bundle there; choose a folder that gen3dexport build made") from None
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: no manifest of a bundle; build or copy the bundle again") from error
