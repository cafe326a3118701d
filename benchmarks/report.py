"""What came of a run, as Markdown and plots. Pure: records in, text out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from benchmarks import targets
from benchmarks.figures import Figure, figure, ratio
from benchmarks.plot import bars, lines
from benchmarks.records import OURS, Records, is_ours
from benchmarks.targets import shown

Lines = Iterator[str]
Runs = Mapping[str, Mapping[str, str]]


def text(records: Records, runs: Runs, about: Mapping[str, str]) -> str:
    """
    :param runs: of each part: ``date``, ``commit``, ``minutes``, ``command`` and ``others``.
    :param about: the machine and the versions, by name.
    """
    sections = [
        _head(records, runs, about),
        _targets(records),
        *(_fanout(records, readers) for readers in records.sizes),
        _commit(records),
        _rest(records),
        _stopped(records),
        _beside(records),
        _growth(records),
        _failures(records),
    ]
    return "\n".join(chain.from_iterable(sections))


def plots(records: Records) -> dict[str, str]:
    """File names, and SVG."""
    drawn = {}

    def draw(file: str, title: str, unit: str, found: Callable[[str], Figure | None]) -> None:
        rows = [(records.title(peer), found(peer), is_ours(peer)) for peer in records.titles]
        there = [(title, each, ours) for title, each, ours in rows if each is not None and each.low > 0]
        if there:
            drawn[file] = bars(title, unit, there)

    for readers in records.sizes:
        title = f"One room of {readers:,} readers"

        def best(peer: str, readers: int = readers) -> Figure | None:
            found = records.best(peer, readers)
            return figure(list(found.values())) if found else None

        def slowest(peer: str, readers: int = readers) -> Figure | None:
            return records.figure("last_p99_ms", "fanout", peer=peer, readers=readers, rate=20)

        draw(f"fanout-{readers}.svg", title, "deliveries per second of server CPU, each peer at its best", best)
        draw(f"latency-{readers}.svg", title, "ms to the last reader, p99, at 20 messages a second", slowest)
    unit = "KB of the server's processes"
    draw("memory.svg", "A connection at rest", unit, lambda peer: records.figure("kb", "rest", peer=peer))
    if len(found := records.of("growth", rooms=1, window=1)) > 1:
        series = {"one message in flight": sorted((each["readers"], each["per_cpu"]) for each in found)}
        drawn["readers.svg"] = lines("More readers in a room", "readers", "deliveries per second of server CPU", series)
    return drawn


def _head(records: Records, runs: Runs, about: Mapping[str, str]) -> Lines:
    yield f"# What was measured, {' and '.join(sorted({run['date'] for run in runs.values()}))}"
    yield ""
    yield "Written by `make bench`; [how, and what it does not say](../README.md). A figure is the median of its"
    yield "rounds, with its interval in brackets. Ratios are of what was measured in the same round."
    yield ""
    counts = {len(records.rounds("per_cpu", "fanout", peer=OURS, readers=size, asked=1)) for size in records.sizes}
    for count in sorted(counts - {0, 1}):
        sure = figure([0.0] * count).confidence
        yield f"The interval of {count} rounds holds the true median with a confidence of {sure:.0%}."
        yield ""
    yield from table(["", ""], ([name, value] for name, value in about.items()))
    yield "Others: the cores that other programs used meanwhile. Where that is much, read ratios: caches are cold for"
    yield "everybody then. Latency at a steady rate is measured ahead of other programs; handshakes a second are not."
    yield ""
    head = ["part", "date", "commit", "minutes", "others", "command"]
    keys = ("date", "commit", "minutes", "others")
    yield from table(head, ([part, *(run[key] for key in keys), f"`{run['command']}`"] for part, run in runs.items()))


def _targets(records: Records) -> Lines:
    yield "## What was to be seen"
    yield ""
    yield "Peers at their best: with one message in flight or 64, whichever gives them more."
    yield ""
    yield from table(["", "wanted", "seen", ""], targets.rows(records))


def _fanout(records: Records, readers: int) -> Lines:
    yield f"## One room of {readers:,} readers"
    yield ""
    yield "Messages of 200 bytes. Deliveries per second of server CPU with one message in flight, so one event a frame,"
    yield "and with up to 64; ms at 20 messages a second, from when it was due to any reader, and to the last one."
    yield ""
    yield f"![deliveries per second of server CPU](fanout-{readers}.svg)"
    yield ""
    yield f"![latency](latency-{readers}.svg)"
    yield ""
    head = ["", "1 in flight", "÷ rooms", "64 in flight", "events a frame", "p50 / p99 ms", "to the last: p50 / p99 ms"]
    peers = records.run_at(readers)
    yield from table([*head, "clients busy"], (_fanout_row(records, peer, readers) for peer in peers))


def _fanout_row(records: Records, peer: str, readers: int) -> list[str]:
    here: dict[str, Any] = {"part": "fanout", "peer": peer, "readers": readers}
    one, many, window = (
        records.figure("per_cpu", asked=1, **here),
        records.figure("per_cpu", asked=64, **here),
        records.figure("window", asked=64, **here),
    )
    if one is None:
        return [_name(records, peer), records.why_not(**here), *[""] * 6]
    ours = records.rounds("per_cpu", "fanout", peer=OURS, readers=readers, asked=1)
    against = ratio(records.rounds("per_cpu", asked=1, **here), ours)
    fewer = f" (of {window.median:.0f})" if window and window.median < 64 else ""
    return [
        _name(records, peer),
        shown(one, "{:,.0f}"),
        _median(against, "{:.3f}") if against else records.why_not("fanout", OURS, readers=readers),
        shown(many, "{:,.0f}") + fewer,
        _median(records.figure("events_a_frame", asked=64, **here), "{:.1f}"),
        _latency(records, "p50_ms", "p99_ms", **here),
        _latency(records, "last_p50_ms", "last_p99_ms", **here),
        _median(records.figure("busy", asked=64, **here), "{:.0%}"),
    ]


def _latency(records: Records, half: str, most: str, **here: Any) -> str:
    first, second = (records.figure(key, rate=20, **here) for key in (half, most))
    if first is None or second is None:
        cannot = [each["cannot"] for each in records.of(rate=20, **here) if "cannot" in each]
        return cannot[0] if cannot else ""
    return f"{first.median:.1f} / {shown(second, '{:.1f}')}"


def _commit(records: Records) -> Lines:
    if not records.of("commit"):
        return
    yield "## The transaction of one message"
    yield ""
    yield "Without any server, one after the other, on the servers' core."
    yield ""
    rows = []
    for name in ("SQLite", "PostgreSQL"):
        figures = (records.figure(key, "commit", peer=name) for key in ("p50_ms", "p99_ms"))
        rows.append([name, *(shown(each, "{:.2f}") for each in figures)])
    yield from table(["", "p50 ms", "p99 ms"], rows)


def _rest(records: Records) -> Lines:
    if not (found := [each for each in records.all if each["part"] == "rest"]):
        return
    yield "## Connections at rest"
    yield ""
    yield "What the server's processes hold for each more connection, joined to one room; and how fast they came."
    yield ""
    yield "![memory](memory.svg)"
    yield ""
    rows = []
    for each in found:
        name = [_name(records, each["peer"]), f"{each['readers']:,}"]
        if "failed" in each:
            rows.append([*name, f"void: {each['failed']}", "", ""])
        else:
            speeds = (f"{each[key]:,.0f}" for key in ("handshakes_per_second", "handshakes_per_cpu"))
            rows.append([*name, f"{each['kb']:.1f}", *speeds])
    yield from table(["", "connections", "KB each", "handshakes / s", "handshakes / CPU s"], rows)


def _stopped(records: Records) -> Lines:
    if not records.of("stopped"):
        return
    yield "## Readers who stop"
    yield ""
    yield "1,000 readers, 20 messages of 1,400 bytes a second, sockets with the buffers that a network would give them."
    yield ""
    rows = []
    for peer in (OURS, "rooms-ack"):
        for count in (0, 1, 100):
            here: dict[str, Any] = {"part": "stopped", "peer": peer, "stopped": count}
            times = (shown(records.figure(key, **here), "{:.1f}") for key in ("p50_ms", "p99_ms"))
            grown = shown(records.figure("grown_kb", **here), "{:,.0f}")
            again = shown(records.figure("caught_up_s", **here), "{:.2f}") if count else ""
            cut = sum(each["cut"] for each in records.of(**here))
            rows.append([records.title(peer), f"{count}", *times, grown, again, f"{cut}"])
    head = ["", "stopped", "p50 ms of the others", "p99 ms", "KB that the server grew by", "s to catch up", "cut off"]
    yield from table(head, rows)


def _beside(records: Records) -> Lines:
    if not (found := records.of("beside")):
        return
    yield "## A small room beside a large one"
    yield ""
    rows = []
    for large in sorted({each["large"] for each in found}):
        name = f"beside one of {large:,}, 8 messages in flight" if large else "alone"
        keys = (("p50_ms", "{:.1f}"), ("p99_ms", "{:.1f}"), ("large_per_second", "{:,.0f}"))
        rows.append([name, *(shown(records.figure(key, "beside", large=large), form) for key, form in keys)])
    yield from table(["a room of 20", "p50 ms", "p99 ms", "deliveries / s in the large room"], rows)


def _growth(records: Records) -> Lines:
    if not (found := records.of("growth")):
        return
    yield "## How cost grows"
    yield ""
    if len(records.of("growth", rooms=1, window=1)) > 1:
        yield "![readers](readers.svg)"
        yield ""
    rows = []
    for each in found:
        delivery = 1e6 / each["per_cpu"]
        counts = [f"{each[key]:,}" for key in ("rooms", "readers", "window")]
        costs = [f"{each['per_cpu']:,.0f}", f"{delivery:.1f}", f"{delivery * each['readers'] / each['rooms']:,.0f}"]
        rows.append(counts + costs)
    head = ["rooms in use", "readers", "in flight", "deliveries / CPU s", "µs a delivery", "µs a message"]
    yield from table(head, rows)


def _failures(records: Records) -> Lines:
    rows = []
    for each in records.failures():
        which = [each["part"], records.title(each["peer"]), f"{each['readers']:,}", f"{each['round'] + 1}"]
        rows.append([*which, each["failed"]])
    if rows:
        yield "## What came to nothing"
        yield ""
        yield from table(["part", "peer", "readers", "round", ""], rows)


def _name(records: Records, peer: str) -> str:
    return f"**{records.title(peer)}**" if is_ours(peer) else records.title(peer)


def _median(found: Figure | None, form: str) -> str:
    return form.format(found.median) if found else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"
    yield ""
