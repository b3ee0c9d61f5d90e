"""`python -m cpython [MODULE…]`: how much passes, by module, and what fails beside known.txt; `--keep` renews the page."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from cpython.campaign import LATER, LEFT_OUT, MODULES, Unavailable, plain_guest, reason_of, run, suite_folder

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BEGIN, END = "<!-- cpython -->\n", "<!-- end of cpython -->\n"
ENDS = ("passes", "skips", "absent", "fails")


def main() -> int:
    asked = [name for name in sys.argv[1:] if name != "--keep"] or MODULES
    try:
        base, folder = plain_guest(), suite_folder()
    except Unavailable as why:
        print(why, file=sys.stderr)
        return 2
    rows: dict[str, Counter[str]] = {}
    reasons, unknown = Counter[str](), 0
    for module in asked:
        ends = rows[module] = Counter[str]()
        for verdict in run(base, folder, module):
            ends[verdict.end] += 1
            if verdict.end == "fails":
                reason = reason_of(verdict.test)
                reasons[reason or "not known"] += 1
                unknown += not reason
                if not reason:
                    print(f"{verdict.test}  {verdict.why}", flush=True)
        print(f"{module}:", ", ".join(f"{ends[one]} {one}" for one in ENDS), flush=True)
    made = table(rows, reasons)
    print(made)
    if "--keep" in sys.argv:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + made + END + rest.partition(END)[2], "utf-8")
    return 1 if unknown else 0


def table(rows: dict[str, Counter[str]], reasons: Counter[str]) -> str:
    whole = sum(rows.values(), Counter[str]())
    judged = whole["passes"] + whole["fails"] - reasons[LATER] - reasons[LEFT_OUT]
    absent = whole["absent"] + reasons[LEFT_OUT]
    share = 100 * whole["passes"] / max(judged, 1)
    lines = [
        f"{whole['passes']:,} of {judged:,} tests pass, {share:.1f} %. Besides, {reasons[LATER]} fail for what a later release",
        f"changed, {whole['skips']:,} skip themselves, and {absent:,} ask for what is absent on purpose.\n",
        "| fail | why |",
        "| --- | --- |",
        *(f"| {count} | {reason} |" for reason, count in reasons.most_common()),
        "",
        "| module | pass | skip themselves | absent on purpose | fail |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, ends in rows.items():
        lines.append(f"| {name.removeprefix('test_')} | " + " | ".join(str(ends[one]) for one in ENDS) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
