"""The Python that `to_code` writes, read back as a graph. Nothing of it is run."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from medfusion_jupyter.workflows.call import Call, Word
from medfusion_jupyter.workflows.catalogue import Catalogue, NodeType, closest
from medfusion_jupyter.workflows.code_writer import TITLE, CodeError
from medfusion_jupyter.workflows.graph import Edge, Graph, Node

ENCODERS = ("image_encoder", "tabular_encoder")
DESIGN = (*ENCODERS, "fusion", "head")
ALLOWED = "assignments of calls such as mf.train(…) and cohort.split(…), and texts such as fusion = 'gated'"


def from_code(cell: str, catalogue: Catalogue) -> tuple[str | None, Graph]:
    """The name in the cell's first comment, where there is one, and the graph. Raises CodeError, naming the line."""
    try:
        body = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise CodeError(f"This is no Python: {error}.") from None
    name, notes = _comments(cell)
    reader = _Reader(catalogue)
    for line, text in notes:
        body.append(ast.Expr(ast.Constant(text), lineno=line))
    for statement in sorted(body, key=lambda one: one.lineno):
        reader.read(statement)
    return name, reader.graph()


@dataclass
class _Reader:
    catalogue: Catalogue
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    """Texts by variable, in the order of the cell: what they are is known where they are used."""

    def graph(self) -> Graph:
        unused = [name for name in self.words if self.nodes[name].type == ""]
        if unused:
            raise CodeError(f"The text {unused[0]!r} is not used by a training: what it is cannot be told.")
        place = {node: number for number, node in enumerate(self.nodes)}
        return Graph(tuple(self.nodes.values()), tuple(sorted(self.edges, key=lambda edge: place[edge.target])))

    def read(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Import(names=[ast.alias(name="medfusion", asname="mf")]) | ast.Expr(value=ast.Name()):
                return  # the last line shows what it names
            case ast.Expr(value=ast.Constant(value=str(text))):
                self._add(self._free("note"), "note", {"text": text} if text else {}, statement)
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Constant(value=str(text))):
                self.words[variable] = text
                self._add(variable, "", {"name": text}, statement)
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call() as call):
                self._call(variable, call)
            case ast.Expr(value=ast.Call() as call):
                self._call(None, call)
            case _:
                raise _error(statement, f"{_shown(statement)} is not read. A workflow is made of {ALLOWED}.")

    def _call(self, variable: str | None, call: ast.Call) -> None:
        node_type, code, arguments, inner = self._meant(call)
        sources: dict[str, tuple[str, str]] = {}
        settings: dict[str, Any] = {}
        by_place: list[tuple[str, bool]] = [(port, True) for port, word in code.inputs.items() if word is None]
        by_place += [(name, False) for name in code.by_place]
        for value in arguments:
            # an input that need not be there may be left out
            while by_place and by_place[0][1] and self._source(value) is None:
                by_place.pop(0)
            if not by_place:
                raise _error(call, f"{ast.unparse(value)} is one value too many for {code.function}.")
            name, is_input = by_place.pop(0)
            if is_input:
                sources[name] = self._known(value)
            else:
                settings[name] = _literal(value)
        keywords = {word.arg: word.value for word in inner.keywords if word.arg is not None}
        if any(word.arg is None for word in inner.keywords):
            raise _error(call, "** is not read: write each setting.")
        if len(keywords) < len(inner.keywords):
            raise _error(call, "A setting is given twice.")
        ports = {word: port for port, word in code.inputs.items() if word is not None}
        keywords = {name: value for name, value in keywords.items() if not _is_constant(value, name, code)}
        design = {name: keywords.pop(name, None) for name in DESIGN} if self._is_word(keywords.get("head")) else None
        for name, value in keywords.items():
            if name in ports and self._source(value) is not None:
                sources[ports[name]] = self._known(value)
            else:
                settings[name] = _literal(value)
        if variable is None:
            variable = self._free(node_type.name.rpartition(".")[2])
        if design is not None:
            sources["design"] = self._design(call, design)
        self._add(variable, node_type.name, settings, call)
        for port in node_type.inputs:
            if port.name in sources:
                node, output = sources[port.name]
                self.edges.append(Edge(node, output, variable, port.name))

    def _meant(self, call: ast.Call) -> tuple[NodeType, Call, list[ast.expr], ast.Call]:
        """The node type of a call, its arguments with the object of a method first, and the call without what is behind it."""
        inner, waited = call, False
        if isinstance(call.func, ast.Attribute) and call.func.attr == "wait" and isinstance(call.func.value, ast.Call):
            inner, waited = call.func.value, True
        written = ast.unparse(inner.func)
        there = {one.code.function: (one, one.code) for one in self.catalogue if isinstance(one.code, Call)}
        arguments = list(inner.args)
        found = there.get(written)
        if found is None and isinstance(inner.func, ast.Attribute) and self._source(inner.func.value) is not None:
            found = there.get(f".{inner.func.attr}")
            arguments = [inner.func.value, *arguments]
        if found is None and isinstance(inner.func, ast.Attribute) and f".{inner.func.attr}" in there:
            self._known(inner.func.value)
        if found is None:
            raise _error(call, f"{written} is no function of a node. {closest(written, there)}")
        node_type, code = found
        if waited != bool(code.then):
            raise _error(call, f"Write {code.then or 'nothing'} behind {written}(…).")
        return node_type, code, arguments, inner

    def _source(self, value: ast.expr) -> tuple[str, str] | None:
        """The node and output that an expression names, such as `job.model`."""
        written = ast.unparse(value)
        variable, dot, rest = written.partition(".")
        node = self.nodes.get(variable)
        if node is None or node.type not in self.catalogue:
            return None
        code = self.catalogue.get(node.type).code
        if not isinstance(code, Call):
            return None
        return next(((variable, port) for port, behind in code.outputs.items() if behind == dot + rest), None)

    def _known(self, value: ast.expr) -> tuple[str, str]:
        found = self._source(value)
        if found is None:
            there = {f"{node.id}{behind}": node for node in self.nodes.values() for behind in self._behind(node)}
            raise _error(value, f"{ast.unparse(value)} is no output of a node. {closest(ast.unparse(value), there)}")
        return found

    def _behind(self, node: Node) -> list[str]:
        code = self.catalogue.get(node.type).code if node.type in self.catalogue else None
        return list(code.outputs.values()) if isinstance(code, Call) else []

    def _is_word(self, value: ast.expr | None) -> bool:
        return isinstance(value, ast.Name) and value.id in self.words

    def _design(self, call: ast.Call, given: Mapping[str, ast.expr | None]) -> tuple[str, str]:
        """The output of the head, after the parts of the model were made nodes and led to one another."""
        parts: dict[str, str] = {}
        for name, value in given.items():
            if isinstance(value, ast.Name) and value.id in self.words:
                parts[name] = value.id
            elif name not in ENCODERS or not (isinstance(value, ast.Constant) and value.value is None):
                word = "nothing" if value is None else ast.unparse(value)
                none = ", or None to leave it out" if name in ENCODERS else ""
                raise _error(call, f"{name} is {word}: where head is a variable, give it as one too{none}.")
        encoders = [parts[name] for name in ENCODERS if name in parts]
        for name, variable in parts.items():
            self._make(variable, name, call)
        self._lead(encoders, parts["fusion"], call)
        self._lead([parts["fusion"]], parts["head"], call)
        return parts["head"], self.catalogue.get(self.nodes[parts["head"]].type).outputs[0].name

    def _make(self, variable: str, keyword: str, at: ast.expr) -> None:
        """Make a text the node that its keyword says."""
        kind = next(one.name for one in self.catalogue if isinstance(one.code, Word) and one.code.keyword == keyword)
        if self.nodes[variable].type not in ("", kind):
            raise _error(at, f"{variable!r} is used as {keyword}, and as another part before.")
        self.nodes[variable] = replace(self.nodes[variable], type=kind)

    def _lead(self, sources: list[str], target: str, at: ast.expr) -> None:
        """Edges from parts of a model to the next; where there are some already, they must be the same."""
        port = self.catalogue.get(self.nodes[target].type).inputs[0].name
        edges = [Edge(one, self.catalogue.get(self.nodes[one].type).outputs[0].name, target, port) for one in sources]
        there = [edge for edge in self.edges if edge.target == target]
        if there and there != edges:
            raise _error(at, f"{target!r} is used with other parts before: give this one a variable of its own.")
        if not there:
            self.edges += edges

    def _add(self, variable: str, kind: str, settings: dict[str, Any], at: ast.stmt | ast.expr) -> None:
        if variable in self.nodes:
            raise _error(at, f"{variable!r} is assigned twice: give each node a name of its own.")
        self.nodes[variable] = Node(variable, kind, settings)

    def _free(self, name: str) -> str:
        number, free = 2, name
        while free in self.nodes:
            free, number = f"{name}_{number}", number + 1
        return free


def _comments(cell: str) -> tuple[str | None, list[tuple[int, str]]]:
    """The name that the title says, and the line and text of each comment that has lines of its own."""
    name = None
    notes: list[tuple[int, list[str]]] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(cell).readline):
        if token.type != tokenize.COMMENT or token.line.strip() != token.string:
            continue
        line, text = token.start[0], token.string.removeprefix("#").removeprefix(" ")
        if token.string.startswith(TITLE) and name is None and not notes:
            name = token.string.removeprefix(TITLE).strip() or None
        elif notes and line == last + 1:
            notes[-1][1].append(text)
            last = line
        else:
            notes.append((line, [text]))
            last = line
    return name, [(line, "\n".join(texts)) for line, texts in notes]


def _is_constant(value: ast.expr, name: str, code: Call) -> bool:
    return name in code.constants and isinstance(value, ast.Constant) and value.value == code.constants[name]


def _literal(value: ast.expr) -> Any:
    try:
        read = ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError):
        raise _error(value, f"{ast.unparse(value)} is no plain value: write a text, number, list or dict.") from None
    try:
        return json.loads(json.dumps(read, allow_nan=False))  # a tuple is a list
    except (TypeError, ValueError, RecursionError):
        raise _error(value, f"{ast.unparse(value)} is no value of JSON: write a text, number, list or dict.") from None


def _shown(statement: ast.stmt) -> str:
    written = ast.unparse(statement).splitlines()[0]
    return repr(written if len(written) <= 60 else f"{written[:60]}…")


def _error(at: ast.stmt | ast.expr, words: str) -> CodeError:
    return CodeError(f"Line {at.lineno}: {words}".rstrip())
