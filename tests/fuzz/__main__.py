"""A campaign of any length: `make fuzz SEED=1 SECONDS=300`. The corpus is renewed with what was found, minimised."""

from __future__ import annotations

import argparse
import sys

from fuzz import outputs
from fuzz.campaign import TARGETS, campaign, minimised, read_corpus, write_corpus
from fuzz.oracles import Finding
from fuzz.seeds import SEEDS

ENDLESS = 1 << 62


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed and corpus give the same inputs")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--target", choices=TARGETS, action="append", help="default: all")
    options = parser.parse_args()
    targets = options.target or TARGETS
    for target in targets:
        first = [*read_corpus(target), *SEEDS[target]()]
        how = {"seed": options.seed, "runs": ENDLESS, "seconds": options.seconds // len(targets)}
        try:
            found = outputs.campaign(first, **how) if target == "outputs" else campaign(target, first, **how)
        except Finding as finding:
            sys.exit(f"{target}, seed {options.seed}: {finding}\nmend it, and pin the input in tests/fuzz/test_fuzz.py")
        print(found, flush=True)
        kept = outputs.minimised(found.kept) if target == "outputs" else minimised(target, found.kept)
        write_corpus(target, kept.kept)
        print(f"  corpus: {kept}", flush=True)


if __name__ == "__main__":
    main()
