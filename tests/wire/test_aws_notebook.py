"""In a notebook's kernel: the service starts and ends, and an interrupt asks nobody where no front end takes input."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.wire

CELLS = [
    """
from sagespark import LocalSageMaker, SageMakerSession
from sagespark.aws import interrupt
local = LocalSageMaker()
session = local.start()
print(session.account)
""",
    """
answer = interrupt.ask(interrupt.Subject("km-1"))
print(SageMakerSession.getOrCreate() is session, interrupt.interactive(), answer)
""",
    "local.stop(); print(SageMakerSession.getActiveSession(), local.running)",
]


def test_a_notebook() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = [cell.outputs[0]["text"].strip() for cell in notebook.cells]
    assert printed == ["123456789012", "True False leave", "None False"]
