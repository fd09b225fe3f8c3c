"""A bundle may be anybody's, with hashes that are right: it is refused in one line, and soon.

Whatever its files hold, no verb ends in a traceback, runs on, takes much memory, or lets the
files' own text steer the terminal.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile_graphs import (
    DIGIT,
    GROWING,
    STEER,
    Change,
    below_zero,
    changed,
    cut,
    endless,
    fails_beyond,
    gelu,
    last_bias,
    renamed,
    slow,
    slow_constants,
)
from PIL import Image
from releases import PEAK_BYTES, Python, Run, seal

from mnistnet.bundle import runtime
from mnistnet.bundle.graph_file import OPERATORS
from mnistnet.bundle.verify import verify
from mnistnet.errors import BundleError
from mnistnet.inference.predictor import DEFAULT_BUNDLE, Predictor

CARD = (DEFAULT_BUNDLE / "README.md").read_bytes()
REPORT = (DEFAULT_BUNDLE / "report.json").read_bytes()
PAGE = (Path(__file__).parents[2] / "docs" / "BUNDLE.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "blank.png"
    Image.fromarray(np.full((40, 30), 255, np.uint8)).save(path)
    return path


def put(bundle: Path, name: str, content: bytes) -> Path:
    (bundle / name).write_bytes(content)
    return seal(bundle)


@pytest.mark.parametrize("kind", DIGIT)
def test_a_hostile_digit_onnx_is_refused_by_verify_in_one_line(
    bundle: Path, kind: str, run: Run
) -> None:
    content, words = DIGIT[kind]
    put(bundle, "digit.onnx", content)
    assert run("verify", bundle)[:2] == (2, "")
    with pytest.raises(BundleError, match=f"digit.onnx: .*({words})"):
        verify(bundle)


@pytest.mark.parametrize("kind", ["Loop", "an outer product"])
def test_a_hostile_digit_onnx_is_refused_by_eval_and_gate(
    bundle: Path, kind: str, tiny: Path, run: Run
) -> None:
    refused_by_eval_and_gate(put(bundle, "digit.onnx", DIGIT[kind][0]), tiny, run)
    assert run("gate", DEFAULT_BUNDLE, "--champion", bundle, "--data", tiny)[0] == 2


def test_a_graph_that_fails_beyond_fifty_images_is_refused_by_whoever_has_more(
    bundle: Path, tiny: Path, run: Run
) -> None:
    put(bundle, "digit.onnx", fails_beyond(50))
    assert run("verify", bundle)[0] == 0
    refused_by_eval_and_gate(bundle, tiny, run)


def refused_by_eval_and_gate(bundle: Path, tiny: Path, run: Run) -> None:
    words = ("eval", bundle, "--quick", "--data", tiny, "-o", bundle.parent / "report")
    assert run(*words)[:2] == (2, "")
    code, out, err = run("gate", bundle, "--data", tiny)
    assert (code, err) == (1, "")
    assert out.count("REFUSED") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (gelu("Loop"), "has an operator that the format does not: 'Loop'"),
        (last_bias(b"\xff" * 40), "returns probabilities that are none"),
        (renamed("seen", STEER), "has other inputs or outputs"),
        (cut, "returns seen of another shape"),
        (below_zero, "returns a negative hypothesis"),
    ],
    ids=["Loop", "NaN", "other names", "another shape", "a negative index"],
)
def test_a_hostile_picture_onnx_is_refused_by_predict(
    bundle: Path, picture: Path, change: Change, words: str, run: Run
) -> None:
    put(bundle, "picture.onnx", changed(change, name="picture.onnx"))
    for options in ([], ["--json"]):
        code, out, err = run("predict", picture, "--bundle", bundle, *options)
        assert (code, out) == (2, "")
        assert f"picture.onnx: {words}" in err.replace("is no graph of the format, it ", "")


@pytest.mark.parametrize("make", [slow, slow_constants])
def test_a_graph_that_runs_too_long_is_stopped(
    bundle: Path, make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "MAX_RUN_S", 0.1)
    put(bundle, "digit.onnx", make())
    with pytest.raises(BundleError, match=r"cannot be run .*takes more than 0\.1 s"):
        Predictor(bundle).classify(np.zeros((20, 28, 28), np.uint8))


def test_an_operator_without_end_holds_neither_verify_nor_the_process(
    bundle: Path, python: Python
) -> None:
    put(bundle, "digit.onnx", endless())
    words = "from mnistnet.bundle import runtime; runtime.MAX_RUN_S = 0.3"
    done = python(f"{words}\nfrom mnistnet.cli import main; main(['verify', {str(bundle)!r}])")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"mnistnet: .*digit.onnx: .*takes more than 0\.3 s.*\n", done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal reaches one thread alone there")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_operator_without_end_does_not_hold_ctrl_c(
    bundle: Path, python: Python, threads: int
) -> None:
    put(bundle, "digit.onnx", endless())
    words = """if True:
        import signal, sys, threading, numpy, mnistnet
        from mnistnet.bundle import runtime
        from mnistnet.inference.predictor import threads_for
        runtime.MAX_RUN_S = 3600
        predictor = mnistnet.Predictor(sys.argv[1])
        predictor.classify(numpy.zeros((0, 28, 28), numpy.uint8))  # loads the graph, runs nothing
        main = threading.main_thread().ident
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        images = [numpy.zeros((1, 28, 28), numpy.uint8)] * int(sys.argv[2])
        if len(images) == 1:
            predictor.classify(images[0])
        with threads_for(predictor) as pool:
            list(pool.map(predictor.classify, images))
    """
    done = python(words, bundle, threads)
    assert done.stderr.endswith("\nKeyboardInterrupt\n")


def test_graphs_run_in_a_forked_process_too(python: Python) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked here")
    words = """if True:
        import os, numpy, mnistnet
        predictor, blank = mnistnet.Predictor(), numpy.full((9, 9), 255, numpy.uint8)
        predictor.predict(blank)
        if not (child := os.fork()):
            predictor.predict(blank)
            os._exit(7)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert python(words).returncode == 7


def test_verify_gives_each_graph_so_much_time_for_all_vectors(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    monkeypatch.setattr("mnistnet.bundle.verify.BUDGET_S", 0)
    code, _, err = run("verify", bundle)
    assert code == 2
    assert "takes too long" in err


@pytest.mark.skipif(sys.platform == "win32", reason="no peak of the memory is known there")
def test_a_graph_that_wants_more_memory_than_a_run_may_take_does_not_get_it(
    bundle: Path, python: Python
) -> None:
    put(bundle, "digit.onnx", GROWING)
    words = "from mnistnet.cli import main\ntry: main(['verify', sys.argv[1]])\nfinally: "
    done = python(f"{PEAK_BYTES}{words}print(peak_bytes())", bundle)
    assert done.returncode == 2
    assert int(done.stdout) < (os.cpu_count() or 1) * runtime.MAX_RUN_BYTES + 200 * 2**20


def test_every_core_can_read_the_largest_picture_at_once() -> None:
    large = np.full((4000, 3000), 255, np.uint8)
    large[1000:3000, 1400:1600] = 0
    shared = Predictor()
    n = 1 + (os.cpu_count() or 1)
    with ThreadPoolExecutor(n) as pool:
        assert [p.digit for p in pool.map(shared.predict, [large] * n)] == [1] * n


def test_the_operators_of_the_format_page_are_those_allowed_and_those_shipped() -> None:
    (listed,) = re.findall(r"no operators but these:\n\n(.*?)\n\n", PAGE, re.DOTALL)
    names = {name.strip("`") for name in listed.replace(",", "").split()}
    graphs = [onnx.load(DEFAULT_BUNDLE / name).graph for name in ("digit.onnx", "picture.onnx")]
    shipped = {n.op_type for graph in graphs for n in graph.node}
    assert names == shipped == {name.decode() for name in OPERATORS}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("README.md", b"", "has not the line of the manifest's accuracy"),
        ("README.md", CARD.replace(b"99.42%", b"99.99%"), "has not the line"),
        ("README.md", b"\x89PNG", "no printable UTF-8"),
        ("README.md", b"\xef\xbb\xbf", "no printable UTF-8"),
        ("README.md", b"\x1b[31mred", "no printable UTF-8"),
        ("report.json", b"garbage", "not valid JSON"),
        ("report.json", b"{}", "has no 'format'"),
        ("report.json", b'{"format": 2}', "has no 'accuracy'"),
        ("report.json", REPORT.replace(b'"mistakes"', b'"m"'), "has no 'mistakes'"),
        ("report.json", REPORT.replace(b"9942", b"9999"), "has other figures than the manifest"),
        ("report.json", REPORT.replace(b'"value": 0.9942', b'"value": "all"'), "has no 'value' of"),
        ("report.json", b"[]", "has no 'format'"),
        ("report.json", b'{"format": 1}', "is not of format 2"),
        ("report.json", b'{"format": 2, "n": ' + b"9" * 400 + b"}", "too large a number"),
        ("vectors.json", b'{"images": ' + b"9" * 400 + b".0}", "not a finite number"),
        ("vectors.json", b'\xef\xbb\xbf{"images": []}', "BOM"),
    ],
)
def test_documents_without_content_are_refused(
    bundle: Path, name: str, content: bytes, words: str, run: Run
) -> None:
    code, out, err = run("verify", put(bundle, name, content))
    assert (code, out) == (2, "")
    assert re.search(f"{name}: .*{words}", err)


def test_a_file_s_name_that_would_steer_the_terminal_is_shown_harmless(
    bundle: Path, tiny: Path, run: Run
) -> None:
    (bundle / "\x1b[31mred").touch()
    for words in (["verify", bundle], ["gate", bundle, "--data", tiny]):
        code, out, err = run(*words)
        assert code in (1, 2)
        assert "?[31mred: does not belong" in out + err
        assert "\x1b" not in out + err
