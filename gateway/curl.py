"""How to ask for an operation at a shell: one `curl` command, made of what the OpenAPI document says of it.

An example sends the least that the schema allows. It asks for nothing itself, and knows no address and no token.
"""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

Node = Mapping[str, Any]
"""A part of an OpenAPI document."""


def sample(node: Node, shapes: Mapping[str, Node]) -> Any:
    """A value as short as a schema allows, for an example."""
    if reference := node.get("$ref"):
        return sample(shapes[reference.rpartition("/")[2]], shapes)
    for word in ("examples", "enum"):
        if node.get(word):
            return node[word][0]
    for word in ("example", "const", "default"):
        if node.get(word) is not None:
            return node[word]
    if branches := node.get("anyOf") or node.get("oneOf"):
        return sample(branches[0], shapes)
    match node.get("type"):
        case "object":
            given = node.get("properties", {})
            return {name: sample(given[name], shapes) for name in node.get("required", ()) if name in given}
        case "array":
            return [sample(node.get("items", {}), shapes)] if node.get("minItems") else []
        case "integer" | "number":
            return node.get("minimum", 1)
        case "boolean":
            return False
        case "string":
            return "text"
        case _:
            return None


def curl(method: str, path: str, said: Node, shapes: Mapping[str, Node]) -> str:
    """A command that asks for this operation. Names in capitals are the reader's to set."""
    address = re.sub(r"\{(\w+)\}", lambda found: f"${found[1].upper()}", path)
    query = "&".join(
        f"{each['name']}=${each['name'].upper()}"
        for each in said.get("parameters", ())
        if each["in"] == "query" and each.get("required")
    )
    content = said.get("requestBody", {}).get("content", {})
    streams = any("text/event-stream" in answer.get("content", {}) for answer in said["responses"].values())
    words = ["curl --no-buffer" if streams else "curl"]
    if method not in ("GET", "POST") or (method == "POST" and not content):
        words[0] += f" --request {method}"
    words[0] += f' "$GOALFILE_URL{address}{"?" if query else ""}{query}"'
    if said.get("security"):
        words.append('--header "Authorization: Bearer $GOALFILE_TOKEN"')
    if "application/json" in content:
        body = json.dumps(sample(content["application/json"]["schema"], shapes), ensure_ascii=False)
        words += ["--header 'Content-Type: application/json'", f"--data {shlex.quote(body)}"]
    elif content:
        words += [f"--header 'Content-Type: {next(iter(content))}'", "--data-binary @task.yaml"]
    return " \\\n  ".join(words)
