"""`mnistnet sign --keyless`, `verify` and `pull --identity`: signatures that name a workflow.

The library, its client of Sigstore and all of their checks are real. own_sigstore.py stands in for
the public servers of Sigstore and GitHub; only the keys to trust are replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from git_server import running
from own_sigstore import OwnSigstore
from releases import Run
from sigstore.models import ClientTrustConfig

from mnistnet.registry.signature import GITHUB, sign

WORKFLOW = "https://github.com/ada/digits/.github/workflows/release.yml@refs/heads/main"
AMBIENT = ("GITHUB_ACTIONS", "BUILDKITE", "GITLAB_CI", "CIRCLECI")


@pytest.fixture(autouse=True)
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """No host names the workflow, wherever the tests run."""
    for name in (*AMBIENT, "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sigstore(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnSigstore]:
    """A Sigstore that the library takes for the public one, and a workflow that it knows."""
    with running(OwnSigstore()) as server:
        config = ClientTrustConfig.from_json(server.trust_config())
        monkeypatch.setattr(ClientTrustConfig, "production", lambda: config)
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", server.url("token?api-version=2.0"))
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of this test")
        yield server


@pytest.mark.usefixtures("sigstore")
def test_a_workflow_signs_and_its_name_is_checked(ada: Path, run: Run) -> None:
    (ada / "model.sig").write_bytes(b"an older one")
    assert run("sign", ada, "--keyless") == (0, f"Signature: {ada / 'model.sig'}\n", "")
    code, out, err = run("verify", ada, "--identity", WORKFLOW)
    assert (code, err) == (0, "")
    assert out.startswith(f"{ada}: signed by {WORKFLOW}\n")
    given = ("--identity", WORKFLOW, "--identity-provider", GITHUB)
    assert run("verify", ada, *given)[0] == 0


@pytest.mark.usefixtures("sigstore")
@pytest.mark.parametrize(
    ("identity", "provider"),
    [
        (WORKFLOW.replace("ada", "eve"), GITHUB),
        (WORKFLOW[:-1], GITHUB),
        (WORKFLOW, "https://eve.example"),
    ],
)
def test_another_name_or_provider_is_refused(
    ada: Path, run: Run, identity: str, provider: str
) -> None:
    run("sign", ada, "--keyless")
    code, out, err = run("verify", ada, "--identity", identity, "--identity-provider", provider)
    assert (code, out) == (2, "")
    assert f"does not show that {identity} made this bundle (Certificate" in err


@pytest.mark.usefixtures("sigstore")
def test_a_signature_with_a_key_is_refused_in_one_line(ada: Path, keys: Path, run: Run) -> None:
    sign(ada, keys / "maker.pem")
    code, _, err = run("verify", ada, "--identity", WORKFLOW)
    assert code == 2
    assert f"does not show that {WORKFLOW}" in err


@pytest.mark.parametrize("on_github", [False, True], ids=["nowhere", "without permission"])
def test_without_a_host_nothing_is_signed_and_no_browser_is_opened(
    on_github: bool, ada: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if on_github:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setattr("webbrowser.open", None)
    code, out, err = run("sign", ada, "--keyless")
    assert (code, out) == (2, "")
    assert err.startswith(f"mnistnet: {ada}: no identity token is available here; ")
    assert "id-token: write" in err
    line = f"{ada}: not signed; no identity token is available here\n"
    assert run("sign", ada, "--keyless", "--if-possible") == (0, line, "")
    assert not (ada / "model.sig").exists()


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        ("/token", "the host's identity token cannot be obtained (GitHub: OIDC token request"),
        ("all, by its address", "the host's identity token cannot be obtained ("),
        ("/signingCert", "Sigstore did not sign it ("),
        ("/entries", "Sigstore did not sign it ("),
    ],
)
def test_a_failure_of_the_host_or_of_sigstore_is_an_error_even_with_if_possible(
    ada: Path,
    sigstore: OwnSigstore,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    refuses: str,
    words: str,
) -> None:
    if refuses == "all, by its address":
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://[")
    (ada / "model.sig").write_bytes(b"as it was")
    sigstore.refuses = refuses
    code, out, err = run("sign", ada, "--keyless", "--if-possible")
    assert (code, out) == (2, "")
    assert words in err
    assert (ada / "model.sig").read_bytes() == b"as it was"


def test_without_the_network_an_identity_cannot_be_checked(
    ada: Path, sigstore: OwnSigstore, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("sign", ada, "--keyless")
    monkeypatch.undo()
    for name in ("user_data_dir", "user_cache_dir"):
        monkeypatch.setattr(f"platformdirs.{name}", lambda *_: str(tmp_path))
    monkeypatch.setattr("sigstore.models.DEFAULT_TUF_URL", sigstore.url("tuf"))
    code, out, err = run("verify", ada, "--identity", WORKFLOW)
    assert (code, out) == (2, "")
    assert "Sigstore's keys cannot be fetched (" in err
