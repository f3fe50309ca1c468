"""`gen3dexport sign` and `verify --key`: what is signed, what is told, and that others read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from model_signing import hashing, signing
from model_signing._cli import main as model_signing
from paper_bundle import rewrite

from gen3dexport.bundle.report_files import REPORTS, write_reports
from gen3dexport.bundle.signatures import PASSWORD

Cli = Callable[..., tuple[int, str, str]]
KINDS: dict[str, Callable[[], Any]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


def _write(key: Any, path: Path, password: bytes = b"") -> Path:
    """A key's two halves as `NAME.pem` and `NAME.pub`; the first."""
    secret = BestAvailableEncryption(password) if password else NoEncryption()
    path.with_suffix(".pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path.with_suffix(".pem")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key of every kind, and `other`."""
    folder = tmp_path_factory.mktemp("keys")
    for name, make in {**KINDS, "other": KINDS["P-256"]}.items():
        _write(make(), folder / name)
    return folder


@pytest.fixture
def signed(paper: Path, keys: Path, cli: Cli) -> Path:
    """A signed bundle."""
    code, _, error = cli("sign", paper, "--key", keys / "P-256.pem")
    assert code == 0, error
    return paper


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
def test_what_was_signed_is_verified(curve: str, paper: Path, keys: Path, cli: Cli) -> None:
    code, out, error = cli("sign", paper, "--key", keys / f"{curve}.pem", "--json")
    assert code == 0 and json.loads(out)["signature"] == str(paper / "model.sig"), error
    code, out, error = cli("verify", paper, "--key", keys / f"{curve}.pub", "--json")
    assert code == 0 and json.loads(out)["signature"] == "valid", error
    code, out, error = cli("verify", paper)
    assert code == 0 and "signature not checked" in out, error
    write_reports(paper, dict.fromkeys(REPORTS, "measured again\n"))
    shutil.copytree(paper, paper.with_name("renamed"))
    assert cli("verify", paper.with_name("renamed"), "--key", keys / f"{curve}.pub")[0] == 0


def test_the_format_s_own_program_verifies_it(signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["verify", "key", str(signed), "--signature", str(signed / "model.sig"), "--public_key"]
    model_signing([*arguments, str(keys / "P-256.pub")], standalone_mode=False)
    assert "succeeded" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        model_signing([*arguments, str(keys / "other.pub")], standalone_mode=False)


def _change(bundle: Path) -> None:
    (bundle / "programs" / "flow.bin").write_text("another")


def _seal(bundle: Path) -> None:
    rewrite(bundle, lambda data: data["host"].update(machine="another"))


def _relink(bundle: Path) -> None:
    (bundle / "model.sig").rename(bundle.parent / "model.sig")
    (bundle / "model.sig").symlink_to(bundle.parent / "model.sig")


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no signature": (lambda b: (b / "model.sig").unlink(), "model.sig: missing"),
    "a changed file": (_change, "flow.bin"),
    "a changed bundle with right digests": (_seal, "not the signature of this bundle"),
    "an added file": (lambda b: (b / "host" / "evil").touch(), "host/evil: not in the manifest"),
    "a file that version control hides": (lambda b: (b / ".gitignore").touch(), ".gitignore: not in the manifest"),
    "a link": (lambda b: (b / "host" / "evil").symlink_to("/etc/hostname"), "host/evil: a link"),
    "a signature that is a link": (_relink, "model.sig: a link"),
    "an empty signature": (lambda b: (b / "model.sig").write_text(""), "not the signature"),
    "a signature of nothing": (lambda b: (b / "model.sig").write_text("{}"), "not the signature"),
    "a signature that is no text": (lambda b: (b / "model.sig").write_bytes(b"\xff\xfe"), "not the signature"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_not_as_it_was_signed_is_told(harm: str, signed: Path, keys: Path, cli: Cli) -> None:
    action, words = HARMS[harm]
    action(signed)
    code, _, error = cli("verify", signed, "--key", keys / "P-256.pub")
    assert code == 7 and words in error, error


def test_another_key_is_told(signed: Path, keys: Path, cli: Cli) -> None:
    for other in ("other", "P-384"):
        code, _, error = cli("verify", signed, "--key", keys / f"{other}.pub")
        assert code == 7 and f"by the key {keys / other}.pub" in error, error


def test_a_key_s_signature_is_not_checked_with_certificates(signed: Path, keys: Path, cli: Cli) -> None:
    root = KINDS["P-256"]()
    (keys / "some.crt").write_bytes(_certificate(root, "root", None, root).public_bytes(Encoding.PEM))
    code, _, error = cli("verify", signed, "--certificate-chain", keys / "some.crt")
    assert code == 7 and "takes --key" in error


def test_a_signature_that_leaves_files_out_is_not_enough(paper: Path, keys: Path, cli: Cli) -> None:
    left_out = hashing.Config().set_ignored_paths(paths=[paper / "manifest.json", paper / "model.sig"])
    config = signing.Config().set_hashing_config(left_out)
    config.use_elliptic_key_signer(private_key=keys / "P-256.pem").sign(paper, paper / "model.sig")
    code, _, error = cli("verify", paper, "--key", keys / "P-256.pub")
    assert code == 7 and "leaves out manifest.json" in error


def test_a_damaged_bundle_is_not_signed(paper: Path, keys: Path, cli: Cli) -> None:
    _change(paper)
    assert cli("sign", paper, "--key", keys / "P-256.pem")[0] == 7
    assert not (paper / "model.sig").exists()


@pytest.mark.parametrize("kind", ["secp256k1", "Ed25519", "RSA"])
def test_keys_that_the_format_does_not_know_are_named(kind: str, signed: Path, keys: Path, cli: Cli) -> None:
    for command, suffix in (("sign", "pem"), ("verify", "pub")):
        code, _, error = cli(command, signed, "--key", keys / f"{kind}.{suffix}")
        assert code == 2 and kind in error and "ECDSA on P-256" in error, error


def test_what_is_no_key_is_told(signed: Path, keys: Path, cli: Cli) -> None:
    for path, words in ((keys / "P-256.pub", "no private key"), (keys / "none.pem", "cannot be read")):
        code, _, error = cli("sign", signed, "--key", path)
        assert code == 2 and words in error, error
    assert cli("verify", signed, "--key", keys / "P-256.pem")[0] == 2


def test_an_encrypted_key_takes_its_password_from_the_environment(
    paper: Path, keys: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = _write(KINDS["P-256"](), keys / "locked", b"a secret word")
    code, _, error = cli("sign", paper, "--key", key)
    assert code == 2 and PASSWORD in error
    for word, expected in (("another word", 2), ("a secret word", 0)):
        monkeypatch.setenv(PASSWORD, word)
        code, out, error = cli("sign", paper, "--key", key)
        assert code == expected and word not in out + error, error
    assert cli("verify", paper, "--key", key.with_suffix(".pub"))[0] == 0


def _certificate(
    key: Any, name: str, issuer: x509.Certificate | None, issuer_key: Any, days: tuple[int, int] = (-1, 1)
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    root = issuer is None
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) + timedelta(days=days[0]))
        .not_valid_after(datetime.now(UTC) + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not root,
                key_cert_sign=root,
                crl_sign=root,
                encipher_only=False,
                decipher_only=False,
                **usage,
            ),
            critical=True,
        )
        .sign(issuer_key, hashes.SHA256())
    )


def test_certificates(paper: Path, keys: Path, cli: Cli) -> None:
    key, root_key, other_key = (KINDS["P-256"]() for _ in range(3))
    root, other = (_certificate(k, "root", None, k) for k in (root_key, other_key))
    own = _certificate(key, "signer", root, root_key)
    for name, certificate in (("root", root), ("own", own), ("another", other)):
        (keys / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = _write(key, keys / "certified")
    code, _, error = cli("sign", paper, "--key", pem, "--certificate", keys / "own.crt")
    assert code == 0, error
    assert cli("verify", paper, "--certificate-chain", keys / "root.crt")[0] == 0
    code, _, error = cli("verify", paper, "--certificate-chain", keys / "another.crt")
    assert code == 7 and "another.crt" in error
    code, _, error = cli("verify", paper, "--key", keys / "P-256.pub")
    assert code == 7 and "takes --certificate-chain" in error
    assert cli("verify", paper, "--certificate-chain", pem)[0] == 2
    assert cli("verify", paper, "--key", keys / "P-256.pub", "--certificate-chain", keys / "root.crt")[0] == 2
    code, _, error = cli("sign", paper, "--key", keys / "P-256.pem", "--certificate", keys / "own.crt")
    assert code == 2 and "own.crt" in error
    assert cli("sign", paper, "--key", pem, "--certificate-chain", keys / "root.crt")[0] == 2


@pytest.mark.parametrize("days", [(-9, -1), (1, 9)])
@pytest.mark.parametrize("whose", ["signer", "root"])
def test_a_certificate_that_does_not_hold_today_vouches_for_nothing(
    whose: str, days: tuple[int, int], paper: Path, keys: Path, cli: Cli
) -> None:
    """The format's library takes certificates as of the day when the signer's began."""
    key, root_key = KINDS["P-256"](), KINDS["P-256"]()
    root = _certificate(root_key, "root", None, root_key, days if whose == "root" else (-9, 9))
    own = _certificate(key, "signer", root, root_key, days if whose == "signer" else (-1, 1))
    for name, certificate in (("root", root), ("own", own)):
        (keys / f"{name}.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = _write(key, keys / "certified")
    code, _, error = cli("sign", paper, "--key", pem, "--certificate", keys / "own.crt")
    if whose == "signer":
        assert code == 2 and "is in force from" in error, error
        assert not (paper / "model.sig").exists()
        config = signing.Config().set_hashing_config(hashing.Config().set_ignored_paths(paths=[paper / "model.sig"]))
        config.use_certificate_signer(
            private_key=pem, signing_certificate=keys / "own.crt", certificate_chain=[keys / "own.crt"]
        )
        config.sign(paper, paper / "model.sig")
    code, _, error = cli("verify", paper, "--certificate-chain", keys / "root.crt")
    assert code == 7 and ("does not hold today" in error or "not the signature" in error), error


def test_the_signature_of_another_bundle_is_none(signed: Path, keys: Path, cli: Cli) -> None:
    """Of the same key, and of an older form of the same bundle."""
    rewrite(signed, lambda data: data["host"].update(machine="another"))
    older = (signed / "model.sig").read_bytes()
    assert cli("sign", signed, "--key", keys / "P-256.pem")[0] == 0
    assert cli("verify", signed, "--key", keys / "P-256.pub")[0] == 0
    (signed / "model.sig").write_bytes(older)
    code, _, error = cli("verify", signed, "--key", keys / "P-256.pub")
    assert code == 7 and "not the signature of this bundle" in error
