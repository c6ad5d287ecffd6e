"""Add up the results of several runs of pytest: `python -m tests.helpers.summary DIRECTORY SECONDS CODE...`.

Reads DIRECTORY/NAME/results.xml (JUnit's format) of each run and prints one line for each and one, in
pytest's own form, for all, which took SECONDS. The exit code is 0 when every CODE is 0, or 5 (no tests for
that user), and some test ran.
"""

import sys
from pathlib import Path
from xml.etree import ElementTree

NO_TESTS = 5


def counts(file: Path) -> dict[str, float]:
    """Return what the results of one run say: tests by outcome, and seconds."""
    suite = next(ElementTree.parse(file).getroot().iter("testsuite"))
    failed, errors, skipped = (int(suite.get(name, 0)) for name in ("failures", "errors", "skipped"))
    passed = int(suite.get("tests", 0)) - failed - errors - skipped
    return {
        "failed": failed,
        "passed": passed,
        "skipped": skipped,
        "errors": errors,
        "seconds": float(suite.get("time", 0)),
    }


def line(result: dict[str, float]) -> str:
    parts = [f"{result[k]:.0f} {k}" for k in ("failed", "passed", "skipped", "errors") if result[k]]
    return f" {', '.join(parts) or 'no tests ran'} in {result['seconds']:.2f}s "


def main(directory: str, seconds: str, *codes: str) -> int:
    total = dict.fromkeys(("failed", "passed", "skipped", "errors", "seconds"), 0.0)
    print()
    for file in sorted(Path(directory).glob("*/results.xml")):
        result = counts(file)
        print(f"{file.parent.name + ':':<12}{line(result)}")
        total = {key: total[key] + result[key] for key in total}
    print(line(total | {"seconds": float(seconds)}).center(80, "="))
    bad = [code for code in codes if int(code) not in (0, NO_TESTS)]
    return 1 if bad or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
