"""`corekit check-plugin`: every promise of every component of a package."""

from __future__ import annotations

import argparse
import warnings
from itertools import groupby
from typing import TYPE_CHECKING

from corekit.cli.table import print_json, print_table

if TYPE_CHECKING:
    from corekit.testing import CheckResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "name", metavar="NAME", help="of a plugin or of its distribution; corekit is core itself"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: every check, every case")
    parser.add_argument("--slow", action="store_true", help="run the slow checks too")


def run(args: argparse.Namespace) -> int:
    """Check; the exit code is 4 if a check failed."""
    from corekit.testing.plugin import check_plugin

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is built only to be checked
        results = list(check_plugin(args.name, slow=args.slow))
    wrong = [result for result in results if not result.ok]
    if args.json:
        print_json(
            {"name": args.name, "passed": not wrong, "checks": [r._asdict() for r in results]}
        )
        return 4 if wrong else 0
    _print_components(results)
    for result in results:
        if result.status != "passed":
            where = f" ({result.case})" if result.case else ""
            print(
                f"\n{result.status}: {result.component}{where}\n  {result.check}: {result.detail}"
            )
    verdict = f"{len(wrong)} failed" if wrong else "all as promised"
    print(f"\n{args.name}: {len(results)} checks, {verdict}")
    return 4 if wrong else 0


def _print_components(results: list[CheckResult]) -> None:
    rows = []
    for component, group in groupby(results, key=lambda result: result.component):
        of = list(group)
        failed = sum(not result.ok for result in of)
        cases = len({result.case for result in of})
        seconds = sum(result.seconds for result in of)
        rows.append((component, str(cases), str(len(of)), str(failed), f"{seconds:.1f}"))
    if rows:
        print_table(("COMPONENT", "CASES", "CHECKS", "FAILED", "SECONDS"), rows)
