"""How often one place of a value would be looked at if the value were held against a JSON Schema.

A schema of a few lines whose references refer twice to what refers twice keeps a validator busy for hours, and the
validator lets nothing else run. Pure: the schema is only read, and what it leads to is counted, not followed.
"""

from typing import Any, cast

MOST = 1_000
"""Looks at one place. Ordinary schemas take less than twenty."""
_DEEPEST = 32  # levels of a value, as in a file
_HERE = ("not", "if", "then", "else", "additionalProperties", "items", "contains", "propertyNames")
_DATA = frozenset({"default", "enum", "const", "examples"})
_DOWN = frozenset({"additionalProperties", "items", "contains", "propertyNames", "properties", "prefixItems"})


def unfolds_too_far(schema: dict[str, Any]) -> bool:
    """True if a place would be looked at more than MOST times."""
    return _Count(schema).looks(schema, _DEEPEST) > MOST


class _Count:
    def __init__(self, root: dict[str, Any]) -> None:
        self._base: dict[int, dict[str, Any]] = {}  # by node, what its references start from
        self._named: dict[tuple[int, str], dict[str, Any]] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._walk(root, root)

    def _walk(self, node: Any, base: dict[str, Any]) -> None:
        if isinstance(node, list):
            for each in cast("list[Any]", node):
                self._walk(each, base)
        elif isinstance(node, dict):
            said = cast("dict[str, Any]", node)
            base = said if "$id" in said else base
            self._base[id(said)] = base
            self._named[id(base), str(said.get("$anchor"))] = said
            for word, value in said.items():
                if word not in _DATA:
                    self._walk(value, base)

    def looks(self, node: Any, left: int) -> int:
        """At a place where this schema applies, and at the worst place below it."""
        if not isinstance(node, dict) or left < 0:
            return 1
        said, key = cast("dict[str, Any]", node), (id(cast("Any", node)), left)
        if key not in self._known:
            self._known[key] = 0  # refers to itself at the same place: the validator stops there too
            self._known[key] = min(self._sum(said, left), MOST + 1)
        return self._known[key]

    def _sum(self, node: dict[str, Any], left: int) -> int:
        total = 1
        for word, value in node.items():
            below = left - 1 if word in _DOWN or word == "patternProperties" else left
            if word == "$ref":
                total += self.looks(self._target(str(value), self._base.get(id(node), node)), left)
            elif word in ("allOf", "anyOf", "oneOf") and isinstance(value, list):
                total += sum(self.looks(each, left) for each in cast("list[Any]", value))
            elif word in ("patternProperties", "dependentSchemas") and isinstance(value, dict):
                total += sum(self.looks(each, below) for each in cast("dict[str, Any]", value).values())
            elif word == "properties" and isinstance(value, dict):
                total += max((self.looks(each, below) for each in cast("dict[str, Any]", value).values()), default=0)
            elif word == "prefixItems" and isinstance(value, list):
                total += max((self.looks(each, below) for each in cast("list[Any]", value)), default=0)
            elif word in _HERE:
                total += self.looks(value, below)
            if total > MOST:
                break
        return total

    def _target(self, reference: str, base: dict[str, Any]) -> Any:
        name = reference.removeprefix("#")
        if name and not name.startswith("/"):
            return self._named.get((id(base), name))
        node: Any = base
        for step in name.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and key.isdecimal():
                node = dict(enumerate(cast("list[Any]", node))).get(int(key))
            else:
                node = cast("dict[str, Any]", node).get(key) if isinstance(node, dict) else None
        return node
