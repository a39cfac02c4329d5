"""Serve k-nearest neighbours: the program ``serve`` of the built-in image ``knn``.

Run as ``python -m sagespark.local.containers.knn_serve`` inside a container. scikit-learn is not needed for it.
"""

from __future__ import annotations

from sagespark.local.containers import contract


def main() -> None:
    """Load ``model_algo-1`` and serve it."""
    # Requests run beside each other, so each one computes with one thread.
    threads = contract.threads()
    contract.limit_threads(1)

    from typing import Any

    from numpy.typing import NDArray

    from sagespark.codecs.matrix import Matrix
    from sagespark.local.containers.knn_model import Neighbours
    from sagespark.local.containers.serving import ServingApp, arrays, serve

    def make() -> ServingApp:
        found = arrays()
        if not isinstance(found, dict):
            raise ValueError("the model file must be an NDArray dictionary of k-nearest neighbours")
        model = Neighbours.of(found)

        def predict(rows: Matrix) -> dict[str, NDArray[Any]]:
            return {"predicted_label": model.predict(rows)["predicted_label"]}

        return ServingApp(predict, model.width, threads, verbose=model.predict)

    serve(make)


if __name__ == "__main__":
    main()
