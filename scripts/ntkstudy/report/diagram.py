"""The rules of a run as a picture: a box for each, an arrow where one reads what another made."""

from collections.abc import Iterable, Mapping

from markupsafe import Markup

Edge = tuple[str, str]

_BOX, _HEIGHT, _GAP, _RISE = 194, 44, 12, 40


def layers(rules: Iterable[str], edges: Iterable[Edge]) -> list[list[str]]:
    """Rules in rows, so that every arrow points to a row further down.

    Raises:
        ValueError: if the arrows go round in a circle.
    """
    before: dict[str, set[str]] = {rule: set() for rule in rules}
    for first, second in edges:
        before[second].add(first)
    rows: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(before):
        row = [rule for rule in before if rule not in placed and before[rule] <= placed]
        if not row:
            raise ValueError(f"arrows in a circle: {sorted(before.keys() - placed)}")
        rows.append(row)
        placed |= set(row)
    return rows


def needed_edges(edges: Iterable[Edge]) -> set[Edge]:
    """Arrows without those that a longer way says already."""
    edges = set(edges)
    after: dict[str, set[str]] = {}
    for first, second in edges:
        after.setdefault(first, set()).add(second)

    def reach(rule: str) -> set[str]:
        direct = after.get(rule, set())
        return direct.union(*(reach(one) for one in direct)) if direct else set()

    return {
        (first, second)
        for first, second in edges
        if not any(second in reach(between) for between in after[first] - {second})
    }


def draw_rules(notes: Mapping[str, str], edges: Iterable[Edge], *, label: str) -> Markup:
    """An SVG picture of rules, for an HTML page.

    Args:
        notes: a line below the name of each rule.
        edges: pairs of them.
        label: what the picture says, in words.
    """
    rows = layers(notes, edges)
    columns = max(len(row) for row in rows)
    width, height = columns * (_BOX + _GAP), len(rows) * (_HEIGHT + _RISE) - _RISE + 4
    places = {
        rule: ((width - len(row) * (_BOX + _GAP) + _GAP) / 2 + at * (_BOX + _GAP), y)
        for y, row in ((2.0 + level * (_HEIGHT + _RISE), row) for level, row in enumerate(rows))
        for at, rule in enumerate(row)
    }
    arrows = [
        _arrow(*places[first], *places[second]) for first, second in sorted(needed_edges(edges))
    ]
    boxes = [_box(rule, notes[rule], *places[rule]) for rule in notes]
    head = Markup(
        '<svg class="diagram" viewBox="0 0 {w} {h}" style="min-width: {least}px; max-width: {w}px" '
        'role="img" aria-label="{label}"><defs><marker id="arrow-head" viewBox="0 0 8 8" refX="7" '
        'refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker>'
        "</defs>"
    )
    start = head.format(w=width, h=height, least=round(0.75 * width), label=label)
    return start + Markup("").join([*arrows, *boxes]) + Markup("</svg>")


def _arrow(x: float, y: float, to_x: float, to_y: float) -> Markup:
    start, end = (x + _BOX / 2, y + _HEIGHT), (to_x + _BOX / 2, to_y - 2)
    bend = (end[1] - start[1]) / 2
    path = (
        f"M{start[0]:g} {start[1]:g}C{start[0]:g} {start[1] + bend:g} "
        f"{end[0]:g} {end[1] - bend:g} {end[0]:g} {end[1]:g}"
    )
    return Markup('<path class="arrow" d="{}" marker-end="url(#arrow-head)"/>').format(path)


def _box(rule: str, note: str, x: float, y: float) -> Markup:
    return Markup(
        '<g><rect x="{x:g}" y="{y:g}" width="{w}" height="{h}" rx="5"/>'
        '<text x="{cx:g}" y="{first:g}">{rule}</text>'
        '<text class="small" x="{cx:g}" y="{second:g}">{note}</text></g>'
    ).format(
        x=x, y=y, w=_BOX, h=_HEIGHT, cx=x + _BOX / 2, first=y + 18, second=y + 35, rule=rule,
        note=note,
    )  # fmt: skip
