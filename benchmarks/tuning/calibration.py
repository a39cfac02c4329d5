"""Calibration: how many held-out values of smooth functions the surrogate's 95 % band covers.

    python benchmarks/tuning/calibration.py

For every function, number of random observations and seed, the surrogate of a search that was told those observations
predicts 400 random configurations more (:func:`sagespark.bayesopt.insight.predict`). In the last column the search has
chosen all of its 40 observations itself.
"""

from __future__ import annotations

import argparse
import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 -- the number of BLAS threads is read at import
from problems import PROBLEMS, Problem  # noqa: E402 -- as above

from sagespark.bayesopt import Bayesian, insight  # noqa: E402 -- as above

SMOOTH = ("branin", "camel", "goldstein", "hartmann3", "hartmann6", "rosenbrock4", "styblinski4")
HELD_OUT = 400
SEARCH = 40
TURNS = 8
"""Asks until every member of the surrogate had its turn."""


def coverage(problem: Problem, observations: int, seed: int, searched: bool = False) -> float:
    """Return the share of held-out values inside the band."""
    rng = np.random.default_rng([seed, observations])
    told, held_out = (
        [problem.space.from_unit(u) for u in rng.random((n, len(problem.space)))] for n in (observations, HELD_OUT)
    )
    history: list[dict[str, object]] = []
    for i, config in enumerate(told if not searched else []):
        history.append({"event": "ask", "trial": i, "config": config, "resource": None, "state": None})
        history.append({"event": "tell", "trial": i, "value": problem.function(config), "status": "Completed"})
    strategy = Bayesian(problem.space, seed=seed, history=history)
    for _ in range(observations if searched else TURNS):
        trial = strategy.ask()
        strategy.tell(trial.id, problem.function(trial.config))
    predicted = insight.predict(strategy, held_out)
    values = np.array([problem.function(c) for c in held_out])
    return float(np.mean((values >= predicted.low) & (values <= predicted.high)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=SMOOTH, choices=sorted(PROBLEMS))
    parser.add_argument("--observations", nargs="+", type=int, default=(30, 50, 80))
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    sizes = "".join(f"{n:>8}" for n in args.observations)
    print(f"{'covered by the 95 % band':<26}{sizes}{'search':>8}   (mean over {args.seeds} seeds)")
    table = []
    for name in args.problems:
        table.append([np.mean([coverage(PROBLEMS[name], n, s) for s in range(args.seeds)]) for n in args.observations])
        print(f"{name:<26}" + "".join(f"{share:>8.1%}" for share in table[-1]), flush=True)
    print(f"{'all':<26}" + "".join(f"{share:>8.1%}" for share in np.mean(table, axis=0)))


if __name__ == "__main__":
    main()
