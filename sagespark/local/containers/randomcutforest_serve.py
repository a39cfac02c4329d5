"""Serve a random cut forest: the program ``serve`` of the built-in image ``randomcutforest``.

Run as ``python -m sagespark.local.containers.randomcutforest_serve`` inside a container.
"""

from __future__ import annotations

from sagespark.local.containers import contract


def main() -> None:
    """Load ``model_algo-1`` and serve it."""
    # Requests run beside each other, so each one computes with one thread.
    threads = contract.threads()
    contract.limit_threads(1)

    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from sagespark.algorithms.random_cuts import Forest
    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.channels import dense
    from sagespark.local.containers.serving import ServingApp, arrays, serve

    def make() -> ServingApp:
        found = arrays()
        if not isinstance(found, dict):
            raise ValueError("the model file must be an NDArray dictionary of a forest")
        forest = Forest.of(found)

        def predict(rows: Matrix) -> dict[str, NDArray[Any]]:
            return {"score": forest.scores(dense(rows)).astype(np.float32)}

        return ServingApp(predict, forest.width, threads, wrapper="scores")

    serve(make)


if __name__ == "__main__":
    main()
