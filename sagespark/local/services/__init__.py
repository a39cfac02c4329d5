"""Providers: objects whose methods are named as AWS operations, ``(ctx, request) -> response``."""
