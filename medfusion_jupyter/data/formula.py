"""A numeric column computed of others. A formula is read as a tree and only what is named here is computed: nothing is run."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medfusion_jupyter.data import tables
from medfusion_jupyter.data.errors import CohortError, closest

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "log": (np.log, 1),
    "log10": (np.log10, 1),
    "exp": (np.exp, 1),
    "sqrt": (np.sqrt, 1),
    "abs": (np.abs, 1),
    "minimum": (np.minimum, 2),
    "maximum": (np.maximum, 2),
}
"""With how many values each takes."""

ALLOWED = f"columns, numbers, + - * / ** and {', '.join(FUNCTIONS)}"
_QUOTED = re.compile(r"`([^`]+)`")


def computed(formula: str, table: pd.DataFrame) -> NDArray[np.float64]:
    """The value of the formula in each row of the table, NaN where it is no number. Raises CohortError, naming what is wrong."""
    columns: dict[str, str] = {}

    def stand_in(quoted: re.Match[str]) -> str:
        name = f"column_{len(columns)}_"
        columns[name] = quoted[1]
        return name

    try:
        tree = ast.parse(_QUOTED.sub(stand_in, formula.strip()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise CohortError(f"The formula {formula!r} cannot be read: {error}. It is made of {ALLOWED}.") from None

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return np.float64(node.value)
        if isinstance(node, ast.Name):
            return _column(columns.get(node.id, node.id), table)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](value(node.operand))
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in FUNCTIONS
            and not node.keywords
        ):
            function, count = FUNCTIONS[node.func.id]
            if len(node.args) != count:
                raise CohortError(f"{node.func.id} in {formula!r} takes {count} values, not {len(node.args)}.")
            return function(*map(value, node.args))
        raise CohortError(f"{ast.unparse(node)!r} in the formula {formula!r} is not computed. It is made of {ALLOWED}.")

    with np.errstate(all="ignore"):
        result = np.broadcast_to(np.asarray(value(tree), dtype=np.float64), (len(table),)).copy()
    result[~np.isfinite(result)] = np.nan
    return result


def _column(name: str, table: pd.DataFrame) -> NDArray[np.float64]:
    if name not in table.columns:
        raise CohortError(f"There is no column {name!r}.{closest(name, map(str, table.columns))}")
    numbers = tables.numbers(table[name], name).copy()
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers
