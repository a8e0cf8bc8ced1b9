"""What shoppers see where no ShopSet answers, as `http-request return` takes it."""

from typing import Final


def _page(title: str, text: str, retry_after: int | None = None) -> str:
    html = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<title>{title}</title><body><h1>{title}</h1><p>{text}</p></body></html>"
    )
    retry = "" if retry_after is None else f" hdr Retry-After {retry_after}"
    return f"hdr Cache-Control no-store{retry} content-type text/html string '{html}'"


UNKNOWN: Final = _page("No such shop", "There is no shop at this address.")
MISDIRECTED: Final = _page("Misdirected request", "This connection was made for another shop.")
MAINTENANCE: Final = _page("Back soon", "This shop is being worked on. Please come back later.", 300)
TOO_MANY: Final = _page("Too many requests", "Please try again in a moment.", 1)
FULL: Final = _page("Very busy", "This shop has more visitors than it can serve. Please try again in a moment.", 1)
DOWN: Final = _page("This shop is resting", "Please come back in a few seconds.", 5)
