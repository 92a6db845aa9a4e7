"""Fixtures that several tests share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from rasterio.errors import NotGeoreferencedWarning
from runs import Ran

from workflows.cli import run

# the suite runs on busy machines: time says nothing about correctness
settings.register_profile(
    "suite", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests log may hold names that are no UTF-8, and reports travel between processes."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the folder of real data, ../shared, beside the checkout")
    return SHARED


@pytest.fixture
def espcn(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line, called within this process."""

    def call(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture(autouse=True)
def _without_georeferencing() -> None:
    """rasterio warns of images without georeferencing, which many tests write on purpose."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
