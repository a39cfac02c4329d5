"""Delete what garbage collection says nobody needs any more, outside the garbage collector.

A finalizer may run in any thread, with any lock held: calling AWS from it could wait for a lock that its own thread
holds. It therefore only puts the work into a queue (``SimpleQueue.put`` is made for that); one thread does it, and the
end of the process waits for what is queued.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import warnings
from collections.abc import Callable

Work = Callable[[], None]

_queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def start() -> None:
    """Start the thread, unless it runs. Called where a finalizer is registered, never inside one."""
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, name="sagespark-reaper", daemon=True)
            _thread.start()
            atexit.register(_finish)


def put(work: Work) -> None:
    """Queue work; safe inside a finalizer."""
    _queue.put(work)


def drain() -> None:
    """Return once everything that was queued before is done."""
    if _thread is None or not _thread.is_alive():
        return
    done = threading.Event()
    _queue.put(done.set)
    done.wait()


def _run() -> None:
    while (work := _queue.get()) is not None:
        try:
            work()
        except Exception as error:
            warnings.warn(f"what a dropped model created could not be deleted: {error}", RuntimeWarning, stacklevel=1)


def _finish() -> None:
    atexit.unregister(_finish)
    if _thread is not None and _thread.is_alive():
        _queue.put(None)
        _thread.join()


def _renew() -> None:
    # A forked child has neither the thread nor the parent's work.
    global _queue, _lock, _thread
    _queue, _lock, _thread = queue.SimpleQueue(), threading.Lock(), None
    atexit.unregister(_finish)


os.register_at_fork(after_in_child=_renew)
