"""Kotak's SDK logs in at the sandbox, and reads. Run by the interpreter of the SDK's venv.

    python -m tests.interop.sdk_login SANDBOX <credentials

Both sides are JSON: who logs in on stdin, and on stdout what the SDK answered to each call. `orders
with view token` is asked in between, with the session of the first step.
"""

import json
import sys

import pyotp
from neo_api_client import NeoAPI

from tests.interop.loopback import Loopback, stay_here


def main(sandbox: str) -> None:
    stay_here()
    who = json.load(sys.stdin)
    kotak = NeoAPI(
        consumer_key=who["access_token"], environment="prod", transport=Loopback(sandbox)
    )
    known = kotak.configuration
    said: dict[str, object] = {}
    said["login"] = kotak.totp_login(
        mobile_number=who["mobile"], ucc=who["ucc"], totp=pyotp.TOTP(who["totp_secret"]).now()
    )
    known.edit_token, known.edit_sid, known.base_url = known.view_token, known.sid, who["base_url"]
    said["orders with view token"] = kotak.order_report()
    known.edit_token = known.edit_sid = known.base_url = None

    said["validate"] = kotak.totp_validate(mpin=who["mpin"])
    said["orders"] = kotak.order_report()
    said["limits"] = kotak.limits()
    said["ip"] = kotak.whatsmyip()
    json.dump(said, sys.stdout, default=repr)  # the SDK puts exceptions into its answers


if __name__ == "__main__":
    main(sys.argv[1])
