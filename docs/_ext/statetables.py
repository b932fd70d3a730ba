"""
State diagrams drawn from the tables that the code runs on (L{hypermail.machine.Table}).

``.. state-table:: hypermail.link.states:LINK`` renders one table; ``.. state-tables:: hypermail`` finds every table of
a package and gives each a section. Each is drawn as SVG, by a layout of our own that needs no graphviz, and written
out as a table of transitions, which is also what builders other than HTML show.

The drawing: states stand in a column, in the order in which they can be reached. What leads into a state is gathered
on a vertical line of that state's own, right of the column; each transition runs from its state to the line of its
target, with its inputs written above. Inputs that change nothing are listed inside their state.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from hypermail.machine import Table

CHARACTER = 7.0  # px; the width of a character of the labels
LINE = 16  # px; between two lines of text
PADDING = 10  # px; inside a box
GAP = 22  # px; between two boxes
TRACK = 18  # px; between two vertical lines
LABEL_WIDTH = 44  # characters; longer lists of inputs are wrapped
STAYS_WIDTH = 28  # characters; the same inside a state
COLOURS = ("#1f6f8b", "#b0413e", "#4f772d", "#8a5a00", "#6a4c93", "#00796b", "#a23b72", "#3d5a80", "#7f5539", "#5c677d")


@dataclass
class _Box:
    """A state on its way to be drawn."""

    name: str
    lines: list[str]
    exits: list[tuple[str, list[str]]]
    top: float = 0
    height: float = 0
    entry: float = 0
    ports: dict[str, float] = field(default_factory=dict)


def reachable_order(table: Table[Any, Any]) -> list[Any]:
    """The table's states as they can be reached, breadth first from the initial one; those that end it come last."""
    order = [table.initial]
    for state in order:
        for before, _, after in table:
            if before is state and after not in order:
                order.append(after)
    for before, _, after in table:
        order.extend(state for state in dict.fromkeys((before, after)) if state not in order)
    return sorted(order, key=lambda state: not set(exits(table, state)) - {state})  # sorting is stable


def exits(table: Table[Any, Any], state: Any) -> dict[Any, list[str]]:
    """The inputs that lead from a state to each next state, in the order of the table."""
    found: dict[Any, list[str]] = {}
    for before, input, after in table:
        if before is state:
            found.setdefault(after, []).append(input.name)
    return found


def wrapped(words: Iterable[str], width: int = LABEL_WIDTH) -> list[str]:
    """Words with commas between them, in lines of at most C{width} characters where a word allows it."""
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 2 + len(word) <= width:
            lines[-1] += f", {word}"
        else:
            if lines:
                lines[-1] += ","
            lines.append(word)
    return lines


def draw(table: Table[Any, Any]) -> str:
    """The table as an SVG element; the same table always gives the same drawing."""
    states = reachable_order(table)
    boxes: dict[str, _Box] = {}
    for state in states:
        ways = exits(table, state)
        stays = wrapped(ways.pop(state, []), STAYS_WIDTH)
        boxes[state.name] = _Box(
            state.name,
            [f"↺ {line}" if i == 0 else f"   {line}" for i, line in enumerate(stays)],
            [(after.name, wrapped(inputs)) for after, inputs in ways.items()],
        )
    targets = [name for name in boxes if any(name == after for box in boxes.values() for after, _ in box.exits)]
    width = 2 * PADDING + CHARACTER * max(
        max(len(line) for line in [f"{box.name}  ", *box.lines]) for box in boxes.values()
    )
    y: float = GAP
    for box in boxes.values():
        box.top = y
        box.entry = y + LINE * 0.75
        at = box.entry + (4 if box.name in targets else -LINE * 0.5)
        for after, label in box.exits:
            at += LINE * len(label) + 4
            box.ports[after] = at
        box.height = max(at - y, LINE * (1 + len(box.lines)) + PADDING) + PADDING
        y += box.height + GAP
    left = 26.0
    right = left + width
    labels = [len(line) for box in boxes.values() for _, label in box.exits for line in label]
    tracks = right + 16 + CHARACTER * max(labels, default=0) + TRACK
    track = {name: tracks + TRACK * i for i, name in enumerate(targets)}
    colour = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(targets)}
    total = (tracks + TRACK * len(targets) if targets else right) + 8
    return "".join(_svg(table, boxes, targets, left, width, track, colour, total, y))


def _svg(
    table: Table[Any, Any],
    boxes: dict[str, _Box],
    targets: list[str],
    left: float,
    width: float,
    track: dict[str, float],
    colour: dict[str, str],
    total: float,
    height: float,
) -> Iterator[str]:
    right = left + width
    title = escape(f"The state machine of {table.name}")
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="state-table" role="img" aria-label="{title}" '
        f'viewBox="0 0 {total:.0f} {height:.0f}" style="max-width:{total:.0f}px;width:100%" '
        f'font-family="monospace" font-size="11"><title>{title}</title>'
    )
    for target in targets:
        x, ink = track[target], colour[target]
        ends = [box.ports[target] for box in boxes.values() if target in box.ports]
        entry = boxes[target].entry
        yield (
            f'<path d="M{x:.1f} {min(*ends, entry):.1f}V{max(*ends, entry):.1f}M{x:.1f} {entry:.1f}H{right + 7:.1f}" '
            f'fill="none" stroke="{ink}" stroke-width="1.4"/>'
            f'<path d="M{right:.1f} {entry:.1f}l8 -4v8z" fill="{ink}"/>'
        )
    for box in boxes.values():
        final = not box.exits
        first = box.name == table.initial.name
        yield (
            f'<rect x="{left:.1f}" y="{box.top:.1f}" width="{width:.1f}" height="{box.height:.1f}" rx="6" '
            f'fill="#8881" stroke="currentColor" stroke-width="{2.4 if final else 1.2}"/>'
            f'<text x="{left + PADDING:.1f}" y="{box.top + LINE:.1f}" font-weight="bold" '
            f'fill="currentColor">{escape(box.name)}</text>'
        )
        if first:
            middle = box.top + LINE * 0.75
            yield (
                f'<circle cx="5" cy="{middle:.1f}" r="4" fill="currentColor"/>'
                f'<path d="M9 {middle:.1f}H{left - 7:.1f}" stroke="currentColor"/>'
                f'<path d="M{left:.1f} {middle:.1f}l-8 -4v8z" fill="currentColor"/>'
            )
        for i, line in enumerate(box.lines):
            yield (
                f'<text x="{left + PADDING:.1f}" y="{box.top + LINE * (i + 2):.1f}" xml:space="preserve" '
                f'fill="currentColor">{escape(line)}</text>'
            )
        for after, label in box.exits:
            port, ink = box.ports[after], colour[after]
            yield (
                f'<path d="M{right:.1f} {port:.1f}H{track[after]:.1f}" stroke="{ink}"/>'
                f'<circle cx="{track[after]:.1f}" cy="{port:.1f}" r="3" fill="{ink}"/>'
            )
            for i, line in enumerate(reversed(label)):
                yield f'<text x="{right + 12:.1f}" y="{port - 4 - LINE * i:.1f}" fill="{ink}">{escape(line)}</text>'
    yield "</svg>"


def tabulate(table: Table[Any, Any]) -> nodes.table:
    """The transitions, one row per state and next state."""
    rows = [
        (state.name, ", ".join(inputs), "stays" if after is state else after.name)
        for state in reachable_order(table)
        for after, inputs in exits(table, state).items()
    ]
    result = nodes.table(classes=["state-table"])
    group = nodes.tgroup(cols=3)
    result += group
    for share in (25, 50, 25):
        group += nodes.colspec(colwidth=share)
    head, body = nodes.thead(), nodes.tbody()
    group += head
    group += body
    for part, cells in [(head, ("state", "inputs", "next state")), *((body, row) for row in rows)]:
        row = nodes.row()
        part += row
        for cell in cells:
            content = nodes.literal(text=cell) if part is body and cell != "stays" else nodes.Text(cell)
            row += nodes.entry("", nodes.paragraph("", "", content))
    return result


def render(table: Table[Any, Any]) -> list[nodes.Node]:
    """The drawing (for HTML), what cannot be seen in it, and the transitions."""
    finals = [state.name for state in reachable_order(table) if not set(exits(table, state)) - {state}]
    words = f"Begins in {table.initial.name}"
    words += f"; ends in {' or '.join(finals)}. " if finals else ". "
    words += "A pair of state and input that is not listed is illegal and raises."
    return [nodes.raw("", draw(table), format="html"), nodes.paragraph(text=words), tabulate(table)]


def load(path: str) -> Table[Any, Any]:
    """The table that C{module:NAME} names."""
    module, _, name = path.partition(":")
    table = getattr(importlib.import_module(module), name)
    if not isinstance(table, Table):
        raise TypeError(f"{path} is {table!r}, which is no Table")
    return table


def find(package: str) -> list[tuple[str, Table[Any, Any]]]:
    """Every table of a package with the path of where it is written, sorted by path; tests are not searched."""
    root = importlib.import_module(package)
    names = [package]
    for info in pkgutil.walk_packages(root.__path__, f"{package}."):
        if ".test" not in info.name and not info.name.rpartition(".")[2].startswith("__"):
            names.append(info.name)
    found: dict[int, tuple[str, Table[Any, Any]]] = {}
    for name in names:
        for attribute, value in vars(importlib.import_module(name)).items():
            if isinstance(value, Table):
                # a table is written beside its states; elsewhere it is imported
                if id(value) not in found or type(value.initial).__module__ == name:
                    found[id(value)] = (f"{name}:{attribute}", value)
    return sorted(found.values(), key=lambda pair: pair[0])


class StateTable(Directive):
    """C{.. state-table:: module:NAME}"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        try:
            table = load(self.arguments[0])
        except (ImportError, AttributeError, TypeError) as error:
            raise self.error(f"no state table: {error}") from error
        return render(table)


class StateTables(SphinxDirective):
    """C{.. state-tables:: package}: a section for each table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        try:
            tables = find(self.arguments[0])
        except ImportError as error:
            raise self.error(f"no state tables: {error}") from error
        if not tables:
            raise self.error(f"{self.arguments[0]} has no state tables")
        lines: list[str] = []
        for path, table in tables:
            module = path.partition(":")[0]
            title = f"The {table.name}"
            lines += [title, "=" * len(title), "", f"From ``{module}``.", "", f".. state-table:: {path}", ""]
        parent = nodes.Element()
        parent.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, source=self.arguments[0]), parent)
        return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("state-table", StateTable)
    app.add_directive("state-tables", StateTables)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
