"""`mnistnet sign BUNDLE --key private.pem`, `mnistnet verify BUNDLE --public-key public.pem`.

    sign(bundle, Path("private.pem"))              # writes model.sig into the folder
    check_signature(bundle, Path("public.pem"))    # or raises BundleError
    sign_keyless(bundle)                           # as the workflow that this runs in
    check_signature(bundle, Identity("https://github.com/ada/digits/.github/workflows/…"))

The format is OpenSSF's model signing, so other programs can check it too. A signature covers
every file of the folder but itself, those beside the bundle included: a foreign bill of materials
or a page with somebody's script in it is refused as a changed weight is. It does not say that the
bundle is the newest: an old one, signed once, stays signed.

Without a key it is Sigstore that vouches: the host says who runs here, Sigstore gives out a
certificate for that which lasts minutes, and writes the signature into a log that all can read.
"""

from __future__ import annotations

import base64
import io
import json
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.manifest import check_files
from mnistnet.errors import BundleError, FileError, SigningError
from mnistnet.extras import missing
from mnistnet.files import atomic_write
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = "model.sig"
MAX_SIGNATURE_BYTES = 100_000
MAX_KEY_BYTES = 100_000
MAKE_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out private.pem"
GITHUB = "https://token.actions.githubusercontent.com"
AUDIENCE = "sigstore"  # whom an identity token is for


@dataclass(frozen=True)
class Identity:
    """Who signs without a key: on GitHub the workflow's file at a branch, and who vouches for it.

    Attributes:
        name: https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@refs/heads/BRANCH, or what
            else the certificate names: elsewhere often an address of electronic mail.
        provider: the address of whoever gave out the identity token.
    """

    name: str
    provider: str = GITHUB


def who(signer: Path | Identity) -> str:
    """Say in words whose signature is meant: a public key's owner's, or an identity's."""
    return signer.name if isinstance(signer, Identity) else f"the owner of {signer}"


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
    with atomic_write(bundle / SIGNATURE) as temporary:
        signer.set_hashing_config(_hashing()).sign(bundle.resolve(), temporary)
    return bundle / SIGNATURE


def sign_keyless(bundle: Path) -> Path | None:
    """Sign a bundle and all that lies beside it as whoever the host says that this runs as.

    Nobody is asked for anything, and no browser opened. Sigstore's log, which all can read, then
    has who signed and when, and the SHA-256 of what was signed.

    Returns:
        Where the signature was written; None where the host says of nobody who this runs as.

    Raises:
        BundleError: the bundle is not whole.
        FileError: the signature cannot be written.
        MissingError: the extra `deliver` is not installed.
        SigningError: there is such a host, but it does not answer, or Sigstore does not sign.
    """
    check_files(bundle)
    with _library():
        from model_signing import signing
    token = _identity_token()
    if token is None:
        return None
    with atomic_write(bundle / SIGNATURE) as temporary:
        try:
            # With a token of ours: else the library would go and open a browser.
            signer = signing.Config().use_sigstore_signer(identity_token=token)
            signer.set_hashing_config(_hashing()).sign(bundle.resolve(), temporary)
        except Exception as error:  # what the library raises has no other base
            raise SigningError(
                f"{bundle}: Sigstore did not sign it ({_reason(error)}); try again, or sign with"
                " --key"
            ) from error
    return bundle / SIGNATURE


def _identity_token() -> str | None:
    """Ask the host for a proof of who this runs as; None where there is none to be had.

    Raises:
        SigningError: it should be there, and cannot be had.
    """
    with _library():
        from id import GitHubOidcPermissionCredentialError, detect_credential
    try:
        return detect_credential(AUDIENCE)
    except GitHubOidcPermissionCredentialError:  # a job without `id-token: write`
        return None
    except Exception as error:  # the library's own, or of the HTTP client that it asks with
        raise SigningError(
            f"the host's identity token cannot be had ({_reason(error)}); try again, or sign with"
            " --key"
        ) from error


def check_signature(bundle: Path, signer: Path | Identity) -> None:
    """Check that somebody has signed every file that lies in a bundle's folder.

    Args:
        bundle: the folder.
        signer: the public key of who is to have signed it, or an identity.

    Raises:
        BundleError: it is not so, the bundle is not whole, or it is not signed.
        FileError: the key cannot be used.
        MissingError: the extra `deliver` is not installed.
        SigningError: what Sigstore's signatures are checked by cannot be fetched.
    """
    check_files(bundle)  # only plain files with the format's names, of bounded size
    signature = bundle / SIGNATURE
    if not signature.exists():
        raise BundleError(f"{bundle}: is not signed (no {SIGNATURE}); get one that is")
    if signature.stat().st_size > MAX_SIGNATURE_BYTES:
        raise BundleError(f"{signature}: is too large for a signature; get the bundle anew")
    verifier = _verifier(signer)
    try:
        with redirect_stdout(io.StringIO()):  # the library prints a warning of its own
            verifier.set_hashing_config(_hashing()).verify(bundle.resolve(), signature)
        signed = _signed_names(signature)
    except Exception as error:  # it is hostile, and what the library raises has no other base
        raise BundleError(
            f"{signature}: does not show that {who(signer)} made this bundle"
            f" ({_reason(error)}); get it anew, from a source that you trust"
        ) from error
    present = {entry.name for entry in bundle.iterdir()} - {SIGNATURE}
    # The library leaves out what the signed statement says to leave out; nothing may be.
    if signed != present:
        raise BundleError(
            f"{signature}: does not cover exactly the bundle's files"
            f" ({min(signed ^ present)!r:.60}); sign it with mnistnet sign"
        )


def _verifier(signer: Path | Identity) -> Any:
    """Set the library up for a signer. Raises FileError, MissingError, SigningError."""
    with _library():
        from model_signing import verifying
    if isinstance(signer, Path):
        _check_key(signer, private=False)
        return verifying.Config().use_elliptic_key_verifier(public_key=signer)
    try:
        return verifying.Config().use_sigstore_verifier(
            identity=signer.name, oidc_issuer=signer.provider
        )
    except Exception as error:  # it fetches Sigstore's own keys
        raise SigningError(
            f"Sigstore's keys cannot be fetched ({_reason(error)}), and signatures without a key"
            " are checked by them; check the network"
        ) from error


def _hashing() -> Any:
    """Have every file hashed but the signature; by default, git's would be left out too."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _signed_names(signature: Path) -> set[str]:
    """Read which files a signature names, once it is known to be the signer's."""
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
    return first_line(error)


@contextmanager
def _library() -> Iterator[None]:
    """Say how to install what is imported here and missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing(error.name, "deliver") from None
