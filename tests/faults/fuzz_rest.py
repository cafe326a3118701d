"""Ask the REST API everything that its schema allows, and some of what it does not, as five people.

::

    python -m tests.faults.fuzz_rest [--seconds 300] [--seed 1] [--database sqlite|postgresql]

Nobody, somebody of another tenant, a guest, a member and an owner, in this order, since an owner may shut the others
out. No answer may be a 5xx; each must be as the schema says; and none may hold a word of a tenant that is not the
asker's.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from contextlib import closing
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from tests.faults.fuzz_frames import Result, complaints
from tests.support import stages
from tests.support.client import log_in
from tests.support.sites import Site

PEOPLE = {None: "", "carol": "globex", "erin": "acme", "bob": "acme", "alice": "acme"}  # with their tenants
SECRETS = {"acme": "a-word-of-acme-alone", "globex": "a-word-of-globex-alone"}
NOBODY = ["0", "-1", "nobody", str(2**63), "9" * 40, "%00"]  # as the id of a user
EXAMPLES = 4  # of one operation before the next has its turn
CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


def fuzz(site: Site, *, seconds: float, start: int) -> Result:
    """As long as that; ``start`` is the seed."""
    known = _furnish(site)
    schema = schemathesis.openapi.from_dict(
        httpx.get(f"{site.url}/api/schema/?format=json").raise_for_status().json(object_hook=_without_tuples)
    )
    operations = [found.ok() for found in schema.get_all_operations()]
    heard: Counter[str] = Counter()
    problems: list[str] = []
    began = time.monotonic()
    for number, name in enumerate(PEOPLE):
        end = began + seconds * (number + 1) / len(PEOPLE)
        with _session(site, name) as session:
            turn = start
            while time.monotonic() < end and not problems:
                for operation in operations:
                    _turn(site, session, name, operation, known, heard, problems, turn, end)
                turn += 1
    took = f"{sum(heard.values())} requests in {time.monotonic() - began:.0f} s"
    lines = [f"{took} over {len(operations)} operations, seed {start}", f"heard: {dict(heard.most_common())}"]
    return Result("\n".join(lines), problems + complaints(site.nodes[0]))


def _turn(
    site: Site,
    session: requests.Session,
    name: str | None,
    operation: Any,
    known: dict[str, list[str]],
    heard: Counter[str],
    problems: list[str],
    turn: int,
    end: float,
) -> None:
    wrong = schemathesis.GenerationMode.NEGATIVE
    strategy = operation.as_strategy() if turn % 3 else operation.as_strategy(generation_mode=wrong)

    @seed(turn)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, data=st.data())
    def ask(case: Any, data: Any) -> None:
        if time.monotonic() > end or problems:
            return
        for parameter in case.path_parameters or {}:  # mostly of what is there, and there one's own
            if parameter == "tenant" and PEOPLE[name] and data.draw(st.integers(0, 4)):
                case.path_parameters[parameter] = PEOPLE[name]
            elif parameter == "user":  # nobody may be made a member by chance who is then held for a stranger
                case.path_parameters[parameter] = data.draw(st.sampled_from(known.get(PEOPLE[name], []) + NOBODY))
            elif parameter in known and data.draw(st.integers(0, 9)):
                case.path_parameters[parameter] = data.draw(st.sampled_from(known[parameter]))
        (case.headers or {}).pop("Authorization", None)  # a ticket that is none would be all that is looked at
        response = case.call(base_url=site.url, session=session)
        heard[f"{name or 'nobody'} {response.status_code}"] += 1
        for tenant, secret in SECRETS.items():
            if tenant != PEOPLE[name] and secret in response.text:
                problems.append(f"{name} reads of {tenant}: {case.method} {case.formatted_path} {response.text:.500}")
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as failed:
            found = "; ".join(f"{failure.title} {failure.message}" for failure in failed.exceptions)
            problems.append(
                f"{name}: {case.method} {response.request.url} {response.request.body!r:.500}: {response.status_code}"
                f" {response.text:.500}\n{found:.3000} (seed {turn})"
            )

    try:
        ask()
    except HypothesisException:  # nothing can be wrong about an operation without a parameter or a body
        assert not turn % 3


def _without_tuples(schema: dict[str, Any]) -> dict[str, Any]:
    """schemathesis rewrites them for an older JSON Schema, and then reads them as of the new one."""
    if schema.pop("prefixItems", None):
        del schema["items"]
    return schema


def _furnish(site: Site) -> dict[str, list[str]]:
    """Rooms and words in both tenants; gives what stands in paths, and under each tenant its people."""
    known: dict[str, list[str]] = {
        "tenant": ["acme", "globex"],
        "room": ["general", "~all", "~me"],
        "user": [],
        "id": [],
    }
    for name, tenant in (("alice", "acme"), ("carol", "globex")):
        with closing(log_in(site.url, name)) as owner:
            path = f"/api/tenants/{tenant}/"
            for visibility in ("tenant", "private"):
                slug = f"{visibility}-room"
                room = {"slug": slug, "name": f"{SECRETS[tenant]} {slug}", "visibility": visibility}
                assert owner.post(f"{path}rooms/", json=room).status_code == 201
                known["room"].append(slug)
                said = owner.post(f"{path}rooms/{slug}/messages/", json={"text": SECRETS[tenant]})
                assert said.status_code == 201, said.text
                known["id"].append(said.json()["id"])
            known[tenant] = [member["user"]["id"] for member in owner.get(f"{path}members/").json()["results"]]
    return known


def _session(site: Site, name: str | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    if name is not None:
        with closing(log_in(site.url, name)) as client:
            session.headers["Cookie"] = "; ".join(f"{key}={value}" for key, value in client.cookies.items())
            session.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with stages.sites(options.database) as sites, sites.running(settings=stages.SETTINGS) as site:
        site.manage("seed_demo")
        result = fuzz(site, seconds=options.seconds, start=options.seed)
    print(result.report)
    print("\n".join(result.problems) or "Every answer is as the schema says.")
    sys.exit(bool(result.problems))


if __name__ == "__main__":
    main()
