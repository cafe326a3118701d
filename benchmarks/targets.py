"""What was to be seen, and what was. Each row: what it is, what was wanted, what was seen, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.figures import Figure, figure, ratio
from benchmarks.records import OURS, Records

Row = list[str]
VOID = "void"
# Of 1,000 readers, flat out: how many of our messages are in flight, and how many times theirs, at its best, is wanted.
RATIOS = (
    ("one event a frame", "rooms-single", 64, "tutorial-uvicorn-pubsub", 50),
    ("one event a frame", "rooms-single", 64, "socket.io", 1.5),
    ("one event a frame", "rooms-single", 64, "nchan", 0.9),
    ("64 in flight", OURS, 64, "nchan", 4),
    ("64 in flight, flush interval", "rooms-batch", 64, "nchan", 4),
)
MEMORY = 20  # KB
OTHERS = 1.1  # times the p99 of before
STOPPED_KB = 64  # for each reader who stopped
BESIDE = 10  # ms


def rows(records: Records) -> Iterator[Row]:
    yield from _ratios(records)
    yield from _latencies(records)
    yield _memory(records)
    for peer in (OURS, "rooms-ack"):
        yield from _stops(records, peer)
    yield _beside(records)


def _ratios(records: Records) -> Iterator[Row]:
    for name, ours, window, theirs, wanted in RATIOS:
        what = f"1,000 readers, {name}: deliveries per CPU second, ÷ {records.title(theirs)}"
        mine = records.rounds("per_cpu", "fanout", peer=ours, readers=1_000, asked=window)
        found = ratio(mine, records.best(theirs, 1_000))
        if found is None:
            yield [what, f"≥ {wanted}", records.why_not("fanout", theirs if mine else ours, readers=1_000), VOID]
        else:
            yield [what, f"≥ {wanted}", shown(found, "{:,.2f}"), verdict(found.median >= wanted)]


def _latencies(records: Records) -> Iterator[Row]:
    commit = records.figure("p99_ms", "commit", peer="SQLite")
    for readers in (200, 1_000):
        what = f"{readers:,} readers, 20 messages a second: p99 ms to the last reader"
        ours, nchan = (
            records.figure("last_p99_ms", "fanout", peer=peer, readers=readers, rate=20) for peer in (OURS, "nchan")
        )
        if ours is None or nchan is None or commit is None:
            lacking = records.why_not("fanout", OURS if ours is None else "nchan", readers=readers)
            yield [what, "≤ 1.5 nchan + commit", "void: no commit" if ours and nchan else lacking, VOID]
        else:
            most = 1.5 * nchan.median + commit.median
            wanted = f"≤ 1.5 · {nchan.median:.1f} (nchan) + {commit.median:.1f} (commit) = {most:.1f}"
            yield [what, wanted, shown(ours, "{:,.1f}"), verdict(ours.median <= most)]


def _memory(records: Records) -> Row:
    found = records.figure("kb", "rest", peer=OURS)
    if found is None:
        return ["KB of a connection at rest", f"≤ {MEMORY}", records.why_not("rest", OURS), VOID]
    return ["KB of a connection at rest", f"≤ {MEMORY}", f"{found.median:.1f}", verdict(found.median <= MEMORY)]


def _stops(records: Records, peer: str) -> Iterator[Row]:
    before = records.rounds("p99_ms", "stopped", peer=peer, stopped=0)
    for count in (1, 100):
        what = f"{count} of 1,000 stop reading ({records.title(peer)}): p99 of the others ÷ before"
        found = ratio(records.rounds("p99_ms", "stopped", peer=peer, stopped=count), before)
        if found is None:
            yield [what, f"≤ {OTHERS}", records.why_not("stopped", peer), VOID]
        else:
            yield [what, f"≤ {OTHERS}", shown(found, "{:,.2f}"), verdict(found.high <= OTHERS)]
    grown = records.figure("grown_kb", "stopped", peer=peer, stopped=100)
    if grown is not None:
        each = grown.median / 100
        yield ["… KB of memory for each of 100", f"< {STOPPED_KB}", f"{each:.1f}", verdict(each < STOPPED_KB)]
        late = [each for each in records.of("stopped", peer=peer) if each["behind"] or each["disorder"] or each["cut"]]
        told = f"{len(late)} times not" if late else "all"
        yield ["… reading again they get what they missed, in order", "all", told, verdict(not late)]


def _beside(records: Records) -> Row:
    what = "a room of 20 beside a large one at full rate: p99 ms, less what it is alone"
    alone = {each["round"]: each["p99_ms"] for each in records.of("beside") if not each["large"]}
    beside = {each["round"]: each["p99_ms"] for each in records.of("beside") if each["large"]}
    if not (rounds := sorted(alone.keys() & beside.keys())):
        return [what, f"≤ {BESIDE}", records.why_not("beside", OURS), VOID]
    more = figure([beside[round] - alone[round] for round in rounds])
    return [what, f"≤ {BESIDE}", shown(more, "{:,.1f}"), verdict(more.median <= BESIDE)]


def verdict(good: bool) -> str:
    return "yes" if good else "**no**"


def shown(found: Figure | None, form: str) -> str:
    """The median, and its interval where there is more than one round."""
    if found is None:
        return ""
    if found.rounds == 1:
        return form.format(found.median)
    return f"{form.format(found.median)} [{form.format(found.low)}, {form.format(found.high)}]"
