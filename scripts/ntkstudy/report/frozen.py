"""A report to be kept in the documentation, without what is large or lies beside it."""

import re

_ANIMATION = re.compile(r'<details class="animation">.*?</details>\n?', re.DOTALL)
_BESIDE = re.compile(r'<a href="\.\./[^"]*">(.*?)</a>')
_EDITION = '<p class="edition">'
NOTE = "Kept without animations; the tables that it names lie beside the report of a run."


def frozen(html: str) -> str:
    """A page of `page.render` without animations, and with no link to another file.

    Raises:
        ValueError: if it is no such page.
    """
    if html.count(_EDITION) != 1:
        raise ValueError(f"no report: {_EDITION!r} is not in it once")
    html = _BESIDE.sub(r"\1", _ANIMATION.sub("", html))
    return html.replace(_EDITION, f"{_EDITION}{NOTE}</p>\n{_EDITION}")
