"""What botocore raises, told as the package's errors: the operation, AWS's code, and the way out."""

from __future__ import annotations

from typing import Any

from botocore import xform_name
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from sagespark.core.errors import ResourceNotFoundError, SageSparkError, ServiceError, SessionError, ValidationError

THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Codes by which AWS asks for patience, whatever the HTTP status (botocore's list; SageMaker sends 400)."""
TRANSIENT = THROTTLING | {"InternalFailure", "InternalServerError", "RequestTimeout", "RequestTimeoutException"}
"""Codes worth another try."""

# No byte of an answer, or only a part of one. An SSLError is a ConnectionError, but trying again will not mend it.
_NO_ANSWER = (ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError)
_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    ProfileNotFound,
)
_MISSING = frozenset(
    {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchKey",
        "NoSuchUpload",
        "NotFound",
        "ResourceNotFound",
        "ResourceNotFoundException",
    }
)
_ACCESS = "the caller's credentials lack the permission; ask for {service}:{operation} (and iam:PassRole for the role)"
_WAYS_OUT = {
    "AccessDenied": _ACCESS,
    "AccessDeniedException": _ACCESS,
    "ExpiredToken": "the credentials have expired; renew them and try again",
    "ExpiredTokenException": "the credentials have expired; renew them and try again",
    "InvalidClientTokenId": "AWS does not know the access key; check AWS_ACCESS_KEY_ID or the profile",
    "UnrecognizedClientException": "AWS does not know the access key; check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": "check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "ResourceLimitExceeded": "take fewer or other instances, or ask for more at AWS's Service Quotas",
    "ResourceInUse": "take another name",
    "NoSuchBucket": "create the bucket, or name another by SageMakerSession(bucket=...)",
    "UnknownOperationException": "the service at this endpoint URL does not have the operation",
}


def no_answer(error: BaseException) -> bool:
    """Tell whether the error means that nobody answered: refused, reset, cut off, timed out."""
    if isinstance(error, ServiceError):
        return error.status == 0 and not isinstance(error, ResourceNotFoundError)
    return isinstance(error, _NO_ANSWER) and not isinstance(error, SSLError)


def is_throttling(error: BaseException) -> bool:
    """Tell whether the service asked for fewer requests."""
    return _code(error) in THROTTLING or _status(error) == 429


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may succeed later: throttling, HTTP 5xx, no answer."""
    return no_answer(error) or _code(error) in TRANSIENT or _status(error) == 429 or _status(error) >= 500


def is_missing(error: BaseException) -> bool:
    """Tell whether the service does not know the resource."""
    if isinstance(error, ResourceNotFoundError):
        return True
    if not isinstance(error, ClientError):
        return False
    if _code(error) in _MISSING:
        return True
    # SageMaker has no code of its own for it: ValidationException, and only the text tells.
    text = error.response.get("Error", {}).get("Message", "")
    return _code(error) in ("ValidationException", "ValidationError") and (
        "Could not find" in text or "not found" in text or "does not exist" in text
    )


def is_conflict(error: BaseException) -> bool:
    """Tell whether a resource of that name exists already."""
    if _code(error) in ("ResourceInUse", "BucketAlreadyOwnedByYou"):
        return True
    text = str(error)
    return _code(error) == "ValidationException" and "already existing" in text


def translate(error: Exception, operation: str, service: str = "sagemaker") -> SageSparkError:
    """Return the package's error for one of botocore's.

    Parameters
    ----------
    error : ClientError, BotoCoreError or ResponseParserError
    operation, service : str
        AWS's names, such as ``CreateTrainingJob`` and ``sagemaker``.
    """
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        status = _status(error)
        code = str(details.get("Code", "")) or f"HTTP{status}"
        text = str(details.get("Message", "")) or "(no message)"
        hint = _WAYS_OUT.get(code, "").format(service=service, operation=operation)
        message = f"{operation}: {code}: {text}" + (f" ({hint})" if hint else "")
        cls = ResourceNotFoundError if is_missing(error) else ServiceError
        return cls(message, operation=operation, code=code, status=status)
    if isinstance(error, ParamValidationError):
        return ValidationError(str(error).replace("Parameter validation failed:\n", ""), operation)
    if isinstance(error, _CREDENTIALS):
        return SessionError(
            f"no usable AWS credentials ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or "
            "run where an instance role is. For the embedded service `sagespark local start` prints what to export",
            operation,
        )
    if isinstance(error, NoRegionError):
        return SessionError("no AWS region was found; set AWS_REGION or SageMakerSession(region=...)", operation)
    if no_answer(error):
        return ServiceError(f"{operation}: no answer: {error}", operation=operation, code=type(error).__name__)
    return ValidationError(str(error), operation)


def call(client: Any, operation: str, /, **request: Any) -> dict[str, Any]:
    """Call one AWS operation and return its answer.

    Parameters
    ----------
    client : boto3 client
    operation : str
        AWS's name, such as ``CreateTrainingJob``.
    **request
        The operation's members.

    Raises
    ------
    ServiceError, ResourceNotFoundError
        If the service refused, or did not answer after botocore's own tries.
    SessionError
        If there are no usable credentials.
    ValidationError
        If botocore's model refuses the request.
    """
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**request)
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise translate(error, operation, client.meta.service_model.signing_name) from error
    return answer


def _code(error: BaseException) -> str:
    if isinstance(error, ServiceError):
        return error.code
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _status(error: BaseException) -> int:
    if isinstance(error, ServiceError):
        return error.status
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 0
