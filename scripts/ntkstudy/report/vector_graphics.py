"""SVG figures as parts of an HTML page: themed, responsive, with identifiers of their own."""

import re
from math import ceil
from xml.etree import ElementTree

from markupsafe import Markup

INK = "#1a2b3c"
"""Colour that figures give to text, axes and ticks; on the page it follows the text colour."""

_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)['\"]?\s*\)")
_LONG_NUMBER = re.compile(r"-?\d*\.\d{3,}(?:e[-+]?\d+)?")
# matplotlib draws text as outlines of a font of 100 units, y upwards.
_TEXT_SCALE = re.compile(r"scale\((0\.\d+) -\1\)")
LEAST_TEXT_PX = 9
_PX_PER_PT = 4 / 3
_DROPPED = {"metadata", "style", "title"}


def embed_svg(svg: str, *, prefix: str, label: str) -> Markup:
    """Return an SVG document as an inline element of an HTML page, in a `div` of class `plot`.

    The ink colour becomes `currentColor`, every identifier and reference gets the prefix,
    coordinates of paths are rounded to 0.01 of the figure's unit, and the size becomes the style of
    the `div`, so that the figure shrinks with the page and has its place before it is drawn; it
    shrinks until its smallest text has `LEAST_TEXT_PX` pixels.
    Prolog, metadata and style sheets (which would act on the whole page) are dropped.

    Args:
        svg: Text of the document, as written by matplotlib.
        prefix: Put before every identifier; unique per figure of the page.
        label: What the figure shows, in words, for readers who do not see it.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in _DROPPED:
                parent.remove(child)
    for element in root.iter():
        _adapt(element, prefix)
    style = _move_size(root, _least_share(svg))
    root.attrib |= {"role": "img", "aria-label": label}
    element = ElementTree.tostring(root, encoding="unicode")
    return Markup('<div class="plot" style="{}">{}</div>').format(style, Markup(element))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _adapt(element: ElementTree.Element, prefix: str) -> None:
    """Drop namespaces and blank text, and rewrite the attributes."""
    element.tag = _local(element.tag)
    element.text = element.text if element.text and element.text.strip() else None
    element.tail = element.tail if element.tail and element.tail.strip() else None
    attributes = {_local(k): _adapt_value(_local(k), v, prefix) for k, v in element.attrib.items()}
    element.attrib.clear()
    element.attrib.update(attributes)


def _adapt_value(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return prefix + value
    if name == "href" and value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if name in {"d", "points", "x", "y"}:
        return _LONG_NUMBER.sub(_round, " ".join(value.split()))
    return _REFERENCE.sub(rf"url(#{prefix}\1)", value.replace(INK, "currentColor"))


def _round(match: re.Match) -> str:
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def _least_share(svg: str) -> float:
    """Share of its size that a figure may shrink to before its text is too small to read."""
    sizes = [100 * float(scale) * _PX_PER_PT for scale in _TEXT_SCALE.findall(svg)]
    return min(1.0, LEAST_TEXT_PX / min(sizes)) if sizes else 0.0


def _move_size(root: ElementTree.Element, least: float) -> str:
    """Take the size off the root, where it would be rigid, and return it as a style."""
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    x, y = (re.match(r"[\d.]+", text)[0] for text in (width, height))
    root.attrib.setdefault("viewBox", f"0 0 {x} {y}")
    return f"width: {width}; min-width: {ceil(float(x) * least)}pt; aspect-ratio: {x} / {y}"
