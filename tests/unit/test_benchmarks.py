"""What the benchmarks say of their figures. Nothing is measured here."""

import json
import re
from pathlib import Path
from random import Random
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import targets
from benchmarks.figures import figure, quantile, ratio
from benchmarks.peers.registry import PEERS
from benchmarks.records import Records
from benchmarks.report import plots, text

ROOT = Path(__file__).resolve().parents[2]
TITLES = {
    "rooms": "rooms",
    "rooms-single": "rooms, one event a frame",
    "nchan": "nchan (nginx)",
    "socket.io": "socket.io, Node",
}
RUNS = {"fanout": {"date": "2026-11-24", "commit": "abc", "minutes": "1", "others": "0.00", "command": "make bench"}}


def fanout(peer: str, round: int, per_cpu: float, *, asked: int = 1) -> dict[str, Any]:
    told = {"part": "fanout", "round": round, "peer": peer, "readers": 1_000, "asked": asked, "window": asked}
    return {**told, "per_cpu": per_cpu, "events_a_frame": 1.0, "busy": 0.5}


def test_a_figure_is_the_median_and_of_few_rounds_the_whole_range() -> None:
    found = figure([3, 1, 2])
    assert (found.median, found.low, found.high, found.confidence) == (2, 1, 3, 0.75)
    assert figure([1, 2, 3, 10]).median == 2.5
    with pytest.raises(ValueError, match="no values"):
        figure([])


def test_of_many_rounds_the_interval_leaves_out_what_it_may() -> None:
    found = figure(range(1, 11))
    assert (found.low, found.high) == (2, 9)  # the order statistics of 10 at 97.9 %; one more at each end is 89 %
    assert found.confidence == pytest.approx(0.979, abs=0.001)


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    chance = Random(7)
    held = 0
    for _ in range(2_000):
        found = figure([chance.expovariate(1) for _ in range(9)])
        held += found.low <= 0.6931 <= found.high
    assert held / 2_000 == pytest.approx(figure(range(9)).confidence, abs=0.015)


def test_a_ratio_is_of_rounds_that_both_have() -> None:
    found = ratio({0: 10, 1: 30, 2: 8}, {0: 5, 1: 10, 3: 1})
    assert found is not None
    assert (found.median, found.rounds) == (2.5, 2)
    assert ratio({0: 1}, {1: 1}) is None


def test_a_quantile_of_what_is_in_no_order() -> None:
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile([5, 1, 4, 2, 3], 0.99) == 5


def test_a_ratio_is_against_the_peer_at_its_best() -> None:
    ours = fanout("rooms-single", 0, 100, asked=64)
    records = [ours, fanout("nchan", 0, 100), fanout("nchan", 0, 200, asked=64)]
    rows = {row[0]: row[2:] for row in targets.rows(Records(records, TITLES))}
    (seen,) = (row for what, row in rows.items() if "one event a frame" in what and "nchan" in what)
    assert seen == ["0.50", "**no**"]


def test_a_peer_that_did_not_start_voids_its_ratios_and_says_why() -> None:
    broken = {
        "part": "fanout",
        "round": 0,
        "peer": "nchan",
        "readers": 1_000,
        "failed": "nginx did not start: no module",
    }
    ours = fanout("rooms-single", 0, 100, asked=64)
    records = Records([ours, fanout("socket.io", 0, 50), broken], TITLES)
    rows = [row for row in targets.rows(records) if "one event a frame" in row[0]]
    verdicts = {theirs: row[2:] for row in rows for theirs in TITLES.values() if row[0].endswith(theirs)}
    assert verdicts["nchan (nginx)"] == ["void: nginx did not start: no module", "void"]
    assert verdicts["socket.io, Node"] == ["2.00", "yes"]
    page = text(records, RUNS, {"processor": "one"})
    assert page.count("nginx did not start: no module") >= 3  # in its row, in its ratios, in the list of failures


def of_all_parts() -> list[dict[str, Any]]:
    """A round of each part, and of each something that came to nothing."""
    times = {"p50_ms": 1.0, "p99_ms": 2.0, "last_p50_ms": 1.5, "last_p99_ms": 3.0}
    ours = {"round": 0, "peer": "rooms", "readers": 1_000}
    found = [
        fanout("rooms", 0, 100),
        {**fanout("rooms", 0, 400, asked=64), "window": 17},
        {**ours, "part": "fanout", "rate": 20, **times},
        fanout("nchan", 0, 100),
        {**ours, "part": "fanout", "peer": "nchan", "rate": 20, "cannot": "cannot hold 20 a second"},
        {**ours, "part": "commit", "peer": "SQLite", **times},
        {**ours, "part": "rest", "kb": 20.0, "handshakes_per_second": 1.0, "handshakes_per_cpu": 1.0},
        {**ours, "part": "beside", "large": 0, **times},
        {**ours, "part": "beside", "large": 9, "large_per_second": 5.0, **times},
        {**ours, "part": "growth", "rooms": 1, "window": 1, "per_cpu": 10.0},
    ]
    after = {"grown_kb": 5.0, "behind": 0, "disorder": 0, "cut": 0, "caught_up_s": 0.1}
    found += [{**ours, "part": "stopped", "stopped": count, **times, **after} for count in (0, 1, 100)]
    parts = ("fanout", "commit", "rest", "stopped", "beside", "growth")
    return found + [{**ours, "part": part, "peer": "socket.io", "failed": "a|b"} for part in parts]


def test_every_line_of_a_table_has_the_cells_of_its_head() -> None:
    page = text(Records(of_all_parts(), TITLES), RUNS, {"processor": "one"})
    tables = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    assert len(tables) == 10
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_a_target_is_judged_by_what_was_measured_with_it() -> None:
    rows = {row[0]: row[1:] for row in targets.rows(Records(of_all_parts(), TITLES))}
    assert rows["KB of a connection at rest"] == ["≤ 20", "20.0", "yes"]
    assert rows["1,000 readers, 20 messages a second: p99 ms to the last reader"][2] == "void"  # nchan has no latency
    assert rows["a room of 20 beside a large one at full rate: p99 ms, less what it is alone"][1:] == ["0.0", "yes"]
    assert rows["100 of 1,000 stop reading (rooms): p99 of the others ÷ before"] == ["≤ 1.1", "1.00", "yes"]


def test_plots_are_svg() -> None:
    records = [fanout("rooms", round, 100 + round) for round in range(3)] + [fanout("nchan", 0, 2e6)]
    growth = [{"part": "growth", "round": 0, "peer": "rooms", "rooms": 1, "window": 1} for _ in range(2)]
    records += [{**each, "readers": n, "per_cpu": 1e5 / n} for each, n in zip(growth, (10, 1_000), strict=True)]
    drawn = plots(Records(records, {**TITLES, "nchan": "nchan <nginx> & co"}))
    assert set(drawn) == {"fanout-1000.svg", "readers.svg"}
    for each in drawn.values():
        assert ET.fromstring(each).tag.endswith("svg")
    assert "nchan <nginx> & co" in "".join(ET.fromstring(drawn["fanout-1000.svg"]).itertext())


def test_the_readme_quotes_the_last_run() -> None:
    kept = json.loads((ROOT / "benchmarks" / "results" / "results.json").read_text())
    records = Records(kept["records"], {name: peer.title for name, peer in PEERS.items()})
    section = (ROOT / "README.md").read_text().partition("## How fast\n")[2].partition("\n## ")[0]
    assert f"run of {kept['runs']['fanout, 1000 readers']['date']}" in section
    quoted = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    names = {title: name for name, title in records.titles.items()}
    for title, *figures in quoted[2:]:
        for asked, shown in zip((1, 64), figures, strict=False):
            found = records.figure("per_cpu", "fanout", peer=names[title], readers=1_000, asked=asked)
            assert found is not None
            assert shown == f"{found.median:,.0f}", title
    assert len(quoted) > 5
