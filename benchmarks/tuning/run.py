"""Run tuners on problems; append one JSON line per run, and leave out the runs that the file has already.

    python benchmarks/tuning/run.py --methods sagespark random sobol --seeds 10 --out benchmarks/tuning/results.jsonl

A run's 40-evaluation result is the prefix of its 100 evaluations. Results of parallel evaluations come back in an order
drawn from the seed. CPU is the process's, of asks and tells alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 -- the number of BLAS threads is read at import
from methods import METHODS, versions  # noqa: E402 -- as above
from problems import LISTED, OTHERS, PROBLEMS, EvaluationError, Problem, real  # noqa: E402 -- as above


def processor() -> str:
    """Return the processor's name, which CPU seconds are of."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def run(method: str, problem: Problem, seed: int, parallel: int, budget: int) -> dict[str, Any]:
    """Evaluate a problem ``budget`` times, ``parallel`` at once; return the line."""
    tuner = METHODS[method](problem.space, seed)
    rng = np.random.default_rng([seed, 77])
    best, curve, values, pending = float("inf"), [], [], []
    cpu, keys, late_failures = 0.0, set(), 0
    while len(curve) < budget:
        start = time.process_time()
        while len(pending) < parallel and len(curve) + len(pending) < budget:
            pending.append(tuner.ask())
            keys.add(json.dumps(pending[-1][1], sort_keys=True))
        cpu += time.process_time() - start
        number, config = pending.pop(int(rng.integers(len(pending))))
        try:
            value = problem.evaluate(config, rng)
            best = min(best, problem.function(config) - problem.minimum)
        except EvaluationError:
            value = None
            late_failures += len(curve) >= 10
        values.append(value)
        start = time.process_time()
        tuner.tell(number, value)
        cpu += time.process_time() - start
        curve.append(best if np.isfinite(best) else None)
    recommended = tuner.recommended()
    return {
        "problem": problem.name,
        "method": method,
        "seed": seed,
        "parallel": parallel,
        "budget": budget,
        "curve": [None if b is None else float(f"{b:.6g}") for b in curve],
        "recommended": None if recommended is None else problem.function(recommended) - problem.minimum,
        "late_failures": late_failures,
        "distinct": len(keys),
        "cpu_seconds": round(cpu, 3),
        "versions": versions(tuner),
        "processor": processor(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["sagespark", "random", "sobol"], choices=sorted(METHODS))
    parser.add_argument("--problems", nargs="+", default=["listed"], help="names, or: listed, others, real")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.jsonl")
    parser.add_argument("--minutes", type=float, default=60.0, help="start no run after this")
    args = parser.parse_args()
    problems: list[Problem] = []
    for name in args.problems:
        problems += {"listed": lambda: LISTED, "others": lambda: OTHERS, "real": real}.get(
            name, lambda n=name: [PROBLEMS[n]]
        )()
    done = set()
    if args.out.exists():
        for line in args.out.read_text().splitlines():
            r = json.loads(line)
            done.add((r["problem"], r["method"], r["seed"], r["parallel"], r["budget"]))
    started = time.monotonic()
    with args.out.open("a") as out:
        for seed in range(args.seeds):
            for problem in problems:
                budget = min(args.budget, 40) if problem.real else args.budget
                for method in args.methods:
                    if (problem.name, method, seed, args.parallel, budget) in done:
                        continue
                    if time.monotonic() - started > 60 * args.minutes:
                        print("out of time; run again to go on", file=sys.stderr)
                        return
                    line = run(method, problem, seed, args.parallel, budget)
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    print(problem.name, method, seed, line["curve"][-1], f"{line['cpu_seconds']} s", file=sys.stderr)


if __name__ == "__main__":
    main()
