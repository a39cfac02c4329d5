from __future__ import annotations

import subprocess
import sys
import warnings

from sagespark.ml import reaper


def test_work_is_done_in_order_and_failures_are_warnings() -> None:
    done: list[int] = []
    reaper.start()

    def fail() -> None:
        raise RuntimeError("no")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reaper.put(lambda: done.append(1))
        reaper.put(fail)
        reaper.put(lambda: done.append(2))
        reaper.drain()
    assert done == [1, 2]
    assert any("could not be deleted: no" in str(w.message) for w in caught)


def test_drain_without_a_thread_returns() -> None:
    code = "from sagespark.ml import reaper; reaper.drain()"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_end_of_the_process_waits_for_what_is_queued() -> None:
    code = (
        "import time\n"
        "from sagespark.ml import reaper\n"
        "reaper.start()\n"
        "reaper.put(lambda: (time.sleep(0.3), print('done', flush=True)))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout.strip()) == (0, "done")


def test_a_forked_child_starts_afresh() -> None:
    code = (
        "import os\n"
        "from sagespark.ml import reaper\n"
        "reaper.start()\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    reaper.start(); reaper.put(lambda: print('child', flush=True)); reaper.drain(); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout.strip()) == (0, "child"), answer.stderr
