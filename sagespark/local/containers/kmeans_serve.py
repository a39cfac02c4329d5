"""Serve K-means: the program ``serve`` of the built-in image ``kmeans``.

Run as ``python -m sagespark.local.containers.kmeans_serve`` inside a container. scikit-learn is not needed for it.
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
    from sagespark.local.containers.nearest import Centres
    from sagespark.local.containers.serving import ServingApp, arrays, serve

    def make() -> ServingApp:
        found = arrays()
        centres = Centres((list(found.values()) if isinstance(found, dict) else found)[0])

        def predict(rows: Matrix) -> dict[str, NDArray[Any]]:
            labels, distances = centres.nearest(rows)
            return {"closest_cluster": labels.astype(np.float32), "distance_to_cluster": distances.astype(np.float32)}

        return ServingApp(predict, centres.shape[1], threads)

    serve(make)


if __name__ == "__main__":
    main()
