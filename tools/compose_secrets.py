"""The secrets of docker-compose.yml, and its .env: made once, and left alone from then on."""

from __future__ import annotations

import base64
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy" / "compose" / "secrets"


def _password() -> str:
    return secrets.token_hex(24)


def _key_ring() -> str:
    """One entry of MAILEMENT_SECRET_KEYS: its id and 32 bytes."""
    return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()


def _empty() -> str:
    """For what only the operator can know, and may never need."""
    return ""


SECRETS: Mapping[str, Callable[[], str]] = {
    "postgres_password": _password,
    "rabbitmq_password": _password,
    "secret_keys": _key_ring,
    "smtp_password": _empty,
    "resend_api_key": _empty,
}


def make_secrets(folder: Path) -> list[str]:
    """Makes those that are not there yet; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    # Keeps the other users of this machine out; the files themselves have to be readable for everybody,
    # because Compose mounts them as they are, and the user in the containers is not this one.
    folder.chmod(0o700)
    _write(folder / ".gitignore", "*\n")
    made = [name for name in SECRETS if not (folder / name).exists()]
    for name in made:
        # No newline at the end: not every image strips it.
        _write(folder / name, SECRETS[name]())
    # RabbitMQ's image takes a password from no file but a part of its configuration.
    password = (folder / "rabbitmq_password").read_text().strip()
    _write(folder / "rabbitmq.conf", f"default_pass = {password}\n")
    return made


def _write(file: Path, text: str) -> None:
    """Leaves the file alone if it says so already: a container that runs has this very file mounted."""
    if file.exists() and file.read_text() == text:
        return
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(file)


def main() -> int:
    for name in make_secrets(FOLDER):
        print(f"secrets: made {(FOLDER / name).relative_to(ROOT)}")
    if not (ROOT / ".env").exists():
        shutil.copyfile(ROOT / ".env.example", ROOT / ".env")
        print("secrets: made .env from .env.example; it says where subscribers reach the api")
    return 0


if __name__ == "__main__":
    sys.exit(main())
