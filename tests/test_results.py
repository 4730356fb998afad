"""RESULTS.md is what the committed code makes of the committed results."""

import pytest

from benchmarks import readme, report


def test_results_page_is_not_stale():
    assert report.PAGE.read_text("utf-8") == report.page(), "run: python -m benchmarks.report"


@pytest.mark.parametrize("language", readme.PAGES)
def test_readmes_tell_the_measured_numbers(language):
    assert readme.PAGES[language].read_text("utf-8") == readme.page(language), "run: python -m benchmarks.report"
