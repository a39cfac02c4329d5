"""Compare runs: medians, average ranks, pairs won. Reads the JSON lines that run.py wrote.

    python benchmarks/tuning/compare.py benchmarks/tuning/results.jsonl benchmarks/tuning/baselines/*.jsonl

A regret below 1e-3 of random search's median on that problem and budget counts as that: below it nobody sees a
difference. Ranks are taken per cell (problem, budget, number in parallel) over the methods that ran it, by median.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from problems import LISTED, OTHERS
from scipy.stats import rankdata

Cell = tuple[str, int, int]
OURS = "sagespark"


def load(paths: list[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line]


def cells(runs: list[dict[str, Any]], budgets: tuple[int, ...]) -> dict[Cell, dict[str, dict[int, float]]]:
    """Return regret by cell, method and seed; a run without any value has the worst regret of its cell."""
    out: dict[Cell, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        for budget in budgets:
            if len(run["curve"]) >= budget:
                regret = run["curve"][budget - 1]
                out[run["problem"], budget, run["parallel"]][run["method"]][run["seed"]] = (
                    np.inf if regret is None else regret
                )
    return {cell: dict(methods) for cell, methods in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--budgets", nargs="+", type=int, default=[40, 100])
    parser.add_argument("--problems", nargs="+", default=[], help="names, or: listed, others, real; default: all")
    parser.add_argument("--against", default="optuna_gp")
    args = parser.parse_args()
    runs = load(args.files)
    if args.problems:
        kinds = {"listed": LISTED, "others": OTHERS}
        wanted = {p.name for kind in args.problems for p in kinds.get(kind, [])} | set(args.problems)
        known = {p.name for problems in kinds.values() for p in problems}
        # Models on real data are the rest: naming them would build them.
        runs = [r for r in runs if r["problem"] in wanted or ("real" in wanted and r["problem"] not in known)]
    table = cells(runs, tuple(args.budgets))
    floor = {
        cell: 1e-3 * float(np.median(list(table[cell[0], cell[1], 1].get("random", {0: 0.0}).values())))
        for cell in table
        if (cell[0], cell[1], 1) in table
    }
    methods = sorted({m for cell in table.values() for m in cell}, key=lambda m: (m != OURS, m))
    width = max(len(m) for m in methods) + 2
    print(f"{'problem':<22}{'n':>5}{'at once':>9}" + "".join(f"{m:>{width}}" for m in methods) + "   (median regret)")
    ranks: dict[str, list[float]] = defaultdict(list)
    won = pairs = 0
    worst = (0.0, "")
    for cell, by_method in sorted(table.items()):
        low = floor.get(cell, 0.0)
        medians = {m: max(float(np.median(list(seeds.values()))), low) for m, seeds in by_method.items()}
        text = "".join(f"{medians[m]:>{width}.3g}" if m in medians else " " * width for m in methods)
        print(f"{cell[0]:<22}{cell[1]:>5}{cell[2]:>9}{text}")
        if len(medians) > 1:
            for m, rank in zip(medians, rankdata(list(medians.values())), strict=True):
                ranks[m].append(float(rank))
        if OURS in by_method and args.against in by_method:
            for seed in by_method[OURS].keys() & by_method[args.against].keys():
                ours, theirs = max(by_method[OURS][seed], low), max(by_method[args.against][seed], low)
                won, pairs = won + (ours < theirs) + 0.5 * (ours == theirs), pairs + 1
            worst = max(worst, (medians[OURS] / max(medians[args.against], 1e-300), f"{cell[0]} at {cell[1]}"))
    print("\naverage rank: " + ", ".join(f"{m} {np.mean(ranks[m]):.2f}" for m in methods if ranks[m]))
    if pairs:
        print(f"pairs won against {args.against}: {won / pairs:.0%} of {pairs} (a tie is half)")
        print(f"largest ratio of medians to {args.against}: {worst[0]:.2f} ({worst[1]})")
    delays = []
    for cell, by_method in sorted(table.items()):
        alone = table.get((cell[0], cell[1], 1), {}).get(OURS)
        if cell[2] > 1 and OURS in by_method and alone:
            low = max(floor.get((cell[0], cell[1], 1), 0.0), 1e-300)
            together, single = (max(float(np.median(list(s.values()))), low) for s in (by_method[OURS], alone))
            delays.append((together / single, cell))
    for budget in sorted({cell[1] for _, cell in delays}):
        found = [(ratio, cell[0]) for ratio, cell in delays if cell[1] == budget]
        mean = np.exp(np.mean(np.log([ratio for ratio, _ in found])))
        ratio, problem = max(found)
        print(
            f"several at once, {budget} evaluations: {mean:.2f} times sequential regret; most {ratio:.2f} ({problem})"
        )
    for m in methods:
        mine = [r for r in runs if r["method"] == m]
        cpu = np.mean([r["cpu_seconds"] / r["budget"] for r in mine]) * 1e3
        noisy = [r["recommended"] for r in mine if r["problem"].startswith("noisy") and r["recommended"] is not None]
        failing = [r["late_failures"] / max(r["budget"] - 10, 1) for r in mine if r["problem"].startswith("failing")]
        print(
            f"{m}: {cpu:.1f} ms of CPU for ask and tell; "
            + (f"recommended under noise {np.median(noisy):.3g}; " if noisy else "")
            + (f"failed after the 10th {np.mean(failing):.0%}" if failing else "")
        )


if __name__ == "__main__":
    main()
