"""`python -m libraries`: all programs, and the table in docs/javascript.md with `--keep`."""

from __future__ import annotations

import sys
from pathlib import Path

from libraries.campaign import PROGRAMS, Verdict, compared, prepare

PAGE = Path(__file__).parents[2] / "docs" / "javascript.md"
BEGIN, END = "<!-- libraries -->\n", "<!-- end of libraries -->\n"


def main() -> int:
    names = (
        sys.argv[1:] if sys.argv[1:] not in ([], ["--keep"]) else sorted(file.stem for file in PROGRAMS.glob("*.js"))
    )
    verdicts = []
    for verdict in compared(prepare(), names):
        print(f"{'right' if not verdict.why else 'NOT'}  {verdict.name}  {verdict.why}", flush=True)
        verdicts.append(verdict)
    right = sum(not verdict.why for verdict in verdicts)
    print(f"{right} of {len(verdicts)} give Node's answer")
    if "--keep" in sys.argv:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(verdicts) + END + rest.partition(END)[2], "utf-8")
    return 0


def table(verdicts: list[Verdict]) -> str:
    right = sum(not verdict.why for verdict in verdicts)
    lines = [
        f"{right} of {len(verdicts)} programs give Node's answer.\n",
        "| program | bundle, kB | fuel of its load, 10⁶ | answer |",
    ]
    lines.append("| --- | --- | --- | --- |")
    for one in verdicts:
        said = one.why.replace("|", "\\|").replace("\n", " ") if one.why else "Node's"
        lines.append(f"| {one.name} | {one.bundle_bytes // 1000} | {one.load_fuel // 10**6} | {said} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
