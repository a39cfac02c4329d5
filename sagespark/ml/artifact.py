"""Reading a model's artifact, ``model.tar.gz``, without unpacking it to disk."""

from __future__ import annotations

import io
import tarfile
from typing import Any

from numpy.typing import NDArray

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.codecs import ndarray
from sagespark.core.errors import CodecError, ValidationError
from sagespark.core.s3uri import S3Uri
from sagespark.ml.hosting import HostingRecord

FORMAT = "model.tar.gz"


def member(session: SageMakerSession, uri: str, prefix: str) -> bytes:
    """Return the content of the archive's first file whose name begins with ``prefix``. Calls GetObject.

    Parameters
    ----------
    session : SageMakerSession
    uri : str
        S3 URI of the archive.
    prefix : str
        Such as ``model_algo-``: AWS's containers name the file after the host that wrote it.

    Raises
    ------
    ServiceError
        If the object cannot be read.
    CodecError
        If it is no such archive, or has no such file; the message lists what it has.
    """
    body = s3.read_bytes(session, S3Uri.parse(uri))
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                names.append(name)
                if entry.isfile() and name.startswith(prefix):
                    stream = archive.extractfile(entry)
                    assert stream is not None
                    return stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CodecError(f"{uri} is no gzipped tar archive: {error}", contentType=FORMAT) from error
    raise CodecError(f"{uri} has no file {prefix}*; it has {', '.join(names) or 'nothing'}", contentType=FORMAT)


def arrays(record: HostingRecord, asked: str) -> tuple[list[NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the arrays of a model whose artifact is an NDArray file: all in order, and those that have names.

    Calls GetObject.

    Parameters
    ----------
    record : HostingRecord
    asked : str
        What they are read for, for messages.

    Raises
    ------
    ValidationError
        If only the model's endpoint is known.
    CodecError
        If the artifact holds no such file.
    """
    if record.modelData is None:
        raise ValidationError("only the model's endpoint is known, not its artifact", asked)
    found = ndarray.load(member(record.session, record.modelData, "model_algo-"))
    return (list(found.values()), found) if isinstance(found, dict) else (found, {})
