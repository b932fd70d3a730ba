"""
Docstrings in Twisted's markup (epytext: C{@param x:}, C{L{name}}) for Sphinx's autodoc, which reads reStructuredText.

Also C{.. zope-interface:: module:NAME}, since autodoc takes a zope interface for a plain value, and
C{.. room:: package}, which documents a package and each of its modules, but for what is public.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles
from zope.interface.interface import InterfaceClass, Method

FIELDS = {"return": "returns", "rtype": "rtype", "raise": "raises"}
MARKS = {"L": "`", "C": "``", "I": "*", "B": "**"}
_INLINE = re.compile(r"([A-Z])\{([^{}]*)\}(\w?)")
_RULER = re.compile(r"^\s*=+( +=+)+\s*$")
_FIELD = re.compile(r"^(\s*)@(\w+)(?:\s+([^:]+?))?:(?:\s+|$)(.*)$")


def inline(text: str) -> str:
    """L{..}, C{..}, I{..}, B{..} and U{..} of a text, as reStructuredText; L{..} in the default role, C{py:obj}."""

    def replaced(match: re.Match[str]) -> str:
        kind, content, after = match[1], " ".join(match[2].split()), match[3]
        if after:  # the plural of L{Deferred}, say: reStructuredText wants markup to end at the end of a word
            after = f"\\ {after}"
        words, _, target = content.partition("<")
        if kind == "L" and target:
            return f"`{words.strip()} <{target.rstrip('>')}>`{after}"
        if kind in MARKS:
            return f"{MARKS[kind]}{content}{MARKS[kind]}{after}"
        return match[2] + match[3] if kind == "U" else match[0]

    return _INLINE.sub(replaced, text)


def convert(lines: list[str]) -> list[str]:
    """
    A docstring's lines in reStructuredText.

    Fields become Sphinx's; what continues a field is indented below it. Text that is reStructuredText stays as it is.
    """
    out: list[str] = []
    base: int | None = None  # the indentation of the field that is being continued
    for line in inline("\n".join(_padded(lines))).split("\n"):
        match = _FIELD.match(line)
        if match:
            indent, tag, argument, rest = match.groups()
            if base is None and out and out[-1].strip():
                out.append("")
            base = len(indent)
            name = FIELDS.get(tag, tag)
            out.append(f"{indent}:{name}{f' {argument}' if argument else ''}: {rest}".rstrip())
        elif base is not None and line.strip() and len(line) - len(line.lstrip()) <= base:
            out += ["", line]
            base = None
        else:
            out.append(line)
    return out


def _padded(lines: list[str]) -> list[str]:
    """A space behind each L{..} in simple tables, so that their columns stay where they are."""
    inside = 0
    out = []
    for line in lines:
        inside = 0 if not line.strip() else inside + 1 if _RULER.match(line) else inside
        out.append(re.sub(r"(L\{[^{}<]*\})", r"\1 ", line) if inside else line)
    return out


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """autodoc's event autodoc-process-docstring."""
    lines[:] = convert(lines)


def indented(text: str, by: str = "   ") -> list[str]:
    """The cleaned docstring C{text}, converted and indented."""
    return [f"{by}{line}" if line.strip() else "" for line in convert(inspect.cleandoc(text).split("\n"))]


def interface_lines(path: str, interface: InterfaceClass) -> list[str]:
    """An interface, its attributes and its methods in reStructuredText."""
    bases = ", ".join(f":py:obj:`{base.__name__}`" for base in interface.__bases__ if base.__name__ != "Interface")
    lines = [f".. py:class:: {path.replace(':', '.')}", "", "   An interface (``zope.interface``)."]
    if bases:
        lines += ["", f"   Extends {bases}."]
    lines += ["", *indented(interface.__doc__ or ""), ""]
    signatures = _signatures(interface)
    members = interface.namesAndDescriptions(all=False)
    # attributes first; zope keeps the order of writing within each kind
    for name, description in sorted(members, key=lambda pair: isinstance(pair[1], Method)):
        if isinstance(description, Method):
            signature = signatures.get(name, description.getSignatureString())
            lines += [f"   .. py:method:: {name}{signature}", ""]
        else:
            lines += [f"   .. py:attribute:: {name}", ""]
        lines += [*indented(description.__doc__ or "", "      "), ""]
    return lines


def _signatures(interface: InterfaceClass) -> dict[str, str]:
    """The methods' arguments as they are written: zope forgets those that are keyword only."""
    tree = ast.parse(inspect.getsource(importlib.import_module(interface.__module__)))
    return {
        method.name: f"({ast.unparse(method.args)})"
        for definition in tree.body
        if isinstance(definition, ast.ClassDef) and definition.name == interface.__name__
        for method in definition.body
        if isinstance(method, ast.FunctionDef)
    }


class ZopeInterface(SphinxDirective):
    """C{.. zope-interface:: module:NAME}"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].partition(":")
        try:
            interface = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise self.error(f"no interface {self.arguments[0]}: {error}") from error
        if not isinstance(interface, InterfaceClass):
            raise self.error(f"{self.arguments[0]} is no zope interface")
        return parsed(self, interface_lines(self.arguments[0], interface))


class Room(SphinxDirective):
    """C{.. room:: package}: the package's docstring, then a section for each of its modules."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise self.error(f"no room {package}: {error}") from error
        # What a package exports is documented in the module that it comes from.
        lines = [f".. automodule:: {package}", "   :no-members:", ""]
        for info in sorted(pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."), key=lambda i: i.name):
            if info.ispkg:  # a room of its own
                continue
            title = f"``{info.name}``"
            lines += [title, "=" * len(title), "", *module_lines(info.name)]
        return parsed(self, lines)


def module_lines(name: str) -> list[str]:
    """A module's documentation, without what the package exports: that is documented as public."""
    public = importlib.import_module(name.partition(".")[0])
    exported = [each for each in public.__all__ if getattr(getattr(public, each), "__module__", None) == name]
    lines = [f".. automodule:: {name}", "   :members:", "   :show-inheritance:"]
    if exported:
        lines.append(f"   :exclude-members: {', '.join(exported)}")
    return [*lines, ""]


def parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """The nodes of generated reStructuredText, sections included."""
    parent = nodes.Element()
    parent.document = directive.state.document
    nested_parse_with_titles(directive.state, StringList(lines, source=directive.arguments[0]), parent)
    return parent.children


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", process)
    app.add_directive("zope-interface", ZopeInterface)
    app.add_directive("room", Room)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
