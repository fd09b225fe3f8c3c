"""A Sigstore and a host of workflows for tests: one HTTP server, with keys of its own.

    with running(OwnSigstore()) as sigstore:
        sigstore.trust_config()                  # what a client has to know to trust it
        sigstore.url("token")                    # where a workflow asks for its identity token

It does what the public one does and clients check: a certificate authority that names who it is
for, with the time stamp of a log of certificates, and a log of signatures that proves what is in
it. It believes every identity token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from git_server import Quiet

ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
STAMPS_OID = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")  # of logs of certificates
USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
SERIAL_NUMBER = 1
WORKFLOW = "ada/digits/.github/workflows/release.yml@refs/heads/main"
PROVIDER = "https://token.actions.githubusercontent.com"
VALID = {"validFor": {"start": "2020-01-01T00:00:00Z"}}
MEDIA_TYPE = "application/vnd.dev.sigstore"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _signed(key: ec.EllipticCurvePrivateKey, content: bytes) -> bytes:
    return key.sign(content, ec.ECDSA(hashes.SHA256()))


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _name_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _usage(name: str) -> x509.KeyUsage:
    return x509.KeyUsage(**dict.fromkeys(USAGES, False) | {name: True})


def identity_token() -> str:
    """A token as GitHub gives it to a workflow, but for the signature."""
    now = int(time.time())
    claims = {"aud": "sigstore", "sub": "repo:ada/digits", "iat": now, "exp": now + 300}
    claims |= {"iss": PROVIDER, "job_workflow_ref": WORKFLOW}
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, b"?"))


class OwnSigstore(ThreadingHTTPServer):
    """The server.

    Attributes:
        refuses: the path's end of requests that are answered with an error.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SigstoreHandler)
        self.refuses = "nothing"
        self.authority, self.stamps, self.log = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        self.now = datetime.now(UTC)
        public = self.authority.public_key()
        extensions: dict[x509.ExtensionType, bool] = {
            x509.BasicConstraints(ca=True, path_length=0): True,
            _usage("key_cert_sign"): True,
            x509.SubjectKeyIdentifier.from_public_key(public): False,
        }
        self.root = self._certificate(NAME, public, extensions)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}".rstrip("/")

    def trust_config(self) -> str:
        """What Sigstore serves as `trusted_root.json` and `signing_config.json`, in one."""
        certificates = [{"rawBytes": _base64(self.root.public_bytes(Encoding.DER))}]
        authority = {
            "subject": {"organization": "us", "commonName": "us"},
            "certChain": {"certificates": certificates},
        }
        root = {
            "mediaType": f"{MEDIA_TYPE}.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log)],
            "certificateAuthorities": [authority | VALID],
            "ctlogs": [self._log(self.stamps)],
            "timestampAuthorities": [],
        }
        signing = {
            "mediaType": f"{MEDIA_TYPE}.signingconfig.v0.2+json",
            "caUrls": self._service(""),
            "oidcUrls": self._service("oidc"),
            "rekorTlogUrls": self._service(""),
            "tsaUrls": [],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        }
        kind = f"{MEDIA_TYPE}.clienttrustconfig.v0.1+json"
        return json.dumps({"mediaType": kind, "trustedRoot": root, "signingConfig": signing})

    def _log(self, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
        public = {"rawBytes": _base64(_public(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        return {
            "baseUrl": self.url(),
            "hashAlgorithm": "SHA2_256",
            "publicKey": public | VALID,
            "logId": {"keyId": _base64(_name_of(key))},
        }

    def _service(self, path: str) -> list[dict[str, Any]]:
        return [{"url": self.url(path), "majorApiVersion": 1, "operator": "us"} | VALID]

    def certify(self, request: bytes, token: str) -> list[str]:
        """Return a certificate for whoever an identity token names, and its chain."""
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        public = x509.load_pem_x509_csr(request).public_key()
        name = f"https://github.com/{claims['job_workflow_ref']}"
        extensions: dict[x509.ExtensionType, bool] = {
            _usage("digital_signature"): True,
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]): False,
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()): False,
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name)]): True,
            x509.UnrecognizedExtension(ISSUER_OID, claims["iss"].encode()): False,
        }

        def stamped(stamp: bytes) -> x509.Certificate:
            more = {x509.UnrecognizedExtension(STAMPS_OID, stamp): False}
            return self._certificate(x509.Name([]), public, extensions | more)

        draft = stamped(self._stamp(b"")).tbs_precertificate_bytes
        chain = (stamped(self._stamp(draft)), self.root)
        return [certificate.public_bytes(Encoding.PEM).decode() for certificate in chain]

    def enter(self, proposed: dict[str, Any]) -> dict[str, Any]:
        """Put a signature into the log, as its only entry, and prove that it is there."""
        content = proposed["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        (verifier,) = content["verifiers"]
        signatures = [{"signature": s["sig"], "verifier": verifier} for s in envelope["signatures"]]
        spec = {
            "envelopeHash": _sha256(content["envelope"].encode()),
            "payloadHash": _sha256(base64.b64decode(envelope["payload"])),
            "signatures": signatures,
        }
        body = json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()
        root = hashlib.sha256(b"\0" + body).digest()
        note = f"us - 1\n1\n{_base64(root)}\n"
        signature = _base64(_name_of(self.log)[:4] + _signed(self.log, note.encode()))
        entry = {
            "body": _base64(body),
            "integratedTime": int(time.time()),
            "logID": _name_of(self.log).hex(),
            "logIndex": 0,
        }
        promised = json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()
        proof = {"logIndex": 0, "rootHash": root.hex(), "treeSize": 1, "hashes": []}
        verification = {
            "inclusionProof": proof | {"checkpoint": f"{note}\n— us {signature}\n"},
            "signedEntryTimestamp": _base64(_signed(self.log, promised)),
        }
        return {root.hex(): entry | {"verification": verification}}

    def _certificate(
        self, subject: x509.Name, public: Any, extensions: dict[x509.ExtensionType, bool]
    ) -> x509.Certificate:
        """Sign a certificate; each extension is critical or not."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(NAME)
            .public_key(public)
            .serial_number(SERIAL_NUMBER)
            .not_valid_before(self.now - timedelta(minutes=1))
            .not_valid_after(self.now + timedelta(minutes=10))
        )
        for extension, critical in extensions.items():
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.authority, hashes.SHA256())

    def _stamp(self, draft: bytes) -> bytes:
        """Write an RFC 6962 list of one signed time stamp, over a certificate yet without it."""
        milliseconds = int(time.time() * 1000)
        length = struct.pack("!I", len(draft))[1:]
        signed = struct.pack("!BBQH", 0, 0, milliseconds, 1)
        signed += _name_of(self.authority) + length + draft + b"\0\0"
        signature = _signed(self.stamps, signed)
        stamp = b"\0" + _name_of(self.stamps) + struct.pack("!QH", milliseconds, 0)
        stamp += struct.pack("!BBH", 4, 3, len(signature)) + signature
        stamps = struct.pack("!HH", len(stamp) + 2, len(stamp)) + stamp
        return b"\x04" + bytes([len(stamps)]) + stamps  # they are under 128 bytes


def _sha256(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


class SigstoreHandler(Quiet, BaseHTTPRequestHandler):
    server: OwnSigstore

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self._answer({"value": identity_token()})
        else:
            urls = ("authorization_endpoint", "token_endpoint")
            self._answer(dict.fromkeys(urls, self.server.url("nowhere")))

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/signingCert"):
            token = self.headers["Authorization"].removeprefix("Bearer ")
            request = base64.b64decode(given["certificateSigningRequest"])
            certificates = self.server.certify(request, token)
            self._answer(
                {"signedCertificateEmbeddedSct": {"chain": {"certificates": certificates}}}
            )
        else:
            self._answer(self.server.enter(given))

    def _answer(self, document: dict[str, Any]) -> None:
        refused = self.path.split("?")[0].endswith(self.server.refuses)
        content = json.dumps({"message": "no"} if refused else document).encode()
        self.send_response(403 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
