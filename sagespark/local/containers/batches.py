"""Blocks of rows cut as an algorithm wants them, or kept where they fit in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sagespark.codecs.matrix import Matrix
from sagespark.local.containers.channels import memory


def cut(blocks: Iterable[Matrix], size: int) -> Iterator[Matrix]:
    """Cut blocks into pieces of at most ``size`` rows; for sums, where pieces need not be equally large."""
    for block in blocks:
        for start in range(0, block.shape[0], size):
            yield block[start : start + size]


def gather_if_fits(blocks: Iterable[Matrix], available: int, copies: int) -> list[Matrix] | None:
    """Return all blocks where ``copies`` times their size is at most ``available`` bytes, else None."""
    kept: list[Matrix] = []
    size = 0
    for block in blocks:
        size += memory(block)
        if size * copies > available:
            return None
        kept.append(block)
    return kept
