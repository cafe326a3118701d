"""``make bench``: everything side by side, and a report of it.

make bench                                      # the whole, about three quarters of an hour
make bench ARGS="--only fanout --sizes 200 --seconds 1 --rounds 1 --peers rooms,nchan"      # minutes
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, machine
from benchmarks.parts import PARTS, Options
from benchmarks.peers.registry import PEERS
from benchmarks.processes import Failed, run
from benchmarks.records import Records
from benchmarks.report import plots, text

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("django", "channels", "channels-redis", "daphne", "uvicorn", "uvloop", "websockets")


def main(arguments: Sequence[str]) -> None:
    given = _parse(arguments)
    into: Path = given.into or (RESULTS if not arguments else RESULTS / "part")
    into.mkdir(parents=True, exist_ok=True)
    file = into / "results.json"
    kept = json.loads(file.read_text()) if given.add and file.exists() else {"runs": {}, "records": []}
    options = Options(
        rounds=given.rounds,
        seconds=given.seconds,
        sizes=_numbers(given.sizes),
        peers=_names(given.peers, PEERS),
        resting=given.resting,
        large=given.large,
        rooms=_numbers(given.rooms),
    )
    cores = tuple(_numbers(given.cores))
    if len(cores) != 2:
        sys.exit("--cores are two: the servers' and the clients'")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        bench = Bench(folder, (cores[0], cores[1]), stack)
        os.sched_setaffinity(0, {cores[1]})
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # of servers and clients too: a socket each
        for part, chosen in _slices(_names(given.only, PARTS), options):
            name = f"{part}, {chosen.sizes[0]} readers" if part == "fanout" else part
            kept["records"] = [record for record in kept["records"] if not _is_of(record, part, chosen)]
            began, busy = time.monotonic(), _others()
            for record in PARTS[part](bench, chosen):
                kept["records"].append(record)
                _tell(record)
            kept["runs"][name] = {
                "date": datetime.now(UTC).date().isoformat(),
                "commit": _commit(),
                "minutes": f"{(time.monotonic() - began) / 60:.0f}",
                "others": f"{(_others() - busy) / (time.monotonic() - began):.2f}",
                "command": _command(arguments),
            }
            kept["about"] = {**kept.get("about", {}), **_about(bench)}
            _write(into, kept)
    print(f"See {into / 'README.md'}")


def _slices(parts: Sequence[str], options: Options) -> Iterator[tuple[str, Options]]:
    """What is written down, and may be measured again, by itself: parts, and of the fan-out each size."""
    for part in parts:
        for sizes in [[size] for size in options.sizes] if part == "fanout" else [options.sizes]:
            yield part, replace(options, sizes=sizes)


def _is_of(record: dict[str, Any], part: str, options: Options) -> bool:
    return record["part"] == part and (part != "fanout" or record["readers"] in options.sizes)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__, formatter_class=form)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts: {', '.join(PARTS)}")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}")
    parser.add_argument("--sizes", default="200,1000,5000", help="readers in the room")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn with the others")
    parser.add_argument("--seconds", type=float, default=2, help="of one measurement")
    parser.add_argument("--resting", type=int, default=10_000, help="connections at rest")
    parser.add_argument("--large", type=int, default=10_000, help="readers of the large room")
    parser.add_argument("--rooms", default="1,10,100,1000,10000", help="rooms in use, for growth")
    parser.add_argument("--cores", default="0,1", help="the servers' and the clients'")
    parser.add_argument("--into", type=Path, help="a folder; by itself results/ for the whole, results/part/ else")
    parser.add_argument("--add", action="store_true", help="keep what that folder has of other parts and sizes")
    return parser.parse_args(arguments)


def _names(given: str, known: Sequence[str] | dict[str, Any]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"{', '.join(unknown)}: not among {', '.join(known)}")
    return names


def _numbers(given: str) -> list[int]:
    return [int(number) for number in given.split(",")]


def _tell(record: dict[str, Any]) -> None:
    """A line on the console, while one waits."""
    where = f"{record['part']} {record['round'] + 1} {record['peer']} {record['readers']}"
    keys = ("part", "round", "peer", "readers")
    found = [
        f"{name}={value:,.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in record.items()
        if name not in keys
    ]
    print(f"{time.strftime('%H:%M:%S')} {where}: {' '.join(found)}", flush=True)


def _write(into: Path, kept: dict[str, Any]) -> None:
    (into / "results.json").write_text(json.dumps(kept, separators=(",", ":")).replace("},{", "},\n{") + "\n")
    records = Records(kept["records"], {name: peer.title for name, peer in PEERS.items()})
    (into / "README.md").write_text(text(records, kept["runs"], kept["about"]))
    for name, drawn in plots(records).items():
        (into / name).write_text(drawn)


def _about(bench: Bench) -> dict[str, str]:
    packages = []
    for name in PACKAGES:
        try:
            packages.append(f"{name} {version(name)}")
        except ModuleNotFoundError:
            continue
    return {**machine(), "packages": ", ".join(packages), **bench.versions}


def _command(arguments: Sequence[str]) -> str:
    """As one types it, but for where the report went."""
    given = list(arguments)
    if "--into" in given:
        at = given.index("--into")
        del given[at : at + 2]
    return "make bench" + (f' ARGS="{shlex.join(given)}"' if given else "")


def _others() -> float:
    """CPU seconds of everybody else, since the machine started; once what we started has ended."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _commit() -> str:
    """What was measured; a report that is not committed yet changes nothing of it."""
    try:
        changed = run(["git", "diff", "--name-only", "HEAD", "--", ".", ":!benchmarks/results"])
        return run(["git", "describe", "--always"]).strip() + (", changed" if changed else "")
    except (Failed, OSError):
        return "unknown"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Failed as error:
        sys.exit(str(error))
