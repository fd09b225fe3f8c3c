"""`mnistnet pull --public-key`: only what the key's owner signed takes a folder's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from releases import RecordingGate, seal

from mnistnet.cli import main
from mnistnet.registry.publish import publish
from mnistnet.registry.signature import check_signature, sign

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("clone")


def _pull(out: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["pull", "-o", str(out), "--public-key", str(key)])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_what_was_signed_and_published_is_pulled_and_can_be_checked_again(
    ada: Path, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(ada, keys / "maker.pem")
    publish(ada, gate=RecordingGate())
    out, key = tmp_path / "out", keys / "maker.pub"
    line = f"{out}: v1, verified, signed by the owner of {key}\n"
    assert _pull(out, key, capsys) == (0, line, "")
    check_signature(out, key)


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("unsigned", "v1: is not signed"),
        ("a stranger's", "was made by somebody else, or the bundle changed since"),
        ("another bundle's", "model.sig: does not show"),
        ("garbage", "model.sig: does not show"),
    ],
)
def test_without_the_right_signature_nothing_is_left_and_what_was_there_stays(
    flaw: str,
    message: str,
    ada: Path,
    bob: Path,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if flaw != "unsigned":
        sign(ada, keys / ("stranger.pem" if flaw == "a stranger's" else "maker.pem"))
    if flaw == "another bundle's":
        (ada / "README.md").write_text("# ada, changed\n", encoding="utf-8")
        seal(ada)
    if flaw == "garbage":
        (ada / "model.sig").write_bytes(b"?")
    publish(ada, gate=RecordingGate())
    (tmp_path / "outs").mkdir()
    out = bob.rename(tmp_path / "outs" / "b")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    for place in (out, out.with_name("new")):
        code, told, err = _pull(place, keys / "maker.pub", capsys)
        assert (code, told, err.count("\n")) == (2, "", 1)
        assert message in err
        assert "v1" in err
    assert [place.name for place in out.parent.iterdir()] == ["b"]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
