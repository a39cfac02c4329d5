"""Warm start: 40 evaluations after a parent of 40, against cold runs; true parents, negated and mirrored ones.

    python benchmarks/tuning/warm.py --seeds 20 --out benchmarks/results/warm.jsonl

One JSON line a problem and seed, resumable; prints medians at the end. ``negated`` is a parent whose objective is the
negative of the own one, ``mirrored`` one whose configurations are reflected in the middle of the space. All are added
as the same objective, which is the worst that a user can say of them. A regret below 1e-3 of random search's median at
40 evaluations counts as that.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 -- the number of BLAS threads is read at import
from problems import PROBLEMS, Config, Problem  # noqa: E402 -- as above

from sagespark.bayesopt import Bayesian, Random, Strategy  # noqa: E402 -- as above

Objective = Callable[[Config], float]


def play(strategy: Strategy, function: Objective, n: int) -> np.ndarray:
    """Evaluate ``n`` times; return the best value after each."""
    values = []
    for _ in range(n):
        trial = strategy.ask()
        values.append(function(trial.config))
        strategy.tell(trial.id, values[-1])
    return np.minimum.accumulate(values)


def run(problem: Problem, seed: int) -> dict[str, Any]:
    """Return one line."""
    space, own = problem.space, problem.function

    def after(parent: Objective, at: int) -> tuple[float, np.ndarray]:
        first = Bayesian(space, seed=at + seed)
        best = float(play(first, parent, 40)[-1])
        strategy = Bayesian(space, seed=seed)
        for trial in first.trials:
            strategy.add(trial.config, float(trial.value or 0.0))
        return best, play(strategy, own, 40)

    best, curve = after(own, 1000)
    cold = play(Bayesian(space, seed=seed), own, 80) - problem.minimum
    return {
        "problem": problem.name,
        "seed": seed,
        "better_within_10": bool(curve[9] < best),
        "warm": min(float(curve[-1]), best) - problem.minimum,
        "cold40": float(cold[39]),
        "cold80": float(cold[79]),
        "negated": float(after(lambda c: -own(c), 2000)[1][-1]) - problem.minimum,
        "mirrored": float(after(lambda c: own(space.from_unit(1.0 - space.to_unit(c))), 2000)[1][-1]) - problem.minimum,
        "random40": float(play(Random(space, seed=seed), own, 40)[-1]) - problem.minimum,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=["branin", "hartmann6", "mixed7"], choices=sorted(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="start no run after this")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(line["problem"], line["seed"]) for line in lines}
    started = time.monotonic()
    with args.out.open("a") as out:
        for seed in range(args.seeds):
            for name in args.problems:
                if (name, seed) not in done and time.monotonic() - started < 60 * args.minutes:
                    lines.append(run(PROBLEMS[name], seed))
                    out.write(json.dumps(lines[-1]) + "\n")
                    out.flush()
    ratios: dict[str, list[float]] = {"negated": [], "mirrored": []}
    for name in args.problems:
        mine = [line for line in lines if line["problem"] == name]
        if not mine:
            continue
        floor = 1e-3 * float(np.median([line["random40"] for line in mine]))
        median = {
            k: max(float(np.median([m[k] for m in mine])), floor) for k in mine[0] if k not in ("problem", "seed")
        }
        better = np.mean([line["better_within_10"] for line in mine])
        text = f"{name}, {len(mine)} seeds: better than the parent within 10 in {better:.0%}; "
        text += f"warm {median['warm']:.3g}, cold 80 {median['cold80']:.3g}; cold 40 {median['cold40']:.3g}"
        for kind, found in ratios.items():
            found.append(median[kind] / median["cold40"])
            text += f", {kind} {median[kind]:.3g} ({found[-1]:.2f} times)"
        print(text)
    for kind, found in ratios.items():
        if found:
            print(f"{kind} parents: {np.exp(np.mean(np.log(found))):.2f} times a cold start, geometric mean")


if __name__ == "__main__":
    main()
