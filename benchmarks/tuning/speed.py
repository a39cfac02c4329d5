"""CPU of ask and tell: mean over 20 consecutive pairs with so many observations told before, in 6 dimensions.

    python benchmarks/tuning/speed.py                       # ours
    python benchmarks/tuning/speed.py --method optuna_gp    # in Optuna's environment (README.md)

Compare figures of one machine under the same load only: both methods in turn.
"""

from __future__ import annotations

import argparse
import os
import time

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402 -- the number of BLAS threads is read at import
from libraries import Optuna  # noqa: E402 -- as above
from methods import METHODS  # noqa: E402 -- as above
from problems import PROBLEMS  # noqa: E402 -- as above

from sagespark.bayesopt import Bayesian  # noqa: E402 -- as above

SIZES = (50, 100, 200, 500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="sagespark", choices=("sagespark", "optuna_gp"))
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--pairs", type=int, default=20)
    args = parser.parse_args()
    problem = PROBLEMS["hartmann6"]
    for n in args.sizes:
        configs = [problem.space.from_unit(u) for u in np.random.default_rng(0).random((n, 6))]
        tuner = METHODS[args.method](problem.space, 0)
        if isinstance(tuner, Optuna):
            for config in configs:
                tuner.study.add_trial(
                    tuner.optuna.trial.create_trial(
                        params=config, distributions=tuner.distributions, value=problem.function(config)
                    )
                )
        else:
            history: list[dict[str, object]] = []
            for i, config in enumerate(configs):
                history.append({"event": "ask", "trial": i, "config": config, "resource": None, "state": None})
                history.append({"event": "tell", "trial": i, "value": problem.function(config), "status": "Completed"})
            tuner.strategy = Bayesian(problem.space, seed=0, history=history)
            while tuner.strategy.surrogate() is None:  # first points and the first fit are not what is timed
                number, config = tuner.ask()
                tuner.tell(number, problem.function(config))
        number, config = tuner.ask()
        tuner.tell(number, problem.function(config))
        start = time.process_time()
        for _ in range(args.pairs):
            number, config = tuner.ask()
            tuner.tell(number, problem.function(config))
        print(f"{args.method} {n}: {(time.process_time() - start) / args.pairs * 1e3:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
