"""Containers of the embedded service: real processes under the ``/opt/ml`` contract, and the programs inside."""
