"""The README's "Add it to your site", done to a fresh project as it says."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.servers import free_port
from tests.support.sites import ROOT, Node, manage

# It makes a site of its own, on SQLite.
pytestmark = pytest.mark.any_backend


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As `django-admin startproject mysite .` makes it, with rooms and presence beside it, and what the README adds."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", "."], cwd=tmp_path, check=True)
    for app in ("rooms", "presence"):
        (tmp_path / app).symlink_to(ROOT / app)
    chapter = (ROOT / "README.md").read_text().partition("## Add it to your site")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    for name, block in zip(("settings.py", "urls.py", "asgi.py"), blocks, strict=False):
        with (tmp_path / "mysite" / name).open("a") as file:
            file.write("\n" + block)
    return tmp_path


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_fresh_project_has_rooms(project: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    manage(env, "check", "--fail-level", "WARNING", cwd=project)
    manage(env, "migrate", "-v0", cwd=project)
    manage(env, "seed_demo", cwd=project)
    port = free_port()
    node = Node(["manage.py", "runserver", "--noreload", str(port)], port, env, project / "log", cwd=project)
    node.start()
    try:
        assert status(f"{node.url}/readyz") == 200
        assert status(f"{node.url}/api/tenants/") == 401
        assert status(f"{node.url}/api/schema/") == 200
        assert status(f"{node.url}/api/docs/") == 200
        assert status(f"{node.url}/static/rooms/rooms.css") == 200
    finally:
        node.stop()
    assert "Traceback" not in node.tail(1000)
