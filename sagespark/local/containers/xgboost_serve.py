"""Serve XGBoost: the program ``serve`` of the built-in image ``sagemaker-xgboost``.

Run as ``python -m sagespark.local.containers.xgboost_serve`` inside a container.
"""

from __future__ import annotations

from sagespark.local.containers import contract


def main() -> None:
    """Load the model and serve it."""
    # Requests run beside each other, so each one computes with one thread.
    threads = contract.threads()
    contract.limit_threads(1)

    from sagespark.local.containers.serving import serve
    from sagespark.local.containers.xgboost_answers import XGBoostApp, load

    serve(lambda: XGBoostApp(load(contract.base() / "model"), threads))


if __name__ == "__main__":
    # XGBoost imports scikit-learn for its own estimators, which takes longer than all the rest of the start.
    with contract.without("sklearn"):
        main()
