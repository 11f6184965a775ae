"""Reports of the judges without the lines of the judges' own code."""

import pieces
import pytest

from minitransformers.testing import CheckError


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance((CheckError, pieces.NotWrittenError)):
        report.longrepr = str(call.excinfo.value)
    return report
