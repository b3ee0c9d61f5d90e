"""`python -m test262 [SHARE]`: how much passes, by part, and what does not beside known.txt. `TEST262` names a checkout."""

from __future__ import annotations

import sys
from collections import Counter

from test262.campaign import COMMIT, checkout, known, run, scenarios


def main() -> int:
    root = checkout()
    if root is None:
        print(f"TEST262 must name a repository of tc39/test262 that has the commit {COMMIT}", file=sys.stderr)
        return 2
    passed, count, reasons, unknown, expected = Counter[str](), Counter[str](), Counter[str](), 0, known()
    for scenario in scenarios(root, float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        part = scenario.path.split("/")[1]
        why = run(root, scenario)
        count[part] += 1
        passed[part] += not why
        if why and str(scenario) in expected:
            reasons[expected[str(scenario)]] += 1
        elif why or str(scenario) in expected:
            unknown += 1
            print(f"{scenario}  {why or 'passes, and known.txt has it'}", flush=True)
    for part in sorted(count):
        print(f"{part}: {passed[part]} of {count[part]} pass, {100 * passed[part] / count[part]:.2f} %")
    for reason, number in reasons.items():
        print(f"{number}: {reason}")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
