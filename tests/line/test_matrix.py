"""`gen3dexport matrix` with real builds: what it leaves, and that a second one builds only what changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import FAST_TARGET

from gen3dexport import models
from gen3dexport.bundle.manifest import read_manifest
from gen3dexport.cli.matrix import TARGETS

Cli = Callable[..., tuple[int, str, str]]


def test_a_second_matrix_builds_what_is_missing_or_changed(tiny_recipe: Path, tmp_path: Path, cli: Cli) -> None:
    target, out = tmp_path / "fast.yaml", tmp_path / "matrix"
    target.write_text(FAST_TARGET.replace("eager-fast", "fast"))

    def matrix(*more: str | Path) -> tuple[int, dict[str, Any]]:
        chosen = ("--recipes", tiny_recipe, "--targets", f"{target},onnx")
        code, text, error = cli("matrix", *chosen, "components.flow.scheme=bf16", "-o", out, "--json", *more)
        assert text, error
        return code, {cell["name"]: cell for cell in json.loads(text)["cells"]}

    code, made = matrix()
    assert code == 5, "bf16 misses the recipe's budget, and ONNX's refusal is no failure"
    first, refused = made["trellis-tiny-fast"], made["trellis-tiny-onnx"]
    assert (first["status"], first["exit_code"]) == ("failed", 5) and "relative_l2_fp32" in first["reason"]
    assert (refused["status"], refused["exit_code"]) == ("refused", 0) and "bf16 is refused" in refused["reason"]
    assert first["peak_bytes"] > 100e6 and first["size_bytes"] > 1000 and first["host"]

    code, made = matrix("budgets.relative_l2=1", "budgets.relative_l2_fp32=1", "budgets.scores={}")
    assert (code, made["trellis-tiny-fast"]["status"]) == (0, "pass")
    bundle = out / "bundles" / "trellis-tiny-fast"
    created, built = (bundle / "report.json").read_text(), made["trellis-tiny-fast"]["built"]
    assert read_manifest(bundle).recipe["budgets"]["relative_l2"] == 1
    code, made = matrix("budgets.relative_l2=1", "budgets.relative_l2_fp32=1", "budgets.scores={}")
    assert code == 0 and made["trellis-tiny-fast"]["built"] == built, "nothing changed"
    assert (bundle / "report.json").read_text() == created
    assert "cached" in (out / "logs" / "trellis-tiny-fast.log").read_text(), "the stage cache had its components"
    for name in ("matrix.html", "matrix.md", "matrix.xml"):
        assert "trellis-tiny" in (out / name).read_text()


def test_every_family_has_a_tiny_recipe_that_every_target_takes(tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "matrix"
    code, text, error = cli("matrix", "--size", "tiny", "--dry-run", "--json", "-o", out)
    assert code == 0, error
    rows = json.loads(text)
    families = {family.replace("_", "-") for family in models.names()}
    assert {row["cell"].partition("-tiny-")[0] for row in rows} == families
    assert len(rows) == len(families) * len(TARGETS)
    assert {row["what"] for row in rows} == {"build"}, [row for row in rows if row["what"] != "build"]
