"""`python -m libraries_python`: all programs, and the table in docs/python.md with `--keep`."""

from __future__ import annotations

import sys
from pathlib import Path

from libraries_python.campaign import IMPORTED, Verdict, compared, names

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BEGIN, END = "<!-- libraries -->\n", "<!-- end of libraries -->\n"


def main() -> int:
    asked = [name for name in sys.argv[1:] if name != "--keep"] or names()
    verdicts = []
    for verdict in compared(asked):
        print(f"{'NOT' if verdict.why else 'right'}  {verdict.name}  {verdict.why}", flush=True)
        verdicts.append(verdict)
    print(f"{sum(not one.why for one in verdicts)} of {len(verdicts)} give CPython's answer")
    if "--keep" in sys.argv:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(verdicts) + END + rest.partition(END)[2], "utf-8")
    return 0


def table(verdicts: list[Verdict]) -> str:
    right = sum(not one.why for one in verdicts)
    lines = [
        f"{right} of {len(verdicts)} programs give CPython's answer.\n",
        "| program | imported at the bake | image, kB | answer |",
        "| --- | --- | --- | --- |",
    ]
    for one in verdicts:
        said = one.why.replace("|", "\\|") if one.why else "CPython's"
        lines.append(f"| {one.name} | {'yes' if one.name in IMPORTED else ''} | {one.image_bytes // 1000} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
