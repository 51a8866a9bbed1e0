"""Size of a report, and the time until it is first seen, from file:// in headless Chromium.

    python benchmarks/report_view.py results/default/report/index.html

Needs Debian's packages chromium and chromium-driver.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import start_browser

PAINT = """
    return new Promise(done => new PerformanceObserver((list, observer) => {
        const paint = list.getEntriesByName('first-contentful-paint')[0];
        if (paint) { observer.disconnect(); done(paint.startTime); }
    }).observe({type: 'paint', buffered: true}))"""
LOADED = "return performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"


def main() -> None:
    """Open the report five times and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="index.html of a report")
    page = parser.parse_args().page.resolve()
    print(f"size: {page.stat().st_size / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder, start_browser(Path(folder)) as browser:
        browser.set_screen(1280)
        times: dict[str, list[float]] = {"first view": [], "scripts done": []}
        for _ in range(5):
            browser.open(page.as_uri())
            times["first view"].append(browser.run(PAINT))
            times["scripts done"].append(browser.run(LOADED))
    for name, each in times.items():
        print(f"{name}: {statistics.median(each):.0f} ms (median of {len(each)})")


if __name__ == "__main__":
    main()
