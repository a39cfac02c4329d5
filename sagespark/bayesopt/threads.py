"""One BLAS thread while a suggestion is computed.

The matrices here have a few hundred rows: more threads cost ten times more than they save, and the order in which they
add up makes results differ in the last bit. The libraries are those that the process has loaded already; each is asked
through the one C function that it exports for this.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import scipy

_NAMES = ("openblas", "mkl_rt", "blis")
# (set, get) of OpenBLAS as numpy's and scipy's wheels name it, of plain OpenBLAS, of MKL and of BLIS.
_FUNCTIONS = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("bli_thread_set_num_threads", "bli_thread_get_num_threads"),
)
_lock = threading.Lock()
_inside = 0
_before: list[int] = []


def _libraries() -> list[Path]:
    """Return the BLAS libraries that this process may have loaded."""
    found = set()
    maps = Path("/proc/self/maps")
    if maps.exists():
        for line in maps.read_text().splitlines():
            path = line.split(maxsplit=5)[-1]
            if path.startswith("/") and any(name in Path(path).name for name in _NAMES):
                found.add(Path(path))
    else:
        for package in (np, scipy):
            root = Path(str(package.__file__)).parent
            for folder in (root.parent / f"{root.name}.libs", root / ".dylibs"):
                found.update(p for p in folder.glob("*") if any(name in p.name for name in _NAMES))
    return sorted(found)


@cache
def _controls() -> tuple[tuple[Callable[[int], None], Callable[[], int]], ...]:
    import scipy.linalg  # noqa: F401 -- loads scipy's BLAS, so that it is among the libraries

    controls = []
    for path in _libraries():
        try:
            library = ctypes.CDLL(str(path))
        except OSError:
            continue  # a file of that name that is no library for this process
        for setter, getter in _FUNCTIONS:
            if hasattr(library, setter) and hasattr(library, getter):
                controls.append((getattr(library, setter), getattr(library, getter)))
                break
    return tuple(controls)


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS at one thread for the process; nested and concurrent uses restore the number once, at the last end."""
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = [get() for _, get in _controls()]
            for set_, _ in _controls():
                set_(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                for (set_, _), n in zip(_controls(), _before, strict=True):
                    set_(n)
