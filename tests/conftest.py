"""What every test may rely on.

With RLVR_REQUIRE_ALL=1 a skipped test fails, unless it needs a GPU: continuous integration provides everything else.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

GPU_WORD = "GPU"
pytest_plugins = ("object_store", "kubernetes_server")


# A slow machine is no counter-example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required = os.environ.get("RLVR_REQUIRE_ALL") == "1"
    if required and report.skipped and not hasattr(report, "wasxfail") and GPU_WORD not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped although RLVR_REQUIRE_ALL=1: {report.longrepr}"
    return report
