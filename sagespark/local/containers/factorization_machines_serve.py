"""Serve factorization machines: the program ``serve`` of the built-in image ``factorization-machines``.

Run as ``python -m sagespark.local.containers.factorization_machines_serve`` inside a container.
"""

from __future__ import annotations

from sagespark.local.containers import contract


def main() -> None:
    """Load ``model_algo-1`` and serve it."""
    # Requests run beside each other, so each one computes with one thread.
    threads = contract.threads()
    contract.limit_threads(1)

    from sagespark.local.containers.fm_model import FactorizationMachine
    from sagespark.local.containers.job import MODEL_FILE
    from sagespark.local.containers.serving import ACCEPTS, ServingApp, serve

    def make() -> ServingApp:
        model = FactorizationMachine.load((contract.base() / "model" / MODEL_FILE).read_bytes())
        # AWS's fm-in-formats: CSV is neither read nor written.
        return ServingApp(model.answers, model.width, threads, tuple(a for a in ACCEPTS if a != "text/csv"))

    serve(make)


if __name__ == "__main__":
    main()
