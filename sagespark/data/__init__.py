"""DataFrames to bytes in S3, and to endpoints and back."""
