"""`model.sig` of a bundle: a signature of the OpenSSF model-signing format over its manifest and all that it lists.

The reports are not signed: whoever measures the bundle again writes them anew. Nothing here needs the network.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gen3dexport.bundle.report_files import BESIDE_MANIFEST, MANIFEST, SIGNATURE
from gen3dexport.disk import write_atomically
from gen3dexport.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

PASSWORD = "GEN3DEXPORT_KEY_PASSWORD"
"""Environment variable with the password of an encrypted private key."""
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_REMEDY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out key.pub"


def sign(bundle: Path, key: Path, certificate: Path | None = None, chain: Sequence[Path] = ()) -> Path:
    """Sign a bundle that was verified; the file of the signature, which replaces an older one.

    Args:
        key: the private key, PEM.
        certificate: of the key, PEM, which the signature then carries; chain: those that it is trusted by.

    Raises:
        UsageError: for a key that cannot sign, or certificates that do not belong to it.
        MissingError: through ModuleNotFoundError, when the extra `trust` is not installed.
    """
    bundle, password = bundle.resolve(), os.environ.get(PASSWORD)
    check_key(key, private=True, password=password)
    from model_signing import hashing, signing

    left_out = hashing.Config().set_ignored_paths(paths=[bundle / name for name in BESIDE_MANIFEST])
    config = signing.Config().set_hashing_config(left_out)
    if certificate is not None:
        _check_in_force(certificate)
    with _told(f"{certificate or key}: cannot sign", UsageError), tempfile.TemporaryDirectory() as folder:
        if certificate is None:
            config.use_elliptic_key_signer(private_key=key, password=_as_bytes(password))
        else:
            between = list(chain) or [certificate]  # the library takes no empty chain
            config.use_certificate_signer(private_key=key, signing_certificate=certificate, certificate_chain=between)
        config.sign(bundle, Path(folder) / SIGNATURE)
        content = (Path(folder) / SIGNATURE).read_bytes()
    write_atomically(bundle / SIGNATURE, content)
    return bundle / SIGNATURE


def check(bundle: Path, files: Sequence[str], key: Path | None = None, chain: Sequence[Path] = ()) -> None:
    """Check the signature of a bundle whose files are as its manifest says.

    Args:
        files: what the manifest lists.
        key: the public key, PEM; or chain: the certificates that are trusted, PEM.

    Raises:
        UsageError: for a key or certificate that cannot be read or used.
        VerificationError: when there is no signature, it was made with another key, or it is of other files.
    """
    path = bundle / SIGNATURE
    if not path.is_file():
        raise VerificationError(
            f"{path}: missing, so nobody vouches for this bundle; get the signed one, or sign it with: "
            f"gen3dexport sign {bundle} --key KEY"
        )
    if (option := _checked_with(path)) and option != ("--key" if key is not None else "--certificate-chain"):
        raise VerificationError(f"{path}: is not to be checked with this; its kind of signature takes {option}")
    from model_signing import verifying

    config = verifying.Config()
    if key is not None:
        check_key(key, private=False)
        config.use_elliptic_key_verifier(public_key=key)
        by = f"the key {key}"
    else:
        with _told(f"{', '.join(map(str, chain))}: not certificates in PEM", UsageError):
            config.use_certificate_verifier(certificate_chain=list(chain))
        by = f"a certificate that {', '.join(map(str, chain))} vouches for"
    with _told(f"{path}: not the signature of this bundle by {by}; get the bundle again", VerificationError):
        config.verify(bundle.resolve(), path)
    if chain:
        with _told(f"{path}: its certificate does not hold today; have the bundle signed again", VerificationError):
            _check_chain(path, chain)
    if unsigned := sorted({MANIFEST, *files} - _signed(path)):
        raise VerificationError(
            f"{path}: leaves out {', '.join(unsigned)}; sign the bundle again with gen3dexport sign"
        )


def _checked_with(path: Path) -> str | None:
    """The option that a signature's kind is checked with; None where the file does not say its kind."""
    try:
        material = json.loads(path.read_text(encoding="utf-8"))["verificationMaterial"]
        kinds = {"publicKey": "--key", "x509CertificateChain": "--certificate-chain"}
        return next((option for name, option in kinds.items() if name in material), None)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _check_chain(path: Path, trusted: Sequence[Path]) -> None:
    """Check the certificates of a signature as of now.

    The format's library takes them as of the day when the signer's own began, for a signature holds no time that
    anybody vouches for. So a key that leaked and whose certificate has ended would sign for ever.
    """
    from cryptography import x509
    from OpenSSL import crypto

    material = json.loads(path.read_text(encoding="utf-8"))["verificationMaterial"]
    own, *between = (
        crypto.X509.from_cryptography(x509.load_der_x509_certificate(base64.b64decode(one["rawBytes"])))
        for one in material["x509CertificateChain"]["certificates"]
    )
    store = crypto.X509Store()
    for one in x509.load_pem_x509_certificates(b"".join(file.read_bytes() for file in trusted)):
        store.add_cert(crypto.X509.from_cryptography(one))
    crypto.X509StoreContext(store, own, between).verify_certificate()


def _check_in_force(certificate: Path) -> None:
    """Refuse a certificate that nobody would take today.

    Raises:
        UsageError: when it is none, has ended or has not begun.
    """
    from cryptography import x509

    with _told(f"{certificate}: no certificate in PEM", UsageError):
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    first, last = found.not_valid_before_utc, found.not_valid_after_utc
    if not first <= datetime.now(UTC) <= last:
        raise UsageError(f"{certificate}: is in force from {first} to {last} alone; sign with one that is today")


def check_key(path: Path, private: bool, password: str | None = None) -> None:
    """Refuse what is no key that the format knows: ECDSA on P-256, P-384 or P-521.

    Raises:
        UsageError: with what it is.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

    what = "private key" if private else "public key"
    try:
        content = path.read_bytes()
        key: PrivateKeyTypes | PublicKeyTypes
        key = load_pem_private_key(content, _as_bytes(password)) if private else load_pem_public_key(content)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except TypeError as error:  # encrypted without a password, or a password without encryption
        raise UsageError(f"{path}: {error}; its password goes into the variable {PASSWORD}") from error
    except Exception as error:  # whatever the parser meets
        raise UsageError(f"{path}: no {what} in PEM ({error}); make one: {_REMEDY}") from error
    name = type(key).__name__.strip("_").removesuffix("PrivateKey").removesuffix("PublicKey")
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        if key.curve.name in CURVES:
            return
        name = f"curve {key.curve.name}"
    raise UsageError(
        f"{path}: a {what} of {name}; model signatures take ECDSA on {', '.join(CURVES.values())}; make one: {_REMEDY}"
    )


def _as_bytes(password: str | None) -> Any:
    return None if password is None else password.encode()


def _signed(path: Path) -> set[str]:
    """Names of the files that a signature, which was checked, is of."""
    envelope = json.loads(path.read_text(encoding="utf-8"))["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return {resource["name"] for resource in statement["predicate"]["resources"]}


@contextlib.contextmanager
def _told(words: str, error_class: Callable[[str], Exception]) -> Iterator[None]:
    """Whatever the library meets as one error; what it prints goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:  # the library raises what its parsers and OpenSSL raise
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise error_class(f"{words} ({reason})") from error
