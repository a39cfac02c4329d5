"""AWS's wire protocols, driven by botocore's service models.

A request passes through these steps, each a module of its own; `dispatch` is the list of them::

    identify          which service: X-Amz-Target, path of the runtime, credential scope, Action=
    routes            which operation, for the REST protocols
    sigv4, sigv2      the signature where it is asked for, the age of a presigned URL always
    payload           S3's bodies: aws-chunked, Content-MD5, checksums (chunked, checksums, crc)
    parse, query, rest    bytes -> request dict, by protocol
    validate          required, min, max, pattern, enum -> AWS's own text (patterns: Java's regular expressions)
    dispatch          the provider's method, in a thread pool or on the event loop
    serialize, rest   response dict -> bytes
    errors            an AwsError -> bytes
"""
