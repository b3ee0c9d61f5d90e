"""Figures, and what becomes of them: lines, files, plots. What they measure is not asserted anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import Figure, Scale
from benchmarks.figures import percentile
from benchmarks.plots import Curve, plot
from benchmarks.report import Taken, keep, line

SVG = "{http://www.w3.org/2000/svg}"


def points(*values: tuple[int, float], series: str = "steps") -> list[Figure]:
    return [Figure(f"{series} {size}", value, "µs", "a commit", 2.0, None, "", series, size) for size, value in values]


def test_a_figure_is_within_its_goal_or_beyond_it() -> None:
    assert Figure("turn", 5.0, "µs", "await", 0.1, 5.0).within is True
    assert Figure("turn", 5.1, "µs", "await", 0.1, 5.0).within is False
    assert Figure("cells", 5.1, "cells", "states", 1.0, 5.0, at_least=True).within is True
    assert Figure("cells", 4.9, "cells", "states", 1.0, 5.0, at_least=True).within is False
    assert Figure("turn", 5.1, "µs", "await", 0.1).within is None


def test_a_line_has_the_value_the_goal_the_baseline_and_the_ratio() -> None:
    text = line(Figure("one turn", 12.34, "µs", "await", 0.1, 10.0, "9 times"))
    assert text.split() == ["✗", "one", "turn", "12.3", "µs", "≤", "10", "123", "x", "await", "(0.1)", "9", "times"]


def test_a_scale_keeps_the_sizes_within_and_one_in_any_case() -> None:
    assert Scale(1_000).sizes(10, 1_000, 10_000) == (10, 1_000)
    assert Scale(1).sizes(10, 1_000) == (10,)


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (75, 3), (99, 4), (1, 1)])
def test_a_percentile_is_one_of_the_values(percent: int, value: int) -> None:
    assert percentile([4, 3, 1, 2], percent) == value


def test_kept_files_are_results_a_table_and_a_plot_for_each_benchmark_of_several_sizes(tmp_path: Path) -> None:
    taken = [Taken("replay", figure) for figure in points((10, 30.0), (100, 3.0))]
    taken.append(Taken("help", Figure("cloche --help", 70.0, "ms", "bare python", 8.0, 150)))
    files = keep(taken, "cloche bench", tmp_path)
    assert [file.suffix for file in files] == [".json", ".txt", ".svg"]
    data = json.loads(files[0].read_text())
    assert (data["command"], len(data["figures"]), data["figures"][2]["within"]) == ("cloche bench", 3, True)
    assert data["machine"]["cores"] >= 1
    assert files[1].read_text().count("\n") == 2 + len(taken)
    assert files[2].name == "replay.svg"


def test_a_plot_has_a_mark_for_every_point_and_a_line_for_every_curve() -> None:
    curves = [Curve("steps", [(100, 3.0), (10, 30.0)]), Curve("await", [(10, 0.1), (100, 0.1)], is_baseline=True)]
    text = plot("replay", "µs", curves, "a machine & a day")
    root = ElementTree.fromstring(text)
    marks = root.findall(f"{SVG}circle")
    assert len(marks) == 4
    lines = root.findall(f"{SVG}polyline")
    assert [line.get("stroke-dasharray") for line in lines] == [None, "5 4"]
    first, second = marks[:2]  # by size; a lower cost stands lower: y grows downwards
    assert float(first.get("cx", 0)) < float(second.get("cx", 0))
    assert float(first.get("cy", 0)) < float(second.get("cy", 0))
    assert "a machine & a day" in "".join(root.itertext())
    assert plot("replay", "µs", curves, "a machine & a day") == text


def test_a_plot_leaves_out_what_has_no_place_on_its_axes() -> None:
    root = ElementTree.fromstring(plot("memory", "MB", [Curve("runs", [(10, -0.5), (100, 1.0), (1_000, 0.0)])], ""))
    assert len(root.findall(f"{SVG}circle")) == 1
    assert ElementTree.fromstring(plot("nothing", "MB", [Curve("runs", [])], "")) is not None
