"""The secrets of docker-compose.yml: made once, at random, and left alone from then on."""

from __future__ import annotations

import base64
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "deploy" / "compose" / "secrets"


def _password() -> str:
    return secrets.token_hex(24)


def _key_ring() -> str:
    """One entry of MAILEMENT_SECRET_KEYS: its id and 32 bytes."""
    return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()


SECRETS: Mapping[str, Callable[[], str]] = {
    "postgres_password": _password,
    "rabbitmq_password": _password,
    "secret_keys": _key_ring,
}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    for name, make in SECRETS.items():
        secret = FOLDER / name
        if secret.exists():
            continue
        draft = FOLDER / f".{name}.draft"
        # No newline at the end: not every image strips it.
        draft.write_text(make())
        # Compose mounts the files as they are, and the services' user in the containers is not this one.
        draft.chmod(0o644)
        draft.replace(secret)
        print(f"secrets: made deploy/compose/secrets/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
