"""Checks one webhook, as a CGI program gets it: the body on standard input, headers and secret in the environment.

    WEBHOOK_SECRET=whsec_… HTTP_WEBHOOK_ID=… HTTP_WEBHOOK_TIMESTAMP=… HTTP_WEBHOOK_SIGNATURE=… \
        python verify.py standard [folder] < body

`body` instead of `standard` checks X-Mailement-Signature or X-Maily-Signature. With a folder, `standard` keeps
the ids there. Prints `first` or `again` and ends with 0; ends with 1 if the webhook is not genuine.
"""
# ruff: noqa: T201, TID251

from __future__ import annotations

import os
import sys

# isort: split
# region receive
import base64
import hmac
import re
import time
from pathlib import Path


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """`headers`: names in lower case. `body`: as it arrived."""
    sent_id = headers.get("webhook-id", "")
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_id or not re.fullmatch("[0-9]{1,12}", sent_at) or abs(time.time() - int(sent_at)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{sent_id}.{sent_at}.".encode() + body, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    listed = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(expected, one) for one in listed)


def is_signed_body(secret: str, signature: str, body: bytes) -> bool:
    """`signature`: the value of X-Mailement-Signature or X-Maily-Signature."""
    key = "whsec_" + secret.removeprefix("whsec_")
    expected = hmac.digest(key.encode(), body, "sha256").hex()
    return hmac.compare_digest(expected.encode(), signature.removeprefix("sha256=").encode())


def is_first(folder: Path, webhook_id: str) -> bool:
    """After `is_genuine`, which knows the id to be ours: it becomes the name of a file."""
    try:
        (folder / webhook_id).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


# endregion


def main(check: str, folder: str | None = None) -> None:
    secret = os.environ["WEBHOOK_SECRET"]
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in os.environ.items()
        if name.startswith("HTTP_")
    }
    body = sys.stdin.buffer.read()
    signature = headers.get("x-mailement-signature") or headers.get("x-maily-signature", "")
    genuine = (
        is_genuine(secret, headers, body) if check == "standard" else is_signed_body(secret, signature, body)
    )
    if not genuine:
        sys.exit(1)
    print("first" if folder is None or is_first(Path(folder), headers["webhook-id"]) else "again")


if __name__ == "__main__":
    main(*sys.argv[1:])
