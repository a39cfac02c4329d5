"""The command line: ``sagespark local|ls|cleanup|doctor``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the console script's entry."""
    from sagespark.cli.app import run

    run()
