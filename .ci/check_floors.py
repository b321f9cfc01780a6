"""Hold the main figures of a run against their floors: ``check_floors.py summary.json``.

The floors lie below what the quick profile reaches on the release files, by more than the noise: they catch
what breaks, and do not measure progress. Exits with 1 and names each figure that is missing or too low.
"""

import json
import sys
from pathlib import Path
from typing import Any

#: Which headline figure, and its floor.
FLOORS: list[tuple[dict[str, str], float]] = [
    ({"model": "ensemble", "metric": "top1", "origin": "ddxplus"}, 0.97),
    ({"model": "ensemble", "metric": "differential_f1", "origin": "ddxplus"}, 0.88),
    ({"model": "ranker", "metric": "top1", "origin": "published_case"}, 0.38),
    ({"model": "ranker", "metric": "top10", "origin": "published_case"}, 0.50),
]


def matches(row: dict[str, Any], wanted: dict[str, str]) -> bool:
    """Say whether a headline row is the one that is wanted."""
    return all(str(row.get(field)) == value for field, value in wanted.items())


def main(path: str) -> int:
    """Print each figure beside its floor; give the exit code."""
    summary = json.loads(Path(path).read_text(encoding="utf-8"))
    problems = [] if summary["success"] else [f"the run failed: {summary['failed']}"]
    for wanted, floor in FLOORS:
        rows = [row for row in summary["metrics"] if matches(row, wanted)]
        if not rows:
            problems.append(f"no figure {wanted}")
        for row in rows:
            print(f"{wanted}: {row['value']:.3f} (floor {floor}, n {row['n']}, {row.get('origin')})")
            if row["value"] < floor:
                problems.append(f"{wanted} is {row['value']:.3f}, below {floor}")
    if summary.get("example") is None:
        problems.append("the bento answered no example")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
