"""Persistence of every stage: one JSON document in ``{path}/metadata``, as MLlib's stages have it.

The document has MLlib's fields (``class timestamp sparkVersion uid paramMap defaultParamMap``), so that Pipelines,
CrossValidators and OneVsRest of pyspark read it too, and ``sagespark`` for what is ours: the version, and of a model
the region, the account, the endpoint and the model data. Spark itself writes and reads it, to whatever file system
the path names.
"""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

from pyspark.ml.util import MLReader, MLWriter
from pyspark.sql.utils import is_remote

from sagespark.aws.clients import version
from sagespark.aws.session import SageMakerSession
from sagespark.core.clock import SystemClock
from sagespark.core.errors import ValidationError

if TYPE_CHECKING:
    from sagespark.ml.stage import Stage


class StageWriter(MLWriter):
    """Write a stage.

    Parameters
    ----------
    instance : Stage
        An estimator or a model.
    """

    def __init__(self, instance: Stage) -> None:
        super().__init__()
        self.instance = instance

    def save(self, path: str) -> None:
        """Save to a path of any file system that Spark knows.

        Parameters
        ----------
        path : str
            Folder; refused where it exists, unless ``overwrite()`` was called.
        """
        if not isinstance(path, str):
            raise TypeError(f"path must be a string, but got {path!r}")
        if self.shouldOverwrite and is_remote():
            # Spark Connect has no call that removes a folder; the document is all that a stage keeps there.
            self._write(path, "overwrite")
        else:
            super().save(path)

    def saveImpl(self, path: str) -> None:
        """Write the document; whatever had to be overwritten is gone."""
        self._write(path, "error")

    def _write(self, path: str, mode: str) -> None:
        frame = self.sparkSession.createDataFrame([(json.dumps(self._document()),)], "value string")
        frame.coalesce(1).write.mode(mode).text(_metadata(path))

    def _document(self) -> dict[str, Any]:
        stage = self.instance
        return {
            "class": f"{type(stage).__module__}.{type(stage).__qualname__}",
            "timestamp": int(SystemClock().now().timestamp() * 1000),
            "sparkVersion": self.sparkSession.version,
            "uid": stage.uid,
            "paramMap": {param.name: value for param, value in stage._paramMap.items()},
            "defaultParamMap": {param.name: value for param, value in stage._defaultParamMap.items()},
            "sagespark": {"version": version(), **stage._saved()},
        }


class StageReader(MLReader[Any]):
    """Read a stage.

    Parameters
    ----------
    cls : type
        Class that is asked for; what is read is one of it, or of a class below it.
    """

    def __init__(self, cls: type[Stage]) -> None:
        super().__init__()
        self._cls = cls
        self._sagemaker: SageMakerSession | None = None

    def sagemakerSession(self, session: SageMakerSession) -> StageReader:
        """Give the stage this session instead of the active one; ``session()`` is Spark's."""
        self._sagemaker = session
        return self

    def load(self, path: str) -> Any:
        """Return the stage that was saved to a path. Creates nothing in AWS.

        Raises
        ------
        ValidationError
            If the path holds something else, or the session is of another region or account than the model.
        """
        row = self.sparkSession.read.text(_metadata(path)).first()
        if row is None:
            raise ValidationError(f"{_metadata(path)} is empty; it must hold a stage's metadata", "load")
        document = json.loads(row[0])
        stage = self._class(document, path)()
        stage._resetUid(document["uid"])
        self._set(stage, document)
        stage._restore(document["sagespark"], self._sagemaker)
        return stage

    def _class(self, document: dict[str, Any], path: str) -> type[Stage]:
        name = str(document["class"])
        module, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(module), last) if "sagespark" in document else None
        if not (isinstance(found, type) and issubclass(found, self._cls)):
            raise ValidationError(f"{path} holds a {name}; load it with {last}.load", f"{self._cls.__name__}.load")
        return found

    def _set(self, stage: Stage, document: dict[str, Any]) -> None:
        saved = {**document["defaultParamMap"], **document["paramMap"]}
        unknown = sorted(name for name in saved if not stage.hasParam(name))
        if unknown:
            raise ValidationError(
                f"{stage.uid} was saved by version {document['sagespark']['version']} with Params that version "
                f"{version()} does not have: {', '.join(unknown)}",
                "load",
            )
        stage._setDefault(**document["defaultParamMap"])
        stage._set(**document["paramMap"])


def _metadata(path: str) -> str:
    return f"{path.rstrip('/')}/metadata"
