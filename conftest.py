"""Loaded by every test run: a skipped test that tests/README.md does not list fails the run."""

pytest_plugins = ("tools.pytest_skips",)
