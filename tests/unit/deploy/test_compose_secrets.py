from __future__ import annotations

import stat
from pathlib import Path

from mailement_common.sealing import KeyRing
from tools.compose_secrets import SECRETS, make_secrets


def _contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    assert make_secrets(folder) == list(SECRETS)
    made = _contents(folder)
    assert make_secrets(folder) == []
    assert _contents(folder) == made


def test_two_places_have_different_secrets(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_secrets(one)
    make_secrets(other)
    for name in ("postgres_password", "rabbitmq_password", "secret_keys"):
        assert (one / name).read_text() != (other / name).read_text()


def test_the_broker_is_told_the_password_that_the_services_use(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq_password").write_text("of my own\n")
    make_secrets(tmp_path)
    assert (tmp_path / "rabbitmq.conf").read_text() == "default_pass = of my own\n"


def test_the_keys_are_a_key_ring(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    ring = KeyRing((tmp_path / "secret_keys").read_text())
    assert ring.open(ring.seal("a secret", owner="somebody"), owner="somebody") == "a secret"


def test_what_only_the_operator_knows_stays_empty_until_he_says_it(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    assert (tmp_path / "smtp_password").read_text() == ""
    (tmp_path / "smtp_password").write_text("from the relay")
    make_secrets(tmp_path)
    assert (tmp_path / "smtp_password").read_text() == "from the relay"


def test_other_users_of_the_machine_cannot_get_at_them(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    # In the container another user reads the file, which is mounted as it is.
    assert stat.S_IMODE((folder / "secret_keys").stat().st_mode) == 0o644
