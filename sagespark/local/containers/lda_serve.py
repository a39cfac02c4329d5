"""Serve LDA: the program ``serve`` of the built-in image ``lda``.

Run as ``python -m sagespark.local.containers.lda_serve`` inside a container. scikit-learn is not needed for it.
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

    from sagespark.algorithms.topics import Topics, problem
    from sagespark.codecs.matrix import Matrix
    from sagespark.core.errors import ValidationError
    from sagespark.local.containers.channels import parts
    from sagespark.local.containers.serving import ServingApp, arrays, serve

    def make() -> ServingApp:
        found = arrays()
        if isinstance(found, dict) or [array.ndim for array in found] != [1, 2]:
            raise ValueError("the model file must be an NDArray list of alpha (k,) and beta (k, feature_dim)")
        topics = Topics(found[0].astype(np.float64), found[1].astype(np.float64))

        def predict(rows: Matrix) -> dict[str, NDArray[Any]]:
            for values, row_of in parts(rows):
                if (at := problem(values.ravel())) is not None:
                    raise ValidationError(
                        f"row {int(row_of(at))} holds {values.ravel()[at]:g}; LDA counts words, so every feature must "
                        "be a whole number of 0 or more",
                        "features",
                    )
            return {"topic_mixture": topics.mixtures(rows).astype(np.float32)}

        return ServingApp(predict, topics.beta.shape[1], threads)

    serve(make)


if __name__ == "__main__":
    main()
