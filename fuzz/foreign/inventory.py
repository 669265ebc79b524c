"""Which functions of the worker's should be in the registry, found in its source.

Those that others can call, that take text, bytes or something made of them, and that search it, split it or decode it:
themselves, or by the functions of their module. A function that is given away as a value (a validator, for example)
can be called by others, whatever its name.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import worker

_ROOT = Path(worker.__file__).parent
_PACKAGES = ("adapters", "delivery", "domain", "history", "operations")
_OUTSIDE = (
    "adapters/history/",
    "adapters/ledger/",
    "adapters/mailbox_memory/",
)  # what they read is what the worker itself wrote there
_TAKEN = frozenset(
    {"str", "bytes", "bytearray", "memoryview", "object", "Any", "Token", "Line", "Arrival", "Reply", "Trouble"}
    | {"SMTPResponse", "SMTPResponseException", "Answer", "Lookup", "Rdata", "ClientResponse", "DeadMessage"}
    | {"TextIO", "LetterData", "LetterEvent", "Attachment", "NamedAddress", "Thread", "ListedFolder", "ResponseCode"}
)
_SEARCHES = frozenset(
    {"match", "fullmatch", "search", "sub", "subn", "split", "rsplit", "splitlines", "finditer", "findall"}
    | {"normalize", "casefold", "unescape", "loads", "raw_decode", "decode", "find", "rfind", "replace", "translate"}
    | {
        "partition",
        "rpartition",
        "b64decode",
        "a2b_base64",
        "b2a_base64",
        "from_json",
        "unpack_from",
        "uts46_remap",
        "encode",
    }
    | {"validate_json", "validate_python", "model_validate", "model_validate_json", "fromisoformat", "from_wire"}
)


def foreign_functions() -> Iterator[str]:
    """Their names, as `module:name` or `module:Class.name`, without `worker.`."""
    for package in _PACKAGES:
        for path in sorted((_ROOT / package).rglob("*.py")):
            relative = path.relative_to(_ROOT).as_posix()
            if not relative.startswith(_OUTSIDE):
                module = relative.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                yield from (f"{module}:{name}" for name in found_in(path.read_text(encoding="utf-8")))


def found_in(source: str) -> list[str]:
    """The names of such functions in a module's source, in their order."""
    tree = ast.parse(source)
    functions = list(_functions(tree))
    names = {function.name for _, function in functions}
    calls = {function.name: _called(function) for _, function in functions}
    searching = {name for name, called in calls.items() if called & _SEARCHES or _converts(tree, name)}
    while grown := {name for name, called in calls.items() if name not in searching and called & searching & names}:
        searching |= grown
    given = _given_away(tree)
    return [
        ".".join((*classes, function.name))
        for classes, function in functions
        if function.name in searching
        and _takes_foreign(function)
        and (_is_public(function.name) or function.name in given)
        and not any(name.startswith("_") for name in classes)
    ]


_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.AST, classes: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _Function):
            yield classes, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, (*classes, node.name))


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__call__"


def _called(function: _Function) -> set[str]:
    """What it calls, and all that it names besides: `map(parse, texts)` calls as well."""
    named = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return named | {call.attr for call in calls if isinstance(call, ast.Attribute)}


def _converts(tree: ast.AST, name: str) -> bool:
    """Whether the function turns text into numbers, which costs the square of its length."""
    return any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("int", "float")
        for _, function in _functions(tree)
        if function.name == name
        for node in ast.walk(function)
    )


def _takes_foreign(function: _Function) -> bool:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    annotations = [argument.annotation for argument in every if argument is not None and argument.annotation]
    named = {node.id for each in annotations for node in ast.walk(each) if isinstance(node, ast.Name)}
    quoted = {node.value for each in annotations for node in ast.walk(each) if isinstance(node, ast.Constant)}
    return bool((named | quoted) & _TAKEN)


def _given_away(tree: ast.Module) -> set[str]:
    """Names that stand as values outside of functions: in annotations, tables, and calls as `AfterValidator(f)`."""
    outside = [node for node in tree.body if not isinstance(node, _Function | ast.Import | ast.ImportFrom)]
    nodes = [node for each in outside for node in _outside_of_functions(each)]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    return {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}


def _outside_of_functions(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _Function):
            yield from _outside_of_functions(child)
