"""The course's command: `python train.py` is `mnistnet train`."""

import sys

from mnistnet.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
