"""Execute every notebook in a fresh kernel; with ``--write`` keep the outputs in the files."""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent


def execute(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a fresh run; a cell that raises ends it."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        cell.get("metadata", {}).pop("execution", None)  # time stamps would change every commit
        if cell.cell_type == "code":
            # The JVM's log and the progress display belong to a run and its machine, not to the notebook.
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Run the notebooks named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    for path in given.notebooks or sorted(HERE.glob("*.ipynb")):
        done = execute(path)
        if given.write:
            nbformat.write(done, path)
        print(f"{path.name}: {sum(c.cell_type == 'code' for c in done.cells)} cells ran")


if __name__ == "__main__":
    main()
