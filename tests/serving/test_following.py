"""`mnistnet serve --registry … --follow` changes models without dropping a request."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Thread

import numpy as np
import onnx
import pytest
from git_server import GitServer, running
from releases import (
    RecordingGate,
    Run,
    configure_git,
    git,
    make_bundle,
    replace_champion,
    write_pair,
)
from test_serve import png, serving

from mnistnet import Predictor
from mnistnet.registry.publish import publish
from mnistnet.registry.signature import sign

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """Serves an empty `registry.git` over HTTP."""
    configure_git(tmp_path, monkeypatch)
    (tmp_path / "git").mkdir()
    git(tmp_path / "git", "init", "--quiet", "--bare", "registry.git")
    with running(GitServer(tmp_path / "git")) as server:
        yield server


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    return make_bundle(tmp_path, "ada")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    """A bundle that answers otherwise: it takes every 4 for a 9, and the other way round."""
    from sabotage import store_answers, swap_digits

    bundle = make_bundle(tmp_path, "bob", correct=9910)
    for name in ("digit.onnx", "picture.onnx"):
        model = onnx.load(bundle / name)
        swap_digits(model.graph, a=4, b=9)
        (bundle / name).write_bytes(model.SerializeToString())
    return store_answers(bundle)


def release(bundle: Path, server: GitServer, **options: bool) -> None:
    url = server.url("registry.git")
    assert publish(bundle, gate=RecordingGate(), remote=url, **options).outcome == "published"


def ask(address: str, picture: bytes) -> list[float]:
    """Return the probabilities that the service answers, to six decimals."""
    with urllib.request.urlopen(f"{address}/predict", picture, timeout=60) as answer:
        return json.load(answer)["probabilities"]


def expected(bundle: Path, picture: bytes) -> list[float]:
    return [round(p, 6) for p in Predictor(bundle).predict(picture).probabilities.tolist()]


def version(address: str) -> str:
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        return json.load(answer)["version"]


def looks(address: str, outcome: str) -> float:
    """How many looks at the registry ended so, by the metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
        found = re.search(
            rf'^mnistnet_registry_looks_total{{outcome="{outcome}"}} (.+)$',
            answer.read().decode(),
            re.M,
        )
    return float(found[1]) if found else 0.0


def wait_for(condition: object, limit_s: float = 60) -> None:
    until = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.05)


class Logged:
    """What the service has logged so far."""

    def __init__(self, capture: Capture) -> None:
        self._capture, self.text = capture, ""

    def has(self, text: str) -> bool:
        self.text += self._capture.readouterr().err
        return text in self.text


@pytest.mark.slow
def test_requests_go_on_while_the_model_changes_and_one_model_answers_each(
    server: GitServer, ada: Path, bob: Path, images: np.ndarray
) -> None:
    release(ada, server)
    picture = png(images[4])
    first, second = expected(ada, picture), expected(bob, picture)
    assert first != second
    answers: list[list[list[float]]] = [[], [], []]
    failed: list[Exception] = []
    done = Event()

    def stream(found: list[list[float]]) -> None:
        while not done.is_set():
            try:
                found.append(ask(address, picture))
            except Exception as error:
                failed.append(error)
                return

    with serving("--registry", server.url("registry.git"), "--follow", 0.2) as (_, address):
        assert version(address) == "v1"
        threads = [Thread(target=stream, args=(found,)) for found in answers]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(answers) or failed)
        release(bob, server)
        wait_for(lambda: failed or all(found[-1] == second for found in answers))
        done.set()
        for thread in threads:
            thread.join()
        assert not failed
        assert version(address) == "v2"
    for found in answers:
        changed = found.index(second)
        assert changed > 0
        assert found == [first] * changed + [second] * (len(found) - changed)


@pytest.mark.slow
def test_a_damaged_champion_is_refused_aloud_and_the_next_one_is_served(
    server: GitServer, ada: Path, bob: Path, images: np.ndarray, capfd: Capture
) -> None:
    release(ada, server)
    registry, logged = server.folder / "registry.git", Logged(capfd)
    with serving("--registry", server.url("registry.git"), "--follow", 0.2) as (_, address):
        before = ask(address, png(images[4]))
        release(bob, server)
        wait_for(lambda: version(address) == "v2")
        message = git(registry, "log", "-1", "--format=%B", "models")
        replace_champion(registry, git(registry, "rev-parse", "models~1^{tree}"), message, 2)
        wait_for(lambda: logged.has("v2 does not hold the bundle that its commit names"))
        assert version(address) == "v2"
        assert ask(address, png(images[4])) != before
        assert publish(
            make_bundle(ada.parent, "cleo"),
            gate=RecordingGate(), remote=server.url("registry.git"), ignore_damaged=True,
        ).version == 3  # fmt: skip
        wait_for(lambda: version(address) == "v3")
        assert ask(address, png(images[4])) == before
        wait_for(lambda: looks(address, "changed") == 2)
        assert looks(address, "refused") == 1
    assert logged.text.count("refused") == 1  # once, however often it looks


@pytest.mark.slow
def test_while_the_registry_cannot_be_read_the_service_goes_on_and_then_follows(
    server: GitServer, ada: Path, bob: Path, capfd: Capture
) -> None:
    release(ada, server)
    logged = Logged(capfd)
    with serving("--registry", server.url("registry.git"), "--follow", 0.2) as (_, address):
        release(bob, server)
        server.failures["GET read"] = [404] * 1000
        wait_for(lambda: logged.has("registry.git: cannot be read"))
        server.failures.clear()
        wait_for(lambda: looks(address, "failed"))
        wait_for(lambda: version(address) == "v2")


@pytest.mark.slow
def test_a_champion_that_another_signed_is_refused(
    server: GitServer, ada: Path, bob: Path, tmp_path: Path, capfd: Capture, run: Run
) -> None:
    for name in ("maker", "stranger"):
        write_pair(tmp_path, name)
    sign(ada, tmp_path / "maker.pem")
    release(ada, server)
    registry = ("--registry", server.url("registry.git"), "--public-key")
    code, _, err = run("serve", *registry, tmp_path / "stranger.pub", "--port", 0)
    assert code == 2
    assert "does not show that the owner of" in err
    logged = Logged(capfd)
    with serving(*registry, tmp_path / "maker.pub", "--follow", 0.2) as (_, address):
        sign(bob, tmp_path / "stranger.pem")
        release(bob, server)
        wait_for(lambda: logged.has("does not show that the owner of"))
        assert version(address) == "v1"
        sign(bob, tmp_path / "maker.pem")
        cleo = make_bundle(tmp_path, "cleo")
        sign(cleo, tmp_path / "maker.pem")
        release(cleo, server)
        wait_for(lambda: version(address) == "v3")


def test_what_cannot_be_fetched_at_the_start_is_one_line(
    server: GitServer, tmp_path: Path, run: Run
) -> None:
    serve = partial(run, "serve", "--port", 0)
    code, _, err = serve("--registry", server.url("registry.git"))
    assert code == 2
    assert "has no releases yet" in err
    code, _, err = serve("--registry", "http://127.0.0.1:1/no.git")
    assert code == 2
    assert "no.git: cannot be read" in err
    code, _, err = serve("--registry", tmp_path, "--bundle", tmp_path)
    assert code == 2
    assert "--bundle and --registry" in err
    code, _, err = serve("--follow")
    assert code == 2
    assert "go with --registry" in err
