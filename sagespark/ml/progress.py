"""The progress display: a listener that keeps a line current, or writes one per change."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Literal, TextIO

from sagespark.ml.listeners import JobEvent, Listener

Display = Literal["auto", "bar", "lines", "off"]


class ProgressListener(Listener):
    """Show status, secondary status, elapsed time, metrics and the last log line.

    Parameters
    ----------
    display : {'auto', 'bar', 'lines', 'off'}
        ``bar`` is one line that is kept current (tqdm: terminal or notebook); ``lines`` writes one line for each change
        of status; ``auto`` takes the bar in a notebook or on a terminal, else lines.
    stream : file or None
        Where to write; None: standard error.
    """

    def __init__(self, display: Display = "auto", stream: TextIO | None = None) -> None:
        self._display = display
        self._stream = stream
        self._bars: dict[str, Any] = {}
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def wantsLog(self) -> bool:  # type: ignore[override]  # a property in place of the class attribute
        """Whether a bar is shown, which has room for the last log line."""
        return self._mode() == "bar"

    def onJobStarted(self, event: JobEvent) -> None:
        """Open the display."""
        self._show(event, lambda bar: bar.refresh(), f"{event.name}: created")

    def onStatus(self, event: JobEvent) -> None:
        """Write the new status."""
        # AWS repeats the secondary status as the status once a job has ended.
        words = dict.fromkeys(w for w in (event.status, event.secondaryStatus, event.message) if w)
        self._show(event, self._draw(event), f"{event.name}: {' - '.join(words)} ({event.elapsed:.0f} s)")

    def onPoll(self, event: JobEvent) -> None:
        """Keep elapsed time and the last log line current."""
        if event.logLines:
            self._lines[event.name] = event.logLines[-1]
        self._show(event, self._draw(event), None)

    def onMetrics(self, event: JobEvent) -> None:
        """Write the metrics."""
        text = ", ".join(f"{name}={value:g}" for name, value in event.metrics.items())
        self._show(event, self._draw(event), f"{event.name}: {text}")

    def onJobEnded(self, event: JobEvent) -> None:
        """Close the display."""
        self._show(event, self._draw(event), None)
        with self._lock:
            self._lines.pop(event.name, None)
            bar = self._bars.pop(event.name, None)
        if bar is not None:
            bar.close()

    def _mode(self) -> Display:
        if self._display != "auto":
            return self._display
        stream = self._stream or sys.stderr
        return "bar" if _in_notebook() or (stream is not None and stream.isatty()) else "lines"

    def _show(self, event: JobEvent, draw: Callable[[Any], None], line: str | None) -> None:
        mode = self._mode()
        if mode == "bar":
            draw(self._bar(event.name))
        elif mode == "lines" and line is not None:
            print(line, file=self._stream or sys.stderr, flush=True)

    def _bar(self, name: str) -> Any:
        with self._lock:
            if name not in self._bars:
                tqdm = _tqdm()
                layout = "{desc} [{elapsed}] {postfix}"
                self._bars[name] = tqdm(
                    desc=name, bar_format=layout, total=0, leave=True, file=self._stream, mininterval=0.1
                )
            return self._bars[name]

    def _draw(self, event: JobEvent) -> Callable[[Any], None]:
        parts = [f"{event.status} {event.secondaryStatus}".strip()]
        # Metrics of the algorithm tell more than its own progress counters, which come last in AWS's tables.
        parts += [f"{name}={value:g}" for name, value in list(event.metrics.items())[:3]]
        if self._lines.get(event.name):
            parts.append(self._lines[event.name][:60])

        def draw(bar: Any) -> None:
            bar.set_postfix_str(" | ".join(parts), refresh=True)

        return draw


def with_progress(listeners: Sequence[Listener]) -> tuple[Listener, ...]:
    """Return the listeners with a progress display, unless one is among them."""
    if any(isinstance(listener, ProgressListener) for listener in listeners):
        return tuple(listeners)
    return (*listeners, ProgressListener())


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _tqdm() -> Any:
    """Return tqdm's widget where widgets are installed, else its text bar, without the warning of `tqdm.auto`."""
    if _in_notebook() and find_spec("ipywidgets") is None:
        from tqdm.std import tqdm
    else:
        from tqdm.auto import tqdm
    return tqdm
