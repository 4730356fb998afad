"""RESULTS.md is what the committed code makes of the committed results."""

from benchmarks import report


def test_results_page_is_not_stale():
    assert report.PAGE.read_text("utf-8") == report.page(), "run: python -m benchmarks.report"
