"""`python -m test262 [SHARE]`: what does not pass, and how much does; by part. `TEST262` names a checkout."""

from __future__ import annotations

import sys
from collections import Counter

from test262.campaign import COMMIT, checkout, run, scenarios


def main() -> int:
    root = checkout()
    if root is None:
        print(f"TEST262 must name a repository of tc39/test262 that has the commit {COMMIT}", file=sys.stderr)
        return 2
    passed, count = Counter[str](), Counter[str]()
    for scenario in scenarios(root, float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        part = scenario.path.split("/")[1]
        why = run(root, scenario)
        count[part] += 1
        passed[part] += not why
        if why:
            print(f"{scenario}  {why}", flush=True)
    for part in sorted(count):
        print(f"{part}: {passed[part]} of {count[part]} pass, {100 * passed[part] / count[part]:.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
