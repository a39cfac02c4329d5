"""A model's archive with the script's files in it, as the images of some frameworks want them: below ``code/``.

Source: ``sagemaker.utils.repack_model`` of AWS's SDK.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from sagespark.aws import s3
from sagespark.aws.session import SageMakerSession
from sagespark.core.s3uri import S3Uri

LEVEL = 1
"""Level of gzip: model files hardly shrink."""


def repack(session: SageMakerSession, model: S3Uri, source: S3Uri, target: S3Uri) -> None:
    """Write to ``target`` what ``model`` holds, with ``code/`` replaced by what ``source`` holds.

    Calls GetObject and PutObject, or a multipart upload. The driver's disk holds both archives for a moment.
    """
    with tempfile.TemporaryDirectory(prefix="sagespark-") as name:
        folder = Path(name)
        s3.download(session, model, folder / "model.tar.gz")
        s3.download(session, source, folder / "source.tar.gz")
        with tarfile.open(folder / "new.tar.gz", "w:gz", compresslevel=LEVEL) as new:
            for file, prefix in (("model.tar.gz", ""), ("source.tar.gz", "code/")):
                with tarfile.open(folder / file) as old:
                    for member in old:
                        plain = member.name.removeprefix("./")
                        if not prefix and (plain == "code" or plain.startswith("code/")):
                            continue
                        member.name = prefix + plain
                        if member.islnk():
                            member.linkname = prefix + member.linkname.removeprefix("./")
                        new.addfile(member, old.extractfile(member) if member.isfile() else None)
        s3.upload_file(session, folder / "new.tar.gz", target)
