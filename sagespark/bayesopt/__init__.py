"""Black-box optimisation by ask and tell; numpy and scipy only.

>>> from sagespark.bayesopt import Space, Continuous, Sobol
>>> s = Sobol(Space({"x": Continuous(-1, 1)}), direction="minimize", seed=0)
>>> for _ in range(8):
...     trial = s.ask()
...     s.tell(trial.id, trial.config["x"] ** 2)
>>> s.best.value < 0.05
True
"""

from sagespark.bayesopt.bayesian import Bayesian
from sagespark.bayesopt.grid import Grid
from sagespark.bayesopt.hyperband import Hyperband
from sagespark.bayesopt.manual import Manual
from sagespark.bayesopt.random_search import Random
from sagespark.bayesopt.ranges import Categorical, Continuous, Integer
from sagespark.bayesopt.sobol import Sobol
from sagespark.bayesopt.space import Space
from sagespark.bayesopt.strategy import Strategy
from sagespark.bayesopt.trial import Exhausted, Trial, Waiting

__all__ = [
    "Bayesian",
    "Categorical",
    "Continuous",
    "Exhausted",
    "Grid",
    "Hyperband",
    "Integer",
    "Manual",
    "Random",
    "Sobol",
    "Space",
    "Strategy",
    "Trial",
    "Waiting",
]
