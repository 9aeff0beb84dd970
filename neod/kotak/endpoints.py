"""Environments, and which URL each request of a login goes to. Sends nothing."""

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

import msgspec

Environment = Literal["prod", "uat"]


TOTP_FIN_KEY = "neotradeapi"  # the SDK's (3.0.9), in both environments


class Endpoints(msgspec.Struct, frozen=True):
    """Base URLs of one environment, each with a slash at its end."""

    session: str  # where oauth2/token is
    api: str  # where {prefix}login/v2/validate is
    login: str  # where {prefix}tradeApiLogin is
    prefix: str
    totp: tuple[str, str]  # paths of the TOTP flow's two steps, below login and prefix
    fin_key: str  # the public `neo-fin-key` of API calls after a password login

    @property
    def bearer_url(self) -> str:
        return f"{self.session}oauth2/token"

    @property
    def validate_url(self) -> str:
        return f"{self.api}{self.prefix}login/v2/validate"

    @property
    def send_otp_url(self) -> str:
        return f"{self.api}{self.prefix}login/otp/generate"

    @property
    def totp_login_url(self) -> str:
        return f"{self.login}{self.prefix}{self.totp[0]}"

    @property
    def totp_validate_url(self) -> str:
        return f"{self.login}{self.prefix}{self.totp[1]}"

    def on_loopback(self) -> bool:
        """True if no request can leave this machine: a sandbox."""
        return all(is_loopback(url) for url in (self.session, self.api, self.login))


# Hosts, prefixes and the public keys are those of Kotak's own SDKs (1.2.0, 2.0.0, 3.0.9).
ENVIRONMENTS: dict[Environment, Endpoints] = {
    "prod": Endpoints(
        session="https://napi.kotaksecurities.com/",
        api="https://gw-napi.kotaksecurities.com/",
        login="https://mis.kotaksecurities.com/",
        prefix="login/1.0/",
        totp=("tradeApiLogin", "tradeApiValidate"),
        fin_key="X6Nk8cQhUgGmJ2vBdWw4sfzrz4L5En",
    ),
    "uat": Endpoints(
        session="https://nsbxapi.kotaksecurities.com/",
        api="https://nsbxapi-gw.kotaksecurities.com/",
        login="https://d-mis.kotaksecurities.com/",
        prefix="api/1.0/",
        totp=("login/v6/totp/login", "login/v6/totp/validate"),
        fin_key="bQJNkL5z8m4aGcRgjDvXhHfSx7VpZnE",
    ),
}


def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine's loopback, by address or as `localhost`."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
