"""AWS's wire protocols, driven by botocore's service models.

A request passes through these steps, one module each::

    identify    which service: X-Amz-Target, credential scope, path, Action=
    routes      which operation, for the REST protocols
    parse       bytes -> request dict (json, query, rest)
    sigv4       the signature, where it is asked for
    validate    required, min, max, pattern, enum -> AWS's own text
    dispatch    the provider's method, in a thread pool
    serialize   response dict or error -> bytes
"""
