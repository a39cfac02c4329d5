"""The embedded service: SageMaker, S3, STS, IAM and CloudWatch Logs in one local process.

It speaks AWS's own wire protocols, so every AWS client works against it by its endpoint URL alone. It knows nothing of
Spark and nothing of this package's client layers.
"""
