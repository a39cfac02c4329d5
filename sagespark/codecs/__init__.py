"""Bytes on S3 and on endpoints: one module per content type, vectorised, Arrow and numpy only."""
