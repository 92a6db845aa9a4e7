"""Who may import whom: the table of ARCHITECTURE.md, enforced."""

from __future__ import annotations

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FORBIDDEN = {
    "pipeline": {"espcn", "workflows", "torch", "pydantic", "typer"},
    "espcn": {"pipeline", "workflows", "rasterio", "dask", "distributed", "zarr", "xarray"},
    "workflows": {"torch"},
}
ONLY_IN = {
    "distributed": {"pipeline/pool.py", "pipeline/cluster.py"},
    "prefect": {"workflows/nightly.py"},
    "dask.array": {"pipeline/lazy.py"},
    "pydantic": {"workflows/config.py"},
    "pydicom": {"pipeline/dicom/*"},
    "typer": {"workflows/cli.py", "workflows/cli_batch.py", "workflows/cli_models.py"},
}
MODULES = sorted(
    path.relative_to(ROOT).as_posix() for top in FORBIDDEN for path in (ROOT / top).rglob("*.py")
)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, but not for type checking only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {node.module or "", *(f"{node.module}.{a.name}" for a in node.names)}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_it_may(module: str) -> None:
    found = imports(ROOT / module)
    tops = {name.partition(".")[0] for name in found}
    assert not tops & FORBIDDEN[module.partition("/")[0]]
    for name, allowed in ONLY_IN.items():
        if not any(fnmatch(module, pattern) for pattern in allowed):
            assert not any(f == name or f.startswith(f"{name}.") for f in found)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_and_stays_readable(module: str) -> None:
    text = (ROOT / module).read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= 400
