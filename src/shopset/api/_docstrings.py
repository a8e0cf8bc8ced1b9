"""The docstrings below the fields of models, which are their descriptions in a schema.

pydantic would read them whenever a model is made: the sources of all models, at each start of each command.
"""

import ast
import inspect
from itertools import pairwise
from textwrap import dedent

from pydantic import BaseModel


def attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return field -> the docstring below it, where there is one. Fields of its bases come first."""
    bases = (each for each in reversed(model.__mro__) if each is not BaseModel and issubclass(each, BaseModel))
    return {name: text for each in bases for name, text in _own(each).items()}


def _own(model: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(dedent(inspect.getsource(model))).body
    found = {}
    if isinstance(definition, ast.ClassDef):
        for statement, below in pairwise(definition.body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
    return found
