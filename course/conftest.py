"""Reports of the judges without the lines of the judges' own code."""

import pieces
import pytest

from minitransformers.errors import MinitransformersError
from minitransformers.testing import CheckError

SHORT = (CheckError, MinitransformersError, pieces.NotWrittenError)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(SHORT):
        report.longrepr = str(call.excinfo.value)
    return report
