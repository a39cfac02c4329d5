"""What estimators and models have in common: the session, the listeners, persistence, column Params."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pyspark.ml.util import MLReadable, MLWritable

from sagespark.algorithms.spec import AlgorithmSpec
from sagespark.aws.session import SageMakerSession
from sagespark.core.errors import ValidationError
from sagespark.ml.listeners import Listener, everywhere
from sagespark.ml.params import StageParams
from sagespark.ml.progress import with_progress
from sagespark.ml.readwrite import StageReader, StageWriter


class Stage(StageParams, MLWritable, MLReadable[Any]):
    """A stage that speaks to SageMaker."""

    _keywords: ClassVar[tuple[str, ...]] = ("sagemakerSession", "listeners")
    _spec: ClassVar[AlgorithmSpec | None] = None
    """Row of the built-in algorithm; None for stages of any image."""
    _session: SageMakerSession | None = None

    # -- session ----------------------------------------------------------------------------------------------------

    def setSagemakerSession(self, value: SageMakerSession | None) -> Self:
        """Use this session; None: the active one, at each use."""
        if value is not None and not isinstance(value, SageMakerSession):
            raise TypeError(f"sagemakerSession must be a SageMakerSession, but got {value!r}")
        self._session = value
        return self

    def getSagemakerSession(self) -> SageMakerSession | None:
        """Return the session of this stage: the one given, else the active one, else None."""
        return self._session or SageMakerSession.getActiveSession()

    def _known_session(self) -> SageMakerSession:
        """Return the session to use, with what can be looked up without a call; a plan needs no more."""
        return (self._session or SageMakerSession.getOrCreate()).lookup()

    def _resolved_session(self) -> SageMakerSession:
        """Return the session to use, with its bucket too; at most one STS GetCallerIdentity."""
        return self._known_session().resolve()

    # -- listeners --------------------------------------------------------------------------------------------------

    def setListeners(self, value: Sequence[Listener] | None) -> Self:
        """Let these listeners hear of this stage's jobs, beside the session's."""
        found = tuple(value or ())
        for listener in found:
            if not isinstance(listener, Listener):
                raise TypeError(f"listeners must be Listeners, but got {listener!r}")
        self._kept["listeners"] = found
        return self

    def getListeners(self) -> tuple[Listener, ...]:
        """Return the listeners of this stage."""
        return tuple(self._kept.get("listeners", ()))

    def _all_listeners(self, session: SageMakerSession) -> tuple[Listener, ...]:
        return with_progress((*everywhere(), *session.listeners, *self.getListeners()))

    # -- persistence ------------------------------------------------------------------------------------------------

    def write(self) -> StageWriter:
        """Return a writer: ``write().overwrite().save(path)``."""
        return StageWriter(self)

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader: ``read().sagemakerSession(session).load(path)``."""
        return StageReader(cls)

    @classmethod
    def load(cls, path: str) -> Self:
        """Return the stage that was saved to a path, with the active session; see `read`. Creates nothing in AWS."""
        stage: Self = cls.read().load(path)
        return stage

    def _saved(self) -> dict[str, Any]:
        """Return what is saved beside the Params."""
        return {}

    def _restore(self, saved: dict[str, Any], session: SageMakerSession | None) -> None:
        """Take back what `_saved` gave; creates nothing."""
        self._session = session

    # -- columns ----------------------------------------------------------------------------------------------------

    def _values(self) -> dict[str, Any]:
        """Return the values and defaults of all Params by name."""
        return {param.name: value for param, value in self.extractParamMap().items()}

    def _refuse(self, problems: Sequence[str], where: str = "") -> None:
        """Raise where there are problems, all of them together."""
        if problems:
            raise ValidationError(list(dict.fromkeys(problems)), f"{self.uid}{where and '.' + where}")
