"""What ``sagespark doctor`` looks at on AWS, or at the embedded service: endpoint, credentials, role, bucket."""

from __future__ import annotations

from collections.abc import Iterator

from sagespark.aws.errors import call, no_answer
from sagespark.aws.session import SageMakerSession
from sagespark.cli.check import Check
from sagespark.core.errors import ResourceNotFoundError, SageSparkError, ServiceError, SessionError

_EMBEDDED = 'or start the embedded service: eval "$(sagespark local start)"'


def account_checks(session: SageMakerSession) -> Iterator[Check]:
    """Yield the findings; what depends on a failed one is left out."""
    session = session.lookup()
    if session.region is None:
        yield Check("fail", "no AWS region was found", f"export AWS_REGION=us-east-1, {_EMBEDDED}")
        return
    at = session.endpointUrl or f"AWS, region {session.region}"
    try:
        who = call(session.client("sts", attempts=2), "GetCallerIdentity")
    except SessionError as error:
        yield Check("fail", f"credentials: {error.problems[0]}", _EMBEDDED)
        return
    except ServiceError as error:
        if no_answer(error):
            way = "is it running? `sagespark local status`" if session.endpointUrl else "check the network and proxy"
            yield Check("fail", f"endpoint: {at} does not answer", way)
        else:
            yield Check("fail", f"credentials: {error.message}", "aws sts get-caller-identity shows the same")
        return
    yield Check("ok", f"endpoint: {at}")
    yield Check("ok", f"credentials: {who['Arn']} (account {who['Account']})")
    yield _sagemaker(session)
    yield _role(session)
    yield _bucket(session)


def _sagemaker(session: SageMakerSession) -> Check:
    try:
        call(session.client("sagemaker", attempts=2), "ListTrainingJobs", MaxResults=1)
    except SageSparkError as error:
        return Check("fail", f"SageMaker: {error.message}", "ask for the policy AmazonSageMakerFullAccess, or its like")
    return Check("ok", "SageMaker answers")


def _role(session: SageMakerSession) -> Check:
    problem = session.role_problem()
    if session.role is None or problem is not None:
        return Check("fail", f"role: {problem}", "export SAGESPARK_ROLE=arn:aws:iam::ACCOUNT:role/NAME")
    name = session.role.rpartition("/")[2]
    try:
        call(session.client("iam", attempts=2), "GetRole", RoleName=name)
    except ResourceNotFoundError:
        return Check("fail", f"role: {session.role} does not exist", "aws iam list-roles shows those that do")
    except ServiceError as error:
        return Check("warn", f"role: {session.role} could not be looked at ({error.code})", "needs iam:GetRole")
    return Check("ok", f"role: {session.role}")


def _bucket(session: SageMakerSession) -> Check:
    try:
        session = session.resolve()
        call(session.client("s3", attempts=2), "HeadBucket", Bucket=session.bucket)
    except ResourceNotFoundError:
        default = f"sagemaker-{session.region}-{session.account}"
        if session.bucket == default:
            return Check("ok", f"bucket: {default} does not exist yet; the first fit makes it")
        return Check("fail", f"bucket: {session.bucket} does not exist", f"aws s3 mb s3://{session.bucket}")
    except SageSparkError as error:
        return Check("fail", f"bucket: {session.bucket}: {error.message}", "export SAGESPARK_BUCKET=a bucket of yours")
    return Check("ok", f"bucket: {session.bucket}")
