# SPDX-License-Identifier: Apache-2.0
"""Recipe ``urlparse``: the pieces of a URL."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from allotment.options import OptionProblem
from allotment.secret import Secret
from allotment_recipes.base import GenericBaseRecipe


@dataclass(frozen=True)
class Options:
    url: Secret  # such as https://user:password@[::1]:8443/path?query#fragment


class Recipe(GenericBaseRecipe[Options]):
    """Tell ``scheme``, ``host``, ``port``, ``username``, ``password``, ``path``, ``query`` and ``fragment`` of ``url``.

    What is not in the URL is empty. An IPv6 address has no brackets; escapes such as ``%40`` stay as they are. The
    password is a secret, and where the URL holds one, so is all but scheme, host and port.
    """

    def prepare(self) -> None:
        is_secret = self.run.tokens.found_in(self.raw["url"])
        url = self.options.url.reveal()
        is_shown = not is_secret and "@" not in url  # before that may be a password
        shown = f"{url!r}" if is_shown else "the URL"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            problem = f"{shown} can't be read" + (f": {error}" if is_shown else "")
            raise OptionProblem("url", problem, "Write it like http://[::1]:8080/") from None
        if not parts.scheme or not parts.hostname:
            raise OptionProblem("url", f"{shown} has no scheme or no host", "Write it like http://[::1]:8080/")
        self.publish_option("scheme", parts.scheme)
        self.publish_option("host", parts.hostname)
        self.publish_option("port", "" if port is None else port)
        self._publish("password", parts.password, is_secret=True)
        for name in ("username", "path", "query", "fragment"):
            self._publish(name, getattr(parts, name), is_secret=is_secret)

    def _publish(self, option: str, value: str | None, *, is_secret: bool) -> None:
        self.publish_option(option, self.run.tokens.token(Secret(value)) if value and is_secret else value or "")
