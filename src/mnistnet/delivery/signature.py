"""`mnistnet sign BUNDLE --key private.pem`, `mnistnet verify BUNDLE --public-key public.pem`.

    sign(bundle, Path("private.pem"))              # writes model.sig into the folder
    check_signature(bundle, Path("public.pem"))    # or raises BundleError

The format is OpenSSF's model signing, so other programs can check it too. A signature covers
every file of the folder but itself, those beside the bundle included: a foreign bill of materials
or a page with somebody's script in it is refused as a changed weight is. It does not say that the
bundle is the newest: an old one, signed once, stays signed.
"""

from __future__ import annotations

import base64
import io
import json
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.manifest import check_files
from mnistnet.errors import BundleError, FileError
from mnistnet.extras import missing
from mnistnet.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNATURE = "model.sig"
MAX_SIGNATURE_BYTES = 100_000
MAX_KEY_BYTES = 100_000
MAKE_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out private.pem"


def sign(bundle: Path, private_key: Path, *, password: str | None = None) -> Path:
    """Sign a bundle and all that lies beside it; an old signature is replaced.

    Args:
        bundle: the folder.
        private_key: a PEM file with a key on the curve P-256, P-384 or P-521.
        password: of the key, where it is encrypted.

    Returns:
        Where the signature was written.

    Raises:
        BundleError: the bundle is not whole.
        FileError: the key cannot be used, or the signature not be written.
        MissingError: the extra `deliver` is not installed.
    """
    check_files(bundle)
    with _library():
        from model_signing import signing
    _check_key(private_key, private=True, password=password)
    # The library's type says str, and what it hands the password to takes bytes.
    secret: Any = password.encode() if password else None
    signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
    with writing(bundle / SIGNATURE) as temporary:
        signer.set_hashing_config(_hashing()).sign(bundle.resolve(), temporary)
    return bundle / SIGNATURE


def check_signature(bundle: Path, public_key: Path) -> None:
    """Check that the owner of a key has signed every file that lies in a bundle's folder.

    Raises:
        BundleError: it is not so, the bundle is not whole, or it is not signed.
        FileError: the key cannot be used.
        MissingError: the extra `deliver` is not installed.
    """
    check_files(bundle)  # only plain files with the format's names, of bounded size
    signature = bundle / SIGNATURE
    if not signature.exists():
        raise BundleError(f"{bundle}: is not signed (no {SIGNATURE}); get one that is")
    if signature.stat().st_size > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{signature}: is too large for a signature; get the bundle anew")
    with _library():
        from model_signing import verifying
    _check_key(public_key, private=False)
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    try:
        with redirect_stdout(io.StringIO()):  # the library prints a warning of its own
            verifier.set_hashing_config(_hashing()).verify(bundle.resolve(), signature)
        signed = _signed_names(signature)
    except Exception as error:  # it is hostile, and what the library raises has no other base
        raise BundleError(
            f"{signature}: does not show that {public_key}'s owner made this bundle"
            f" ({_reason(error)}); get it anew, from a source that you trust"
        ) from error
    present = {entry.name for entry in bundle.iterdir()} - {SIGNATURE}
    # The library leaves out what the signed statement says to leave out; nothing may be.
    if signed != present:
        raise BundleError(
            f"{signature}: does not cover exactly the bundle's files"
            f" ({min(signed ^ present)!r:.60}); sign it with mnistnet sign"
        )


def _hashing() -> Any:
    """Have every file hashed but the signature; by default, git's would be left out too."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _signed_names(signature: Path) -> set[str]:
    """Read which files a signature names, once it is known to be the key's."""
    envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    return {resource["name"] for resource in statement["predicate"]["resources"]}


def _check_key(path: Path, *, private: bool, password: str | None = None) -> None:
    """Say in a line what is wrong with a key; the library would not. Raises FileError."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    kind = "private" if private else "public"
    curves = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES)
        if private:
            secret = password.encode() if password else None
            key: object = serialization.load_pem_private_key(content, secret)
        else:
            key = serialization.load_pem_public_key(content)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    except TypeError:
        with_it = "is not encrypted; take its password away" if password else "is encrypted"
        raise FileError(f"{path}: {with_it}; see mnistnet sign --help") from None
    except Exception as error:  # ValueError, UnsupportedAlgorithm, InternalError, …
        doubt = ", or its password is another" if password else ""
        raise FileError(f"{path}: is no {kind} key{doubt}; make one: {MAKE_KEY}") from error
    usable = (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
    if not isinstance(key, usable) or not isinstance(key.curve, curves):
        raise FileError(
            f"{path}: is no key on the curve P-256, P-384 or P-521; make one: {MAKE_KEY}"
        )


def _reason(error: Exception) -> str:
    from cryptography.exceptions import InvalidSignature

    if isinstance(error, InvalidSignature) or str(error).startswith("Key mismatch"):
        return "it was made with another key, or changed since"
    line = (str(error) or type(error).__name__).splitlines()[0][:160]
    return "".join(c if c.isprintable() else "?" for c in line)


@contextmanager
def _library() -> Iterator[None]:
    """Say how to install what is imported here and missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(error.name, "deliver") from None
