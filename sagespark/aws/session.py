"""The connection to SageMaker: who pays, where, and with which names.

======================================================  =============================================================
``SageMakerSession(role=..., bucket=...)``              given; what is None is looked up
``SageMakerSession.getOrCreate()``                      the active one, else made from Spark conf and environment
``with LocalSageMaker() as session:``                   the embedded service's, active inside the block
``KMeans(sagemakerSession=session)``                    one stage only
======================================================  =============================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from sagespark.aws import clients, lookup
from sagespark.aws.active import Active
from sagespark.aws.errors import call
from sagespark.core.clock import Clock, SystemClock
from sagespark.core.errors import SessionError
from sagespark.core.names import Names
from sagespark.core.s3uri import S3Uri
from sagespark.core.settings import is_loopback

DEFAULT_PREFIX = "sagespark"
"""Key prefix of everything in the bucket, and first part of names."""

# botocore's sagemaker model, shape RoleArn (20 to 2048 characters).
_ROLE = re.compile(r"arn:aws[a-z\-]*:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")


@dataclass(frozen=True, init=False)
class SageMakerSession:
    """Hold what every call to AWS needs; frozen, and picklable without its listeners.

    Parameters
    ----------
    role : str or None
        ARN of the IAM role that SageMaker assumes.
    bucket : str or None
        Bucket for staged data and artifacts. Found nowhere: ``sagemaker-{region}-{account}``.
    prefix : str
        Key prefix inside the bucket. The default counts as not given.
    region : str or None
        AWS region.
    endpointUrl : str or None
        One URL for all services; None: AWS's own.
    accessKeyId, secretAccessKey : str or None
        Only together with a loopback endpoint, since they travel with pickles; None: boto3's own chain.
    tags : mapping of str to str
        Put on every resource, beside the package's own.
    kmsKey : str or None
        KMS key for staged data, artifacts and volumes.
    subnets, securityGroupIds : sequence of str
        VPC of jobs and models.
    listeners : sequence of sagespark.ml.listeners.Listener
        Told of every job; not pickled, and no part of equality.
    clock : Clock or None
        Time; None: the machine's.
    names : Names or None
        Makes resource names; None: time stamp and random token.

    Raises
    ------
    SessionError
        If only one of the keys is given, or keys together with an endpoint that is not on loopback.

    Notes
    -----
    What is None is looked up when it is needed: Spark conf ``spark.sagespark.{role,bucket,prefix,region,endpointUrl}``,
    then environment ``SAGESPARK_ROLE SAGESPARK_BUCKET SAGESPARK_PREFIX AWS_REGION AWS_DEFAULT_REGION
    AWS_ENDPOINT_URL``, then boto3's chain for the region. A pickle carries what its maker found, so that an executor
    with another environment speaks to the same account.
    """

    role: str | None
    bucket: str | None
    prefix: str
    region: str | None
    endpointUrl: str | None
    accessKeyId: str | None
    secretAccessKey: str | None = field(repr=False)
    tags: Mapping[str, str] = field(hash=False)
    kmsKey: str | None
    subnets: tuple[str, ...]
    securityGroupIds: tuple[str, ...]
    listeners: tuple[Any, ...] = field(repr=False, compare=False)
    clock: Clock = field(repr=False)
    names: Names = field(repr=False)

    def __init__(
        self,
        role: str | None = None,
        bucket: str | None = None,
        prefix: str = DEFAULT_PREFIX,
        region: str | None = None,
        endpointUrl: str | None = None,
        accessKeyId: str | None = None,
        secretAccessKey: str | None = None,
        tags: Mapping[str, str] | None = None,
        kmsKey: str | None = None,
        subnets: Sequence[str] = (),
        securityGroupIds: Sequence[str] = (),
        listeners: Sequence[Any] = (),
        clock: Clock | None = None,
        names: Names | None = None,
    ) -> None:
        values = {
            "role": role,
            "bucket": bucket,
            "prefix": prefix.strip("/"),
            "region": region,
            "endpointUrl": endpointUrl,
            "accessKeyId": accessKeyId,
            "secretAccessKey": secretAccessKey,
            "tags": dict(tags or {}),
            "kmsKey": kmsKey,
            "subnets": tuple(subnets),
            "securityGroupIds": tuple(securityGroupIds),
            "listeners": tuple(listeners),
            "clock": clock or SystemClock(),
            "names": names or Names(clock),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if (accessKeyId is None) != (secretAccessKey is None):
            raise SessionError(
                "accessKeyId and secretAccessKey go together, but only one is given; give both or none "
                "(none: boto3's own chain)",
                "SageMakerSession",
            )
        self._refuse_keys(endpointUrl)

    def _refuse_keys(self, endpointUrl: str | None) -> None:
        if self.accessKeyId is not None and endpointUrl is not None and not is_loopback(endpointUrl):
            raise SessionError(
                f"accessKeyId is only taken together with an endpointUrl on loopback, but endpointUrl is "
                f"{endpointUrl!r}: keys would travel with every pickle. Leave both keys out and let boto3 find them "
                f"(environment AWS_ACCESS_KEY_ID, a profile, the instance's role)",
                "SageMakerSession",
            )

    # -- settings ---------------------------------------------------------------------------------------------------

    def lookup(self) -> SageMakerSession:
        """Return this session with everything filled in that can be found without a network call.

        Raises
        ------
        SessionError
            If keys are given and the endpoint found is missing or not on loopback.
        """
        found: dict[str, Any] = {
            name: lookup.setting(name)
            for name in ("role", "bucket", "region", "endpointUrl")
            if not getattr(self, name)
        }
        if self.prefix == DEFAULT_PREFIX:
            found["prefix"] = lookup.setting("prefix")
        if "region" in found and not found["region"]:
            found["region"] = clients.chain_region()
        session = replace(self, **{k: v for k, v in found.items() if v}) if any(found.values()) else self
        if session.accessKeyId is not None and session.endpointUrl is None:
            raise SessionError(
                "accessKeyId is only taken together with an endpointUrl on loopback, but there is no endpointUrl. "
                "Give it, or leave both keys out and let boto3 find them",
                "SageMakerSession",
            )
        return session

    def resolve(self) -> SageMakerSession:
        """Return this session with region and bucket filled in; one STS GetCallerIdentity where no bucket is found.

        The role may stay None: what needs one says so by `problems`.

        Raises
        ------
        SessionError
            If no region or no credentials are found.
        """
        session = self.lookup()
        if session.bucket is None:
            session = replace(session, bucket=f"sagemaker-{session.require('region')}-{session.account}")
        return session

    def problems(self) -> tuple[str, ...]:
        """Return what keeps this session from creating resources, in words; empty where nothing does. No network."""
        session = self.lookup()
        role = session.role_problem()
        found = [] if role is None else [role]
        if session.region is None:
            found.append(f"no AWS region was found; give it by {lookup.places('region')}, or in a profile")
        if session.bucket is None:
            found.append(
                f"no bucket was found; give it by {lookup.places('bucket')}, or use SageMakerSession.getOrCreate() or "
                "session.resolve(), which ask the account's default bucket's name"
            )
        return tuple(found)

    def role_problem(self) -> str | None:
        """Return what is wrong with the role, in words that name the places to give it, or None. No network."""
        role = self.lookup().role
        if role is None:
            return f"no IAM role for SageMaker was found; give its ARN by {lookup.places('role')}"
        if not (_ROLE.fullmatch(role) and 20 <= len(role) <= 2048):
            return (
                f"role {role!r} is not a role's ARN (arn:aws:iam::123456789012:role/NAME, 20 to 2048 characters); "
                "`aws iam get-role --role-name NAME` shows it"
            )
        return None

    def require(self, setting: Literal["role", "bucket", "region"]) -> str:
        """Return a setting, looked up without a network call.

        Raises
        ------
        SessionError
            If it is found nowhere; the message names the places.
        """
        value: str | None = getattr(self.lookup(), setting)
        if value is None:
            raise SessionError(f"no {setting} was found; give it by {lookup.places(setting)}", "SageMakerSession")
        return value

    @property
    def account(self) -> str:
        """The account's 12 digits: one STS GetCallerIdentity per connection and process."""
        sts = self.client("sts")
        if sts not in _accounts:
            _accounts[sts] = call(sts, "GetCallerIdentity")["Account"]
        return _accounts[sts]

    @property
    def location(self) -> S3Uri:
        """The prefix in the bucket below which everything is kept; ends in ``/``."""
        session = self.lookup()
        root = S3Uri(session.require("bucket"))
        return (root / session.prefix).prefix if session.prefix else root

    # -- connections ------------------------------------------------------------------------------------------------

    def client(self, service: str, *, timeout: float | None = None, attempts: int | None = None) -> Any:
        """Return this process's boto3 client of a service; thread-safe, made on first use, never pickled.

        Parameters
        ----------
        service : str
            boto3's name, such as ``sagemaker-runtime``.
        timeout : float or None
            Seconds without a byte after which a call is given up.
        attempts : int or None
            Tries that botocore makes; 1 where the caller retries itself.

        Raises
        ------
        SessionError
            If no region is found.
        """
        session = self.lookup()
        return clients.client(
            clients.Connection(
                service,
                session.require("region"),
                session.endpointUrl,
                session.accessKeyId,
                session.secretAccessKey,
                timeout,
                attempts,
            )
        )

    # -- the active session -----------------------------------------------------------------------------------------

    @classmethod
    def getOrCreate(cls) -> SageMakerSession:
        """Return the active session; where there is none, make one from Spark conf and environment and keep it.

        Raises
        ------
        SessionError
            If no region or no credentials are found.
        """
        with _active.lock:
            session = _active.get()
            if session is None:
                session = cls().resolve()
                _active.set(session)
            return session

    @classmethod
    def getActiveSession(cls) -> SageMakerSession | None:
        """Return the active session, or None; the same in every thread."""
        return _active.get()

    def activate(self) -> SageMakerSession:
        """Make this session the active one; inside an ``activated()`` block until that block ends."""
        _active.set(self)
        return self

    def activated(self) -> AbstractContextManager[SageMakerSession]:
        """Return a context manager: this session is the active one inside, the former is restored after."""
        return _active.during(self)

    # -- pickling ---------------------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without listeners, and with what the lookups give here."""
        session = self.lookup()
        state = {f.name: getattr(session, f.name) for f in fields(session) if f.name != "listeners"}
        return (_restore, (state,))

    def __copy__(self) -> SageMakerSession:
        """Return itself: it is frozen."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SageMakerSession:
        """Return itself: it is frozen, and its listeners are one for all copies of a stage."""
        return self


# The path that users import it from.
SageMakerSession.__module__ = "sagespark"

_active: Active[SageMakerSession] = Active()
_accounts: dict[Any, str] = {}


def _restore(state: dict[str, Any]) -> SageMakerSession:
    return SageMakerSession(**state)
