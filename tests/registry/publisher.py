"""`python publisher.py REMOTE BUNDLE [MEETING N]`: publish as a process of its own.

With a meeting, a folder, the gate waits at its first decision until N publishers are there, so
that all of them decide against the same champion.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from releases import RecordingGate

from mnistnet.errors import MnistNetError
from mnistnet.registry.publish import publish

if TYPE_CHECKING:
    from mnistnet.gate.verdict import Verdict


class MeetingGate(RecordingGate):
    def __call__(self, candidate: Path, champion: Path | None, *, best: Path | None) -> Verdict:
        verdict = super().__call__(candidate, champion, best=best)
        if len(self.champions) == 1 and len(sys.argv) > 3:
            meeting = Path(sys.argv[3])
            (meeting / Path(sys.argv[2]).name).touch()
            while len(list(meeting.iterdir())) < int(sys.argv[4]):
                time.sleep(0.01)
        return verdict


try:
    done = publish(Path(sys.argv[2]), remote=sys.argv[1], gate=MeetingGate())
except MnistNetError as error:
    sys.exit(str(error))
print(done.outcome, done.version)
