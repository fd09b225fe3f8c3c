"""`python -m mnistnet` is `mnistnet`."""

from mnistnet.cli import main

if __name__ == "__main__":
    main()
