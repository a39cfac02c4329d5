"""Serve the linear learner: the program ``serve`` of the built-in image ``linear-learner``.

Run as ``python -m sagespark.local.containers.linear_learner_serve`` inside a container.
"""

from __future__ import annotations

from sagespark.local.containers import contract


def main() -> None:
    """Load ``model_algo-1`` and serve it."""
    # Requests run beside each other, so each one computes with one thread.
    threads = contract.threads()
    contract.limit_threads(1)

    from sagespark.local.containers.job import MODEL_FILE
    from sagespark.local.containers.linear_model import LinearModel
    from sagespark.local.containers.serving import ServingApp, serve

    def make() -> ServingApp:
        model = LinearModel.load((contract.base() / "model" / MODEL_FILE).read_bytes())
        return ServingApp(model.answers, model.width, threads)

    serve(make)


if __name__ == "__main__":
    main()
