"""The median rule: stop a trial that does worse than the earlier ones did on average by the same step.

Source: Golovin et al., Google Vizier, KDD 2017, section 3.2.2 ("automated early stopping: median stopping rule"), which
automatic model tuning follows (Perrone et al., arXiv 2012.08489; developer guide, "Stop Training Jobs Early").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sagespark.bayesopt.trial import Trial

GRACE_TRIALS = 5
"""Completed trials with intermediate values that are needed before any trial is stopped."""
GRACE_SHARE = 0.1
"""Share of the completed trials' median length during which no trial is stopped."""


def should_stop(trial: Trial, others: Sequence[Trial], sign: float) -> bool:
    """Tell whether the median rule stops a trial.

    1. The earlier trials are those completed with at least one report; fewer than ``GRACE_TRIALS``: no.
    2. With ``L`` the median number of their steps, a trial within its first ``max(1, GRACE_SHARE * L)`` reports: no.
    3. Otherwise: at the trial's last step ``t``, is its value worse than the median over the earlier trials of their
       running averages over the steps up to ``t``?

    Parameters
    ----------
    trial : Trial
        The trial in progress.
    others : sequence of Trial
        The trials told so far.
    sign : {1.0, -1.0}
        -1 where larger is better.

    Returns
    -------
    bool
        True: stop it, and tell it as ``Stopped`` with its last value.
    """
    if not trial.reports:
        return False
    step = max(trial.reports)
    earlier = [t.reports for t in others if t.status == "Completed" and t.reports]
    if len(earlier) < GRACE_TRIALS:
        return False
    length = float(np.median([len(r) for r in earlier]))
    if len(trial.reports) <= max(1.0, GRACE_SHARE * length):
        return False
    averages = []
    for reports in earlier:
        values = [v for s, v in reports.items() if s <= step]
        if values:
            averages.append(sign * float(np.mean(values)))
    # A trial that reports at other steps than the rest has nothing to be compared with.
    return len(averages) >= GRACE_TRIALS and sign * trial.reports[step] > float(np.median(averages))
