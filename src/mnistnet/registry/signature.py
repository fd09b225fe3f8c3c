"""`mnistnet sign BUNDLE --key private.pem`, `mnistnet verify BUNDLE --public-key public.pem`.

    sign(bundle, Path("private.pem"))              # writes model.sig into the folder
    check_signature(bundle, Path("public.pem"))    # or raises BundleError
    sign_keyless(bundle)                           # as the workflow that this runs in
    check_signature(bundle, Identity("https://github.com/ada/digits/.github/workflows/…"))

The format is OpenSSF's model signing, so other programs can check it too. A signature covers
every file of the folder but itself. It does not say that the bundle is the newest. Without a key,
Sigstore issues a certificate, which lasts minutes, for the workflow that the host says this is,
and writes the signature into a log that all can read.
"""

from __future__ import annotations

import base64
import io
import json
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnistnet.bundle.manifest import EXTRA_FILES, FILES, MANIFEST, check_files
from mnistnet.errors import BundleError, FileError, MnistNetError, SigningError
from mnistnet.extras import import_extra
from mnistnet.files import atomic_write, entries
from mnistnet.text import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = "model.sig"
CURVES = "on the curve P-256, P-384 or P-521"
MAKE_KEY = "; make one: openssl ecparam -name prime256v1 -genkey -noout -out private.pem"
GITHUB = "https://token.actions.githubusercontent.com"


@dataclass(frozen=True)
class Identity:
    """Who signs without a key: the name in the certificate, and who issued the identity token.

    On GitHub, the name is https://github.com/OWNER/REPOSITORY/.github/workflows/FILE@REF.
    """

    name: str
    provider: str = GITHUB


Signer = Path | Identity  # a public key's file, or an identity


def signer_name(signer: Signer) -> str:
    """Return how messages name a signer."""
    return signer.name if isinstance(signer, Identity) else f"the owner of {signer}"


def sign(bundle: Path, private_key: Path, *, password: str | None = None) -> Path:
    """Sign a bundle and all files next to it; return where the signature was written.

    The key is a PEM file, on the curve P-256, P-384 or P-521, and may be encrypted.

    Raises:
        BundleError: the bundle is not whole.
        FileError: the key cannot be used, or the signature not be written.
        MissingError: the extra `deliver` is not installed.
    """
    check_files(bundle)
    import_extra("deliver", "model_signing", "model_signing.signing")
    from model_signing import signing

    # The library's type says str, and the function that it passes the password to takes bytes.
    secret: Any = password.encode() if password else None
    with _errors(FileError, f"{private_key}: cannot be used as a private key {CURVES}", MAKE_KEY):
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
    with atomic_write(bundle / SIGNATURE) as temporary:
        signer.set_hashing_config(_hashing(bundle)).sign(bundle.resolve(), temporary)
    return bundle / SIGNATURE


def sign_keyless(bundle: Path) -> Path | None:
    """Sign a bundle and all files next to it as whoever the host says that this runs as.

    Nobody is asked for anything, and no browser is opened.

    Returns:
        Where the signature was written; None where no host says who this runs as.

    Raises:
        BundleError: the bundle is not whole.
        FileError: the signature cannot be written.
        MissingError: the extra `deliver` is not installed.
        SigningError: there is such a host, but it does not answer, or Sigstore does not sign.
    """
    check_files(bundle)
    import_extra("deliver", "id", "model_signing.signing")
    from id import GitHubOidcPermissionCredentialError, detect_credential
    from model_signing import signing

    advice = "; try again, or sign with --key"
    with _errors(SigningError, "the host's identity token cannot be obtained", advice):
        try:
            token = detect_credential("sigstore")
        except GitHubOidcPermissionCredentialError:  # a job without `id-token: write`
            token = None
    if token is None:
        return None
    failed = _errors(SigningError, f"{bundle}: Sigstore did not sign it", advice)
    with atomic_write(bundle / SIGNATURE) as temporary, failed:
        # With this token: without one, the library would open a browser.
        signer = signing.Config().use_sigstore_signer(identity_token=token)
        signer.set_hashing_config(_hashing(bundle)).sign(bundle.resolve(), temporary)
    return bundle / SIGNATURE


def check_signature(bundle: Path, signer: Signer) -> None:
    """Check that somebody has signed every file that lies in a bundle's folder.

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
    verifier = _verifier(signer)
    with _errors(
        BundleError,  # the file may be hostile
        f"{signature}: does not show that {signer_name(signer)} made this bundle",
        ": it was made by somebody else, or the bundle changed since; get it again, from a source"
        " that you trust",
    ):
        with redirect_stdout(io.StringIO()):  # the library prints a warning of its own
            verifier.set_hashing_config(_hashing(bundle)).verify(bundle.resolve(), signature)
        envelope = json.loads(signature.read_bytes())["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        signed = {resource["name"] for resource in statement["predicate"]["resources"]}
    present = {entry.name for entry in entries(bundle)} - {SIGNATURE}
    # The library leaves out what the signed statement says to leave out; nothing may be.
    if signed != present:
        raise BundleError(
            f"{signature}: does not cover exactly the bundle's files"
            f" ({min(signed ^ present)!r:.60}); sign it with mnistnet sign"
        )


def _verifier(signer: Signer) -> Any:
    """Configure the library for a signer. Raises FileError, MissingError, SigningError."""
    import_extra("deliver", "model_signing", "model_signing.verifying")
    from model_signing import verifying

    if isinstance(signer, Path):
        with _errors(FileError, f"{signer}: cannot be used as a public key {CURVES}", MAKE_KEY):
            return verifying.Config().use_elliptic_key_verifier(public_key=signer)
    advice = ", and signatures without a key are checked by them; check the network"
    with _errors(SigningError, "Sigstore's keys cannot be fetched", advice):
        return verifying.Config().use_sigstore_verifier(
            identity=signer.name, oidc_issuer=signer.provider
        )


def _hashing(bundle: Path) -> Any:
    """Have the bundle's files hashed, and nothing else: not the signature, or what is temporary."""
    from model_signing import hashing

    present = {entry.name for entry in bundle.iterdir()}
    ignored = sorted({SIGNATURE} | present - {MANIFEST, *FILES, *EXTRA_FILES})
    return hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


@contextmanager
def _errors(kind: type[MnistNetError], problem: str, advice: str) -> Iterator[None]:
    """Turn whatever a library raises into one line; its errors have no base but Exception."""
    try:
        yield
    except Exception as error:
        reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
        raise kind(f"{problem} ({reason}){advice}") from error
