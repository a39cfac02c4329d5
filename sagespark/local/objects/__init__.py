"""S3 on disk: an index in SQLite, one file per object."""
