"""Campaigns: the fuzzer in C makes inputs, Python judges each, and both say which are worth keeping.

The corpus (`corpus/*.hex`, an input a line) holds inputs that together take every way seen so far, the smallest first. The same
seed, corpus and count of runs give the same campaign.
"""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from fuzz import native
from fuzz.oracles import Finding, Ways, judge_events, judge_messages, judge_output, judge_value

Native = Literal["values", "events"]  # targets where C takes part
Target = Literal[Native, "outputs"]
NATIVE: Final[tuple[Native, ...]] = ("values", "events")
TARGETS: Final[tuple[Target, ...]] = (*NATIVE, "outputs")
CORPUS: Final = Path(__file__).parent / "corpus"
INTERPRETER: Final = native.HERE / "interpreter.js"
BATCH, END, OUTPUT_MAX, INPUT_MAX = 64, 0xFFFFFFFF, 1 << 20, 2048


@dataclass
class Report:
    target: Target
    runs: int = 0
    seconds: float = 0.0
    edges_reached: int = 0
    edges: int = 0
    ways: int = 0  # from line to line in Python
    kept: list[bytes] = field(default_factory=list)

    def __str__(self) -> str:
        each = self.runs / self.seconds if self.seconds else 0
        native = f"C {self.edges_reached} of {self.edges} edges, " if self.edges else ""
        ran = f"{self.runs} runs in {self.seconds:.1f} s ({each:.0f}/s)"
        return f"{self.target}: {ran}, {native}Python {self.ways} ways, {len(self.kept)} inputs kept"


@dataclass(frozen=True, slots=True)
class Tried:
    data: bytes
    outcome: int
    is_new: bool
    consumed: int
    output: bytes


def campaign(
    target: Native,
    first: Iterable[bytes],
    *,
    seed: int,
    runs: int,
    seconds: int = 0,
    program: Path | None = None,
    watch: Callable[[Tried], object] = lambda _: None,
) -> Report:
    """Tries `first`, then up to `runs` inputs made from them and from what was found (0 seconds: no limit).

    `program` is the native guest, by default the one under UBSan, which alone reports its ways. `watch` is told of each input.

    Raises:
        Finding: with the input, in hex.
    """
    report, ways = Report(target), Ways()
    judge = _judge_value if target == "values" else _judge_events
    begun = time.monotonic()
    with _fuzzer(program or native.undefined(), target, seed, runs, seconds) as fuzzer:
        assert fuzzer.stdout is not None
        first = list(first)
        _write(fuzzer, struct.pack("I", len(first)) + b"".join(struct.pack("I", len(x)) + x for x in first))
        for batch in _batches(fuzzer, len(first)):
            wanted = [ways.took_a_new_one(judge, tried) for tried in batch]
            report.runs += len(batch)
            for tried in batch:
                watch(tried)
            report.kept += [tried.data for tried, new in zip(batch, wanted, strict=True) if new or tried.is_new]
            _write(fuzzer, bytes(wanted))
        report.edges_reached, report.edges, _ = struct.unpack("3I", fuzzer.stdout.read(12))
    report.seconds = time.monotonic() - begun
    report.ways = len(ways.seen)
    return report


def minimised(target: Native, inputs: Iterable[bytes]) -> Report:
    """The smallest of `inputs` first; each is kept if it takes a way that none before it took."""
    return campaign(target, sorted(set(inputs), key=lambda data: (len(data), data)), seed=0, runs=0)


def read_corpus(target: Target) -> list[bytes]:
    return [bytes.fromhex(line) for line in (CORPUS / f"{target}.hex").read_text().splitlines()]


def write_corpus(target: Target, inputs: Sequence[bytes]) -> None:
    (CORPUS / f"{target}.hex").write_text("".join(data.hex() + "\n" for data in inputs))


# ---- the fuzzer's side -------------------------------------------------------------------------------------------------


def _fuzzer(program: Path, target: Native, seed: int, runs: int, seconds: int) -> subprocess.Popen[bytes]:
    workflow = [str(INTERPRETER)] if target == "events" else []
    command = [str(program), f"fuzz-{target}", str(seed), str(runs), str(seconds), *workflow, *native.prelude()]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=native.environment())


def _batches(fuzzer: subprocess.Popen[bytes], first: int) -> Iterator[list[Tried]]:
    assert fuzzer.stdout is not None
    batch: list[Tried] = []
    while (tried := _read(fuzzer)) is not None:
        batch.append(tried)
        first -= 1
        if len(batch) == BATCH or first == 0:
            yield batch
            batch = []
    if batch:
        yield batch


def _read(fuzzer: subprocess.Popen[bytes]) -> Tried | None:
    stream = fuzzer.stdout
    assert stream is not None
    (size,) = struct.unpack("I", _exactly(fuzzer, stream, 4))
    if size == END:
        return None
    data = _exactly(fuzzer, stream, size)
    outcome, is_new, consumed, produced = struct.unpack("=BBII", _exactly(fuzzer, stream, 10))
    return Tried(data, outcome, bool(is_new), consumed, _exactly(fuzzer, stream, produced))


def _write(fuzzer: subprocess.Popen[bytes], data: bytes) -> None:
    """It may have ended with a finding: reading its answer will tell."""
    assert fuzzer.stdin is not None
    with suppress(BrokenPipeError):
        fuzzer.stdin.write(data)
        fuzzer.stdin.flush()


def _exactly(fuzzer: subprocess.Popen[bytes], stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        assert fuzzer.stderr is not None
        report = fuzzer.stderr.read().decode(errors="replace")
        assert fuzzer.stdin is not None
        with suppress(BrokenPipeError):  # what waits in it reaches no one
            fuzzer.stdin.close()
        raise Finding(f"the native guest ended: {report[-6000:]}")
    return data


# ---- judgement ---------------------------------------------------------------------------------------------------------


def _judge_value(tried: Tried) -> None:
    judge_value(tried.data, tried.outcome, tried.consumed, tried.output)


def _judge_events(tried: Tried) -> None:
    """What was taken and what came out is well formed; what went in is tried as if a guest had written it."""
    if tried.outcome == 0:
        judge_events(tried.data)
    if len(tried.output) < OUTPUT_MAX:
        judge_output(tried.output)
    judge_messages(tried.data)
