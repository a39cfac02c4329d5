"""Events of a job, in order; listeners that fail fail nothing; the progress display."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sagespark.aws.session import SageMakerSession
from sagespark.aws.training_job import TrainingJob
from sagespark.ml import listeners, progress
from sagespark.ml.clustering import KMeans
from sagespark.ml.listeners import JobEvent, Listener, Watch, tell
from sagespark.ml.progress import ProgressListener, with_progress
from support.scripted import Script, error


class Recorder(Listener):
    def __init__(self) -> None:
        self.heard: list[tuple[str, JobEvent]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on"):
            return lambda event: self.heard.append((name, event))
        return super().__getattribute__(name)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.heard]


def described(status: str, secondary: str, message: str = "", **metrics: float) -> dict[str, Any]:
    return {
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": [{"Status": secondary, "StatusMessage": message}],
        "FinalMetricDataList": [{"MetricName": k.replace("_", ":"), "Value": v} for k, v in metrics.items()],
    }


def watch(session: SageMakerSession, *listeners: Listener) -> Watch:
    return Watch(
        TrainingJob(session, "job"), listeners, session.clock, stage="KMeans_1", request={"a": 1}, params={"k": 2}
    )


def test_events_come_in_order_and_only_for_changes(aws: SageMakerSession, clock: Any) -> None:
    recorder = Recorder()
    seen = watch(aws, recorder)
    seen.started()
    seen.update(described("InProgress", "Starting", "waiting"))
    clock.advance(3)
    seen.update(described("InProgress", "Starting", "waiting"))
    seen.update(described("InProgress", "Training", "training", train_msd=2.5))
    seen.update(described("Completed", "Completed", "", train_msd=1.5))
    seen.ended()
    assert recorder.names == [
        "onJobStarted",
        "onStatus", "onPoll",
        "onPoll",
        "onStatus", "onMetrics", "onPoll",
        "onStatus", "onMetrics", "onPoll",
        "onJobEnded",
    ]  # fmt: skip
    first, last = recorder.heard[0][1], recorder.heard[-1][1]
    assert (first.kind, first.name, first.stage, first.request, first.params) == (
        "TrainingJob", "job", "KMeans_1", {"a": 1}, {"k": 2}
    )  # fmt: skip
    assert (last.status, last.metrics, last.elapsed, last.error) == ("Completed", {"train:msd": 1.5}, 3.0, None)
    assert recorder.heard[3][1].elapsed == 3.0
    assert recorder.heard[1][1].message == "waiting"


def test_the_end_carries_what_ended_it(aws: SageMakerSession) -> None:
    recorder = Recorder()
    failure = RuntimeError("no")
    watch(aws, recorder).ended(failure)
    assert recorder.heard[0][1].error is failure


def test_a_listener_that_fails_is_a_warning_and_the_others_hear() -> None:
    class Broken(Listener):
        def onStatus(self, event: JobEvent) -> None:
            raise RuntimeError("broken")

    recorder = Recorder()
    with pytest.warns(RuntimeWarning, match="Broken.onStatus failed and is ignored: RuntimeError: broken"):
        tell([Broken(), recorder], "onStatus", JobEvent("TrainingJob", "job"))
    assert recorder.names == ["onStatus"]


def test_log_lines_are_read_only_where_wanted(aws: SageMakerSession, script: Script) -> None:
    class Wants(Recorder):
        wantsLog = True

    watch(aws, Recorder()).update(described("InProgress", "Training"))
    assert script.sent == []
    wants = Wants()
    script.always["DescribeLogStreams"] = {"logStreams": [{"logStreamName": "job/algo-1"}]}
    pages = [
        {"events": [{"timestamp": 1, "message": "one"}, {"timestamp": 2, "message": "two"}], "nextForwardToken": "f/1"},
        {"events": [], "nextForwardToken": "f/1"},
    ]
    script.always["GetLogEvents"] = lambda sent: pages.pop(0)
    watch(aws, wants).update(described("InProgress", "Training"))
    assert wants.heard[-1][1].logLines == ("one", "two")
    assert json.loads(script.sent[1].body)["logStreamName"] == "job/algo-1"


def test_a_log_that_may_not_be_read_is_said_once(aws: SageMakerSession, script: Script) -> None:
    class Wants(Recorder):
        wantsLog = True

    script.always["DescribeLogStreams"] = error("AccessDeniedException", "no logs for you")
    seen = watch(aws, Wants())
    with pytest.warns(RuntimeWarning, match="log cannot be read and is not shown: .*no logs for you"):
        seen.update(described("InProgress", "Training"))
    seen.update(described("InProgress", "Training"))
    assert len(script.sent) == 1


def test_lines_are_written_per_change(aws: SageMakerSession, clock: Any) -> None:
    stream = io.StringIO()
    seen = watch(aws, ProgressListener(stream=stream))
    seen.started()
    seen.update(described("InProgress", "Starting", "Starting the job"))
    seen.update(described("InProgress", "Starting", "Starting the job"))
    clock.advance(2)
    seen.update(described("Completed", "Completed", "", train_msd=0.25))
    seen.ended()
    assert stream.getvalue().splitlines() == [
        "job: created",
        "job: InProgress - Starting - Starting the job (0 s)",
        "job: Completed (2 s)",
        "job: train:msd=0.25",
    ]


def test_a_bar_is_one_line_with_everything(aws: SageMakerSession, script: Script) -> None:
    stream = io.StringIO()
    script.always["DescribeLogStreams"] = {"logStreams": [{"logStreamName": "job/algo-1"}]}
    script.always["GetLogEvents"] = {"events": [{"timestamp": 1, "message": "epoch 3"}], "nextForwardToken": "f/1"}
    listener = ProgressListener("bar", stream)
    assert listener.wantsLog
    seen = watch(aws, listener)
    seen.started()
    seen.update(described("InProgress", "Training", "", train_msd=0.25))
    seen.ended()
    last = stream.getvalue().split("\r")[-1]
    assert "job [" in last
    assert "InProgress Training | train:msd=0.25 | epoch 3" in last
    assert listener._bars == {}


def test_off_writes_nothing(aws: SageMakerSession) -> None:
    stream = io.StringIO()
    seen = watch(aws, ProgressListener("off", stream))
    seen.started()
    seen.update(described("InProgress", "Training"))
    seen.ended()
    assert stream.getvalue() == ""


def test_a_terminal_gets_the_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert ProgressListener(stream=Terminal()).wantsLog
    assert not ProgressListener(stream=io.StringIO()).wantsLog


def test_the_display_is_there_unless_another_is() -> None:
    mine = ProgressListener("off")
    recorder = Recorder()
    assert with_progress([recorder, mine]) == (recorder, mine)
    assert [type(one) for one in with_progress([recorder])] == [Recorder, ProgressListener]


def test_a_notebook_gets_the_bar_and_without_widgets_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm.std

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert ProgressListener(stream=io.StringIO()).wantsLog
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    assert progress._tqdm() is tqdm.std.tqdm
    shell.kernel = None
    assert not ProgressListener(stream=io.StringIO()).wantsLog


def test_listeners_of_the_process_hear_of_every_stage(aws: SageMakerSession) -> None:
    mine, everybody = Recorder(), Recorder()
    listeners.add_everywhere(everybody)
    try:
        stage = KMeans(sagemakerSession=replace(aws, listeners=(mine,)), listeners=[ProgressListener("off")])
        heard = stage._all_listeners(stage._known_session())
        assert heard[:2] == (everybody, mine)
    finally:
        listeners.remove_everywhere(everybody)
    assert everybody not in stage._all_listeners(stage._known_session())
