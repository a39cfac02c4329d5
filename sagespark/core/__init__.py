"""Inert building blocks: errors, time, names, S3 locations, settings. Standard library only."""
