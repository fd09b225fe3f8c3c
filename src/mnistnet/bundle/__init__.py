"""The bundle: one folder with everything that reads digits, as docs/BUNDLE.md lays it down."""
