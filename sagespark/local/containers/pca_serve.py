"""Serve PCA: the program ``serve`` of the built-in image ``pca``.

Run as ``python -m sagespark.local.containers.pca_serve`` inside a container.
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

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.projection import Projection
    from sagespark.local.containers.serving import ServingApp, arrays, serve

    def make() -> ServingApp:
        found = arrays()
        if not isinstance(found, dict) or "v" not in found:
            raise ValueError("the model file must be an NDArray dictionary with an array 'v'")
        projection = Projection(found["v"], found.get("mean"))

        def predict(rows: Matrix) -> dict[str, NDArray[Any]]:
            return {"projection": projection.project(rows).astype(np.float32)}

        return ServingApp(predict, projection.width, threads, wrapper="projections")

    serve(make)


if __name__ == "__main__":
    main()
