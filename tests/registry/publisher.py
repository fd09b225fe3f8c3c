"""`python publisher.py REMOTE BUNDLE [MEETING N]`: publish as a process of its own.

With a meeting, a folder, it waits before its first push until N publishers are there, so that the
gates of all of them have decided against the same champion.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from releases import RecordingGate

from mnistnet.errors import MnistNetError
from mnistnet.registry.publish import publish


def meet(line: str) -> None:
    if line.startswith("pushing") and len(gate.champions) == 1 and len(sys.argv) > 3:
        meeting = Path(sys.argv[3])
        (meeting / Path(sys.argv[2]).name).touch()
        while len(list(meeting.iterdir())) < int(sys.argv[4]):
            time.sleep(0.01)


gate = RecordingGate()
try:
    done = publish(Path(sys.argv[2]), remote=sys.argv[1], gate=gate, log=meet)
except MnistNetError as error:
    sys.exit(str(error))
print(done.outcome, done.version)
