from __future__ import annotations

import base64

import pytest

from mailement_common.sealing import BadKeyRing, CannotOpen, KeyRing, key_id_of, new_key

OLD, NEW = new_key("old"), new_key("new")
OWNER = "webhook:12"
BASE64 = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize("secret", ["", "whsec_abc", "geheim · 密", "x" * 10_000])
def test_what_is_sealed_opens(secret: str) -> None:
    keys = KeyRing(OLD)

    assert keys.open(keys.seal(secret, owner=OWNER), owner=OWNER) == secret


def test_a_secret_does_not_show_and_no_two_seals_are_alike() -> None:
    keys = KeyRing(OLD)
    first, second = keys.seal("geheim", owner=OWNER), keys.seal("geheim", owner=OWNER)

    assert first != second
    assert "geheim" not in first
    assert base64.b64encode(b"geheim").decode() not in first


def test_a_secret_opens_for_no_other_row() -> None:
    keys = KeyRing(OLD)
    sealed = keys.seal("geheim", owner=OWNER)

    with pytest.raises(CannotOpen, match="webhook:13"):
        keys.open(sealed, owner="webhook:13")


def test_another_ring_does_not_open_it_though_its_key_has_the_same_name() -> None:
    sealed = KeyRing(new_key("k")).seal("geheim", owner=OWNER)

    for other in (new_key("k"), new_key("another")):
        with pytest.raises(CannotOpen):
            KeyRing(other).open(sealed, owner=OWNER)


def test_a_ring_with_a_new_key_in_front_opens_the_old_and_seals_with_the_new() -> None:
    before = KeyRing(OLD).seal("geheim", owner=OWNER)
    both = KeyRing(f"{NEW}, {OLD}")

    assert both.open(before, owner=OWNER) == "geheim"
    after = both.seal("geheim", owner=OWNER)
    assert KeyRing(NEW).open(after, owner=OWNER) == "geheim"
    with pytest.raises(CannotOpen):
        KeyRing(OLD).open(after, owner=OWNER)


def test_no_character_of_it_can_be_changed() -> None:
    keys = KeyRing(OLD)
    sealed = keys.seal("geheim", owner=OWNER)
    # The last character of base64 may carry bits that nothing reads.
    for place, character in enumerate(sealed[:-3]):
        changed = sealed[:place] + ("A" if character != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(CannotOpen):
            keys.open(changed, owner=OWNER)


@pytest.mark.parametrize("damaged", ["", "v1", "v1|old", "v1|old|x|y", "v2|old|AAAA|AAAA", "a|b|c|d|e", "…"])
def test_what_is_no_seal_cannot_be_opened(damaged: str) -> None:
    with pytest.raises(CannotOpen):
        KeyRing(OLD).open(damaged, owner=OWNER)


def test_a_failure_to_open_does_not_tell_the_sealed_text() -> None:
    sealed = KeyRing(NEW).seal("geheim", owner=OWNER)

    with pytest.raises(CannotOpen) as refusal:
        KeyRing(OLD).open(sealed, owner=OWNER)

    assert sealed not in str(refusal.value)


@pytest.mark.parametrize(
    "keys",
    [
        "",
        " , ",
        "nothing",
        "k:",
        "k:AAAA",
        "k:not base64",
        f":{BASE64}",
        f"a|b:{BASE64}",
        "k:ß",
    ],
)
def test_a_ring_that_is_none_is_refused(keys: str) -> None:
    with pytest.raises(BadKeyRing):
        KeyRing(keys)


def test_a_key_that_is_there_twice_is_refused() -> None:
    with pytest.raises(BadKeyRing, match="'k'"):
        KeyRing(f"{new_key('k')},{new_key('k')}")


def test_a_refused_ring_does_not_show_its_keys() -> None:
    key = new_key("k")[:-4]

    with pytest.raises(BadKeyRing) as refusal:
        KeyRing(key)

    assert key.partition(":")[2] not in str(refusal.value)


def test_a_signature_is_good_for_its_data_and_purpose_only() -> None:
    keys = KeyRing(OLD)
    signature = keys.sign(b"12", purpose="unsubscribe")

    assert len(signature) == 16
    assert keys.signed(b"12", signature, purpose="unsubscribe")
    assert not keys.signed(b"13", signature, purpose="unsubscribe")
    assert not keys.signed(b"12", signature, purpose="confirm")
    assert not keys.signed(b"12", signature[:-1], purpose="unsubscribe")
    assert not KeyRing(NEW).signed(b"12", signature, purpose="unsubscribe")


def test_a_signature_outlives_the_key_that_takes_the_front() -> None:
    signature = KeyRing(OLD).sign(b"12", purpose="unsubscribe")

    assert KeyRing(f"{NEW},{OLD}").signed(b"12", signature, purpose="unsubscribe")


def test_a_sealed_secret_names_the_key_that_it_was_sealed_with() -> None:
    keys = KeyRing(f"{NEW},{OLD}")

    assert key_id_of(keys.seal("geheim", owner=OWNER)) == keys.sealing_key_id == "new"
    assert key_id_of("damaged") == ""
