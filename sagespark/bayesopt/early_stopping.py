"""The median rule: stop a trial that does worse than the earlier ones did on average by the same step.

Source: Golovin et al., Google Vizier, KDD 2017, section 3.2.2 ("automated early stopping: median stopping rule"), which
automatic model tuning follows (Perrone et al., arXiv 2012.08489; developer guide, "Stop Training Jobs Early").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sagespark.bayesopt.trial import Trial

GRACE_TRIALS = 5
"""Completed trials with intermediate values that are needed before any trial is stopped."""
GRACE_SHARE = 0.1
"""Share of the completed trials' median length during which no trial is stopped."""


class MedianRule:
    """The rule for one search. It keeps the running averages of the trials that have ended.

    1. The earlier trials are those completed with at least one report; fewer than ``GRACE_TRIALS``: no trial is
       stopped.
    2. With ``L`` the median number of their steps, a trial within its first ``max(1, GRACE_SHARE * L)`` reports is not
       stopped.
    3. Otherwise it is where its value at its last step ``t`` is worse than the median over the earlier trials of their
       running averages over the steps up to ``t``.

    Parameters
    ----------
    sign : {1.0, -1.0}
        -1 where larger is better.
    """

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._seen = 0
        self._steps: list[NDArray[np.int64]] = []
        """Of each earlier trial, ascending."""
        self._averages: list[NDArray[np.float64]] = []
        """Its running average at each of these, smaller is better."""

    def should_stop(self, trial: Trial, told: Sequence[Trial]) -> bool:
        """Tell whether a trial is to be stopped, and then told as ``Stopped`` with its last value.

        Parameters
        ----------
        trial : Trial
            The trial in progress.
        told : sequence of Trial
            The trials told so far, in that order: those of the last call, and later ones.
        """
        self._learn(told)
        if not trial.reports or len(self._steps) < GRACE_TRIALS:
            return False
        length = float(np.median([len(steps) for steps in self._steps]))
        if len(trial.reports) <= max(1.0, GRACE_SHARE * length):
            return False
        step = max(trial.reports)
        averages = []
        for steps, average in zip(self._steps, self._averages, strict=True):
            count = int(np.searchsorted(steps, step, side="right"))
            if count:
                averages.append(average[count - 1])
        # A trial that reports at other steps than the rest has nothing to be compared with.
        if len(averages) < GRACE_TRIALS:
            return False
        return self._sign * trial.reports[step] > float(np.median(averages))

    def _learn(self, told: Sequence[Trial]) -> None:
        """Take in the trials that were told since the last call."""
        for trial in told[self._seen :]:
            if trial.status == "Completed" and trial.reports:
                steps = np.array(sorted(trial.reports), dtype=np.int64)
                values = self._sign * np.array([trial.reports[int(s)] for s in steps], dtype=float)
                self._steps.append(steps)
                self._averages.append(np.cumsum(values) / np.arange(1, len(values) + 1))
        self._seen = len(told)
