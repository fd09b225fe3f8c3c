"""`mnistnet sign` and `verify --public-key`: only what a key's owner signed is let through."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from model_signing import hashing, signing, verifying
from releases import RecordingGate, Run, write_pair

from mnistnet.bundle.manifest import FILES, MANIFEST, Fingerprint, read_manifest
from mnistnet.errors import BundleError, FileError
from mnistnet.inference.predictor import DEFAULT_BUNDLE
from mnistnet.registry.publish import publish
from mnistnet.registry.signature import check_signature, sign


@pytest.fixture
def signed(keys: Path, tmp_path: Path) -> Path:
    """The shipped bundle with a bill of materials next to it, signed by its maker."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in (MANIFEST, *FILES):
        shutil.copy(DEFAULT_BUNDLE / name, bundle)
    (bundle / "sbom.cdx.json").write_text("{}")
    sign(bundle, keys / "maker.pem")
    return bundle


def test_the_verbs_sign_and_verify_name_the_signer(
    signed: Path, keys: Path, tmp_path: Path, run: Run
) -> None:
    (signed / "model.sig").unlink()
    signature = f"Signature: {signed / 'model.sig'}\n"
    assert run("sign", signed, "--key", keys / "maker.pem") == (0, signature, "")
    moved, key = signed.rename(tmp_path / "moved"), keys / "maker.pub"
    code, out, _ = run("verify", moved, "--public-key", key)
    assert (code, f"signed by the owner of {key}" in out) == (0, True)
    code, out, err = run("verify", moved, "--public-key", keys / "stranger.pub")
    assert (code, out) == (2, "")
    assert "by somebody else" in err


def test_another_program_of_the_format_can_check_it_and_be_checked(
    signed: Path, keys: Path
) -> None:
    theirs = verifying.Config().use_elliptic_key_verifier(public_key=keys / "maker.pub")
    theirs.verify(signed, signed / "model.sig")
    ignoring = hashing.Config().set_ignored_paths(paths=["model.sig"], ignore_git_paths=True)
    signer = signing.Config().use_elliptic_key_signer(private_key=keys / "maker.pem")
    signer.set_hashing_config(ignoring).sign(signed, signed / "model.sig")
    check_signature(signed, keys / "maker.pub")


def test_what_a_desktop_leaves_is_neither_signed_nor_missed(signed: Path, keys: Path) -> None:
    (signed / ".DS_Store").write_bytes(b"view")
    check_signature(signed, keys / "maker.pub")
    sign(signed, keys / "maker.pem")
    (signed / ".DS_Store").unlink()
    (signed / "Thumbs.db").write_bytes(b"view")
    check_signature(signed, keys / "maker.pub")


def test_changed_weights_are_refused_with_a_manifest_to_match(signed: Path, keys: Path) -> None:
    _change_weights(signed)
    with pytest.raises(BundleError, match=r"Hash mismatch for .{1,2}manifest\.json"):
        check_signature(signed, keys / "maker.pub")


def _change_weights(bundle: Path) -> None:
    """Put other weights in a bundle, so that only the signature shows it."""
    weights = bytearray((bundle / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (bundle / "weights.safetensors").write_bytes(weights)
    manifest = read_manifest(bundle)
    manifest.files["weights.safetensors"] = Fingerprint.of(bytes(weights))
    (bundle / MANIFEST).write_bytes(manifest.to_bytes())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sbom.cdx.json", lambda path: path.write_text('{"components": []}')),
        ("sbom.cdx.json", lambda path: path.unlink()),
        ("report.html", lambda path: path.write_text("<script>alert(1)</script>")),
        (".gitattributes", lambda path: path.write_text("* filter=evil")),
        ("report.html", lambda path: path.mkdir()),
    ],
    ids=["other materials", "no materials", "a page", "git's", "a folder"],
)
def test_nothing_can_be_added_or_changed_next_to_the_bundle(
    signed: Path, keys: Path, name: str, change: Callable[[Path], object]
) -> None:
    change(signed / name)
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        check_signature(signed, keys / "maker.pub")


def test_a_signature_that_leaves_files_out_is_refused_though_its_key_is_right(
    signed: Path, keys: Path
) -> None:
    loose = hashing.Config().set_ignored_paths(paths=["model.sig", MANIFEST, "weights.safetensors"])
    signer = signing.Config().use_elliptic_key_signer(private_key=keys / "maker.pem")
    signer.set_hashing_config(loose).sign(signed, signed / "model.sig")
    _change_weights(signed)
    with pytest.raises(BundleError, match="does not cover"):
        check_signature(signed, keys / "maker.pub")


def _changed(name: str, value: str) -> Callable[[bytes], bytes]:
    """Return what replaces one string of a signature's JSON."""
    field = re.compile(rf'"{name}":\s*"[^"]*"')
    return lambda content: field.sub(
        lambda _: f'"{name}": {json.dumps(value)}', content.decode()
    ).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"[" * 90_000,
        lambda _: b"{" + b'"verificationMaterial": {}}',
        _changed("sig", ""),
        _changed("hint", "\x1b[31m\n"),
        _changed("mediaType", "text/html\nand more"),
    ],
)
def test_a_damaged_signature_is_refused_in_one_line(
    signed: Path,
    keys: Path,
    change: Callable[[bytes], bytes],
) -> None:
    file = signed / "model.sig"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BundleError) as caught:
        check_signature(signed, keys / "maker.pub")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_signature_without_a_hint_at_its_key_is_checked_all_the_same_and_silently(
    signed: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = signed / "model.sig"
    file.write_bytes(_changed("hint", "")(file.read_bytes()))
    check_signature(signed, keys / "maker.pub")
    with pytest.raises(BundleError, match="by somebody else"):
        check_signature(signed, keys / "stranger.pub")
    assert capsys.readouterr().out == ""


def test_a_key_that_cannot_be_used_is_named(signed: Path, keys: Path, tmp_path: Path) -> None:
    write_pair(tmp_path, "rsa", rsa.generate_private_key(65537, 2048))
    (tmp_path / "text.pub").write_text("hello")
    for name in ("rsa.pub", "text.pub", "missing.pub", "."):
        with pytest.raises(
            FileError, match=r"cannot be used as a public key .*\(.+\); make one"
        ) as caught:
            check_signature(signed, tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match="cannot be used as a public key"):
        check_signature(signed, keys / "maker.pem")
    with pytest.raises(FileError, match="cannot be used as a private key"):
        sign(signed, keys / "maker.pub")


def test_an_encrypted_key_takes_its_password_from_the_environment(
    signed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    write_pair(tmp_path, "locked", password=b"open sesame")
    words = ("sign", signed, "--key", tmp_path / "locked.pem")
    code, _, err = run(*words)
    assert (code, "is encrypted" in err) == (2, True)
    for password, code in (("open sesame", 0), ("wrong", 2)):
        monkeypatch.setenv("MNISTNET_KEY_PASSWORD", password)
        assert run(*words)[0] == code
    check_signature(signed, tmp_path / "locked.pub")


def test_what_is_not_whole_is_not_signed(signed: Path, keys: Path) -> None:
    (signed / "digit.onnx").write_bytes(b"")
    before = (signed / "model.sig").read_bytes()
    with pytest.raises(BundleError, match=r"digit\.onnx"):
        sign(signed, keys / "maker.pem")
    assert (signed / "model.sig").read_bytes() == before


def test_without_the_extra_the_way_to_install_it_is_named(
    signed: Path, keys: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)
    code, _, err = run("verify", signed, "--public-key", keys / "maker.pub")
    assert (code, "pip install 'mnistnet[deliver]'" in err) == (2, True)


@pytest.mark.usefixtures("clone")
def test_a_signed_release_is_pulled_and_can_be_checked_again(
    ada: Path, keys: Path, tmp_path: Path, run: Run
) -> None:
    sign(ada, keys / "maker.pem")
    publish(ada, gate=RecordingGate())
    out, key = tmp_path / "out", keys / "maker.pub"
    line = f"{out}: v1, verified, signed by the owner of {key}\n"
    assert run("pull", "-o", out, "--public-key", key) == (0, line, "")
    check_signature(out, key)


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("flaw", [": is not signed", "/model.sig: does not show"])
def test_without_the_right_signature_nothing_is_written_and_what_was_there_stays(
    flaw: str, ada: Path, bob: Path, keys: Path, tmp_path: Path, run: Run
) -> None:
    if flaw != ": is not signed":
        sign(ada, keys / "stranger.pem")
    publish(ada, gate=RecordingGate())
    (tmp_path / "outs").mkdir()
    out = bob.rename(tmp_path / "outs" / "b")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    for place in (out, out.with_name("new")):
        code, printed, err = run("pull", "-o", place, "--public-key", keys / "maker.pub")
        assert (code, printed) == (2, "")
        assert err.startswith(f"mnistnet: v1{flaw}")
    assert [place.name for place in out.parent.iterdir()] == ["b"]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
