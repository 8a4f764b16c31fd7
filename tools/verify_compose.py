"""docker-compose.yml, run for real: `python3 tools/verify_compose.py`, needing a Docker engine and Compose v2.

Builds the image, starts everything under a project name, a port and with secrets of its own, lets the demo walk
through it before and after trouble, looks at how the containers are confined and at what they have logged, and
takes everything down again, whatever happens.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.compose_secrets import make_secrets

ROOT = Path(__file__).resolve().parent.parent
FILES = ("docker-compose.yml", "deploy/compose/demo.yml")
OWN = ("api", "drip-scheduler", "webhook-dispatcher", "mailer")
TWICE = ("drip-scheduler", "webhook-dispatcher")

ENGINE_AT_LEAST = (25, 0)  # healthcheck.start_interval
COMPOSE_AT_LEAST = (2, 24)  # env_file that may be missing, !override
# A first run fetches three images and a hundred packages; everything after the build takes a minute or two.
SECONDS_IN_ALL = 1200
SECONDS_TO_CLEAN_UP = 180
SECONDS_TO_RECOVER = 60

# Run inside: what the container may do is asked where it matters.
CONFINEMENT = """
import json, os
def can_write(path):
    try:
        open(path, "x").close()
    except OSError:
        return False
    os.remove(path)
    return True
status = dict(line.split(":", 1) for line in open("/proc/1/status"))
print(json.dumps({
    "user": os.getuid(),
    "writes to its root": can_write("/probe"),
    "writes to its program": can_write("/opt/venv/probe"),
    "writes to /tmp": can_write("/tmp/probe"),
    "capabilities": int(status["CapEff"], 16),
    "may gain privileges": status["NoNewPrivs"].strip() == "0",
}))
"""
CONFINED = {
    "user": 10001,
    "writes to its root": False,
    "writes to its program": False,
    "writes to /tmp": True,
    "capabilities": 0,
    "may gain privileges": False,
}
# From inside, because `docker kill` counts as a wish of the operator and the engine then restarts nothing.
KILL = """
import os, signal
for entry in filter(str.isdigit, os.listdir("/proc")):
    if open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()[1] == "1":
        os.kill(int(entry), signal.SIGKILL)
"""
WRITE_MAIL = "import os; f = '/var/lib/mailement/mail/probe'; open(f, 'x').close(); os.remove(f)"

MADE = ("postgres_password", "rabbitmq_password", "secret_keys")
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
KEY = re.compile(r"\b(?:mlm_live|whsec)_\w{8,}")


class Wrong(Exception):
    """Something is not as it has to be; the message is a sentence for people."""


class Timeline:
    """Prints each deed with the second at which it was done, and how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self._line(f"{name}: failed")
            raise
        self._line(f"{name} ({time.monotonic() - began:.1f} s)")

    @property
    def seconds_left(self) -> float:
        """Raises Wrong when there are none."""
        left = self._began + SECONDS_IN_ALL - time.monotonic()
        if left <= 0:
            raise Wrong(f"it took longer than {SECONDS_IN_ALL} s")
        return left

    def _line(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)


class Project:
    """One Compose project, whose names, port and secrets nobody else uses."""

    def __init__(self, secrets_folder: Path, timeline: Timeline) -> None:
        self.name = f"mailement-verify-{secrets.token_hex(3)}"
        self._timeline = timeline
        self._environ = {
            **os.environ,  # noqa: TID251 - where Docker is, and how it is to be reached
            "MAILEMENT_VERSION": self.name,
            "MAILEMENT_SECRETS_DIR": str(secrets_folder),
            "MAILEMENT_PUBLIC_URL": "http://localhost:8080",
            # Docker picks a port that is free.
            "MAILEMENT_HTTP_PUBLISH": "127.0.0.1:0",
        }

    def compose(self, *words: str, seconds: float | None = None) -> str:
        files = [word for file in FILES for word in ("--file", file)]
        return self.docker("compose", "--project-name", self.name, *files, *words, seconds=seconds)

    def docker(self, *words: str, seconds: float | None = None) -> str:
        """What it wrote, within `seconds` or what is left of all. Raises Wrong with its complaint."""
        return run(["docker", *words], seconds or self._timeline.seconds_left, self._environ)

    def containers(self, *services: str) -> list[Any]:
        """What the engine knows of each; of those that have ended as well."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        described: list[Any] = json.loads(self.docker("inspect", *ids))
        return described

    def inside(self, container: Any, code: str) -> str:  # noqa: ANN401 - the engine's JSON
        return self.docker("exec", container["Id"], "python", "-IS", "-c", code)

    def remove(self) -> None:
        """Everything that carries the project's name. Raises Wrong if something stays."""
        seconds = SECONDS_TO_CLEAN_UP
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", seconds=seconds)
        image = f"mailement:{self.name}"
        if self.docker("image", "ls", "--quiet", image, seconds=seconds):
            self.docker("image", "rm", image, seconds=seconds)
        label = f"label=com.docker.compose.project={self.name}"
        for listing in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
            left = self.docker(*listing, "--quiet", "--filter", label, seconds=seconds)
            require(not left, f"`docker {' '.join(listing)}` still shows of {self.name}: {left}")


def run(command: Sequence[str], seconds: float, environ: dict[str, str] | None = None) -> str:
    """What the command wrote to its output. Raises Wrong with what it complained about."""
    what = " ".join(word for word in command if "\n" not in word)
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except FileNotFoundError:
        raise Wrong(f"there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise Wrong(f"`{what}` did not end within {seconds:.0f} s") from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or done.stdout.strip()).splitlines()[-20:]
        raise Wrong(f"`{what}` failed with {done.returncode}:\n" + "\n".join(complaint))
    return done.stdout.rstrip()


def require(fact: object, otherwise: str) -> None:
    if not fact:
        raise Wrong(otherwise)


def check_tools() -> str:
    """The versions, as a line. Raises Wrong if there is no engine, no Compose, or one that is too old."""
    try:
        engine = run(["docker", "version", "--format", "{{.Server.Version}}"], 30)
    except Wrong as obstacle:
        raise Wrong(f"this needs a Docker engine that answers: {obstacle}") from None
    try:
        compose = run(["docker", "compose", "version", "--short"], 30)
    except Wrong:
        raise Wrong("this needs Compose v2: `docker compose` is not there") from None
    for name, found, least in (("Engine", engine, ENGINE_AT_LEAST), ("Compose", compose, COMPOSE_AT_LEAST)):
        numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:2])
        wanted = ".".join(map(str, least))
        require(numbers >= least, f"this needs Docker {name} {wanted} or later, and here is {found}")
    return f"Docker Engine {engine}, Compose {compose}"


def check_confinement(project: Project) -> None:
    for container in project.containers(*OWN):
        name = container["Name"].strip("/")
        found = json.loads(project.inside(container, CONFINEMENT))
        require(found == CONFINED, f"{name} is not confined: {found}, not {CONFINED}")
        require(container["Config"]["User"] == "10001:10001", f"{name} does not name its user by number")
        require(container["HostConfig"]["ReadonlyRootfs"], f"{name} may write to its root")
    for mailer in project.containers("mailer"):
        project.inside(mailer, WRITE_MAIL)


def check_ports(project: Project) -> str:
    """Where the api is published. Raises Wrong if anything else is, or if it is not on loopback."""
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], port, binding["HostIp"])
        for container in project.containers()
        for port, bindings in container["NetworkSettings"]["Ports"].items()
        for binding in bindings or ()
    }
    require(published == {("api", "8080/tcp", "127.0.0.1")}, f"published are {sorted(published)}")
    return project.compose("port", "api", "8080")


def check_answer(address: str) -> None:
    """By the published port, and past any proxy that the environment may name."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/readyz", timeout=10) as answer:
        report = json.load(answer)
    require(report["ready"], f"the api is not ready: {report}")


def walk(project: Project) -> None:
    """The demo's own timeline stands in ours."""
    told = project.compose("run", "--rm", "--no-deps", "--use-aliases", "--no-TTY", "demo")
    for line in told.splitlines():
        print(f"{'':11}{line}")


def kill_one(project: Project) -> None:
    """After `kill -9` it is back by itself."""
    victim = project.containers("webhook-dispatcher")[0]
    before = victim["RestartCount"]
    # Who kills goes down with the container.
    with suppress(Wrong):
        project.inside(victim, KILL)

    def is_back() -> bool:
        now = json.loads(project.docker("inspect", victim["Id"]))[0]
        return bool(now["RestartCount"] == before + 1 and is_healthy(now))

    wait_until(is_back, "the webhook dispatcher did not come back after kill -9")


def restart_server(project: Project, server: str) -> None:
    """The services stay up through it; whoever died would have been restarted, and counted."""
    before = restarts(project)
    project.compose("restart", server)
    wait_until(
        lambda: all(map(is_healthy, project.containers(server, *OWN))), f"{server}'s restart is not over"
    )
    require(restarts(project) == before, f"a service did not outlive the restart of {server}")


def restarts(project: Project) -> dict[str, int]:
    return {container["Name"]: container["RestartCount"] for container in project.containers(*OWN)}


def is_healthy(container: Any) -> bool:  # noqa: ANN401 - the engine's JSON
    return bool(container["State"].get("Health", {}).get("Status") == "healthy")


def wait_until(there: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_RECOVER
    while not there():
        require(time.monotonic() < deadline, f"not well after {SECONDS_TO_RECOVER} s: {otherwise}")
        time.sleep(0.5)


def check_logs(project: Project, secrets_folder: Path) -> None:
    everything = project.compose("logs", "--no-color")
    for name in MADE:
        value = (secrets_folder / name).read_text().removeprefix("k1:")
        require(value not in everything, f"the logs tell the secret in {name}")
    ours = project.compose("logs", "--no-color", "migrate", *OWN)
    require(ours.count("\n") >= len(OWN), "the services have logged nothing")
    for pattern, what in ((ADDRESS, "an address"), (KEY, "a key"), (re.compile("Traceback"), "a traceback")):
        lines = [line for line in ours.splitlines() if pattern.search(line)]
        require(not lines, f"the logs show {what}: {lines[:1]}")


def check_stop(project: Project) -> None:
    """Told to stop, each service ends by itself and says that all is well."""
    project.compose("stop", *OWN)
    for container in project.containers(*OWN):
        code = container["State"]["ExitCode"]
        require(code == 0, f"{container['Name'].strip('/')} ended with {code} when told to stop")


def verify(project: Project, secrets_folder: Path, timeline: Timeline) -> None:
    with timeline.step("image built"):
        project.compose("build", "--quiet")
    size = int(project.docker("image", "inspect", "--format", "{{.Size}}", f"mailement:{project.name}"))
    with timeline.step(f"up --wait: everything healthy; the image has {size / 1e6:.0f} MB"):
        project.compose("up", "--detach", "--wait", "--no-build")
    with timeline.step("user 10001, read-only root, no capabilities; only the api is published"):
        check_confinement(project)
        check_answer(check_ports(project))
    with timeline.step("the demo's walk"):
        walk(project)
    twice = [word for service in TWICE for word in ("--scale", f"{service}=2")]
    with timeline.step("two drip schedulers and two webhook dispatchers"):
        project.compose("up", "--detach", "--wait", "--no-build", "--no-recreate", *twice)
    with timeline.step("kill -9 of a webhook dispatcher: back and healthy"):
        kill_one(project)
    for server in ("rabbitmq", "postgres"):
        with timeline.step(f"restart of {server}: no service died of it"):
            restart_server(project, server)
    with timeline.step("the demo's walk once more"):
        walk(project)
    with timeline.step("told to stop, each service ends with 0"):
        check_stop(project)
    with timeline.step("no traceback, secret or address in the logs"):
        check_logs(project, secrets_folder)


def tell_logs(project: Project) -> None:
    try:
        print(project.compose("logs", "--no-color", "--tail", "15"), file=sys.stderr)
    except Wrong as obstacle:
        print(f"verify-compose: no logs either: {obstacle}", file=sys.stderr)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    timeline = Timeline()
    (ROOT / ".local").mkdir(exist_ok=True)
    secrets_folder = Path(tempfile.mkdtemp(prefix="verify-compose-", dir=ROOT / ".local"))
    try:
        print(check_tools())
        make_secrets(secrets_folder)
        project = Project(secrets_folder, timeline)
        try:
            verify(project, secrets_folder, timeline)
        except Wrong:
            tell_logs(project)
            raise
        finally:
            with timeline.step("everything taken down again"):
                project.remove()
    except Wrong as wrong:
        print(f"verify-compose: {wrong}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(secrets_folder)
    print("docker-compose.yml does what it says")
    return 0


if __name__ == "__main__":
    sys.exit(main())
