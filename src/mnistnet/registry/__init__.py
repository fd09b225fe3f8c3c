"""The registry of published models: a git branch with one commit a release."""
