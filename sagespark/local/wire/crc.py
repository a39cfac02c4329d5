"""CRCs that the standard library lacks, vectorised: CRC-32C and CRC-64/NVME; and the joining of any CRC.

A reflected CRC with a zero register is linear over GF(2), and appending a zero byte is a linear map ``Z`` of the
register. Writing ``crc(m)`` for the register after message ``m`` from zero:

    crc(a || b) = Z^len(b) crc(a) + crc(b)                                   (1)

So the CRCs of all 8-byte blocks are looked up at once, then joined pairwise by (1), level by level. A linear map is
kept as one table of 256 entries per byte of the register. Parameters are those of the catalogue of CRC algorithms
(``CRC-32/ISCSI``, ``CRC-64/NVME``).
"""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

BLOCK = 8
"""Bytes that are looked up at once."""
_MANY = 1 << 20
"""Bytes handled at a time, which keeps the temporaries in cache."""


class CrcAlgorithm:
    """Tables of one CRC.

    Parameters
    ----------
    width : int
        Bits of the register, 32 or 64.
    polynomial : int
        Reflected.
    """

    def __init__(self, width: int, polynomial: int) -> None:
        self.bytes = width // 8
        self.mask = (1 << width) - 1
        self._lock = threading.Lock()
        table = np.zeros(256, np.uint64)
        for byte in range(256):
            register = byte
            for _ in range(8):
                register = (register >> 1) ^ (polynomial if register & 1 else 0)
            table[byte] = register
        # Z, by byte i of the register: byte 0 is looked up, the others move down.
        one = np.zeros((self.bytes, 256), np.uint64)
        one[0] = table
        for i in range(1, self.bytes):
            one[i] = np.arange(256, dtype=np.uint64) << np.uint64(8 * (i - 1))
        self._powers = [one]
        rows = [table]
        for _ in range(BLOCK - 1):
            rows.append(self._apply(one, rows[-1]))
        self._block = np.stack(rows[::-1])

    def _apply(self, tables: Words, words: Words) -> Words:
        result: Words = tables[0].take((words & np.uint64(255)).astype(np.intp))
        for i in range(1, self.bytes):
            result ^= tables[i].take(((words >> np.uint64(8 * i)) & np.uint64(255)).astype(np.intp))
        return result

    def _power(self, k: int) -> Words:
        """Return ``Z`` to the power of 2^k."""
        with self._lock:
            while len(self._powers) <= k:
                last = self._powers[-1]
                self._powers.append(self._apply(last, last.ravel()).reshape(last.shape))
            return self._powers[k]

    def shift(self, register: int, count: int) -> int:
        """Return the register after ``count`` zero bytes."""
        word = np.array([register], np.uint64)
        k = 0
        while count:
            if count & 1:
                word = self._apply(self._power(k), word)
            count >>= 1
            k += 1
        return int(word[0])

    def plain(self, data: NDArray[np.uint8]) -> int:
        """Return the register after ``data`` from zero; zero bytes in front do not change it."""
        blocks = -(-data.size // BLOCK)
        if blocks * BLOCK != data.size:
            padded = np.zeros(blocks * BLOCK, np.uint8)
            padded[blocks * BLOCK - data.size :] = data
            data = padded
        rows = data.reshape(blocks, BLOCK)
        words = self._block[0].take(rows[:, 0])
        for j in range(1, BLOCK):
            words ^= self._block[j].take(rows[:, j])
        k = BLOCK.bit_length() - 1
        while words.size > 1:
            if words.size % 2:
                words = np.concatenate([np.zeros(1, np.uint64), words])
            words = self._apply(self._power(k), words[0::2]) ^ words[1::2]
            k += 1
        return int(words[0]) if words.size else 0

    def join(self, first: int, second: int, length: int) -> int:
        """Return the CRC of two messages from theirs; ``length`` is the second's, bytes."""
        return self.shift(first, length) ^ second


class Crc:
    """A running CRC with the interface of ``hashlib``'s objects."""

    def __init__(self, algorithm: CrcAlgorithm) -> None:
        self._algorithm = algorithm
        self._register = algorithm.mask

    def update(self, data: bytes | memoryview) -> None:
        """Take in more bytes."""
        array = np.frombuffer(data, np.uint8)
        for start in range(0, array.size, _MANY):
            piece = array[start : start + _MANY]
            self._register = self._algorithm.shift(self._register, piece.size) ^ self._algorithm.plain(piece)

    @property
    def value(self) -> int:
        """The CRC of all bytes so far."""
        return self._register ^ self._algorithm.mask

    def digest(self) -> bytes:
        """Return the CRC, most significant byte first."""
        return self.value.to_bytes(self._algorithm.bytes, "big")


@cache
def crc32() -> CrcAlgorithm:
    """Return CRC-32 as zlib has it; here to join only."""
    return CrcAlgorithm(32, 0xEDB88320)


@cache
def crc32c() -> CrcAlgorithm:
    """Return CRC-32C (Castagnoli)."""
    return CrcAlgorithm(32, 0x82F63B78)


@cache
def crc64nvme() -> CrcAlgorithm:
    """Return CRC-64/NVME."""
    return CrcAlgorithm(64, 0x9A6C9329AC4BC9B5)
