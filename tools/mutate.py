"""Measure tests by mutation: change one thing in a module, run its tests, and see whether they notice.

    python -m tools.mutate worker/domain/backoff.py --tests tests/unit/test_backoff.py --sample 20 --minutes 5

Prints each mutation with `killed` (the tests failed) or `survived`, then the counts. It works in a copy of the
committed and changed files, so the working tree stays as it is. Exits with 1 when a mutation survived.
"""

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_START_S = 60.0  # of patience beyond three times what the tests take unchanged

_OPPOSITES: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
}


@dataclass(frozen=True)
class Mutation:
    """One change to a module: `source` is the module with it."""

    line: int
    what: str
    source: str


def mutations(source: str) -> Iterator[Mutation]:
    """Every change that is known how to make to the functions of a module. Raises SyntaxError."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    nodes = {id(node): node for function in functions for body in function.body for node in ast.walk(body)}
    for node in nodes.values():
        for what, changed in _changes(node):
            yield Mutation(getattr(node, "lineno", 0), what, _with(tree, node, changed))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may stand in the node's place."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in _OPPOSITES:
            yield _swapped(node, "ops", [_OPPOSITES[type(op)]()])
        case ast.BoolOp(op=op):
            yield _swapped(node, "op", _OPPOSITES[type(op)]())
        case ast.BinOp(op=op) if type(op) in _OPPOSITES:
            yield _swapped(node, "op", _OPPOSITES[type(op)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{ast.unparse(node)} -> {ast.unparse(operand)}", operand
        case ast.Constant(value=bool() as value):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int() as number):
            yield f"{number} -> {number + 1}", ast.Constant(number + 1)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield _swapped(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield f"{_first_line(node)} -> pass", ast.Pass()
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield f"{_first_line(node)} -> return None", ast.Return(ast.Constant(None))


def _swapped(node: ast.AST, field: str, value: object) -> tuple[str, ast.AST]:
    changed = copy.copy(node)
    setattr(changed, field, value)
    return f"{_first_line(node)} -> {_first_line(changed)}", changed


def _first_line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0]


def _with(tree: ast.Module, node: ast.AST, changed: ast.AST) -> str:
    """The module with one node replaced."""
    # A deep copy keeps the memo of what became of each node.
    memo: dict[int, object] = {id(node): ast.copy_location(copy.deepcopy(changed), node)}
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree, memo)))


def copied_project(directory: Path) -> None:
    """Copy all files that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, directory / name)


def passes(directory: Path, tests: Sequence[str], timeout_s: float | None = None) -> bool:
    """Whether the tests pass in the copy; tests that hang do not."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # For the workers that tests start too, the copy comes before what is installed.
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    try:
        ended = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, timeout=timeout_s, check=False
        )
        return ended.returncode == 0
    except subprocess.TimeoutExpired:
        return False


def sample(files: Sequence[str], size: int, seed: int) -> list[tuple[str, Mutation]]:
    """Some mutations of the files, the same for the same seed."""
    everything = [(name, mutation) for name in files for mutation in mutations((PROJECT / name).read_text())]
    return random.Random(seed).sample(everything, min(size, len(everything)))


def main() -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="modules to change, relative to the project")
    parser.add_argument("--tests", nargs="+", required=True, help="what pytest runs for each mutation")
    parser.add_argument("--sample", type=int, default=30, help="how many mutations at most")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no further mutation after this time")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    ends = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="mutate-") as temporary:
        directory = Path(temporary)
        copied_project(directory)
        began = time.monotonic()
        if not passes(directory, options.tests):
            print("the tests fail without any mutation", file=sys.stderr)
            return 2
        timeout_s = 3 * (time.monotonic() - began) + _START_S
        counts = {"killed": 0, "survived": 0}
        for name, mutation in sample(options.files, options.sample, options.seed):
            if time.monotonic() > ends:
                break
            (directory / name).write_text(mutation.source)
            verdict = "survived" if passes(directory, options.tests, timeout_s) else "killed"
            shutil.copy2(PROJECT / name, directory / name)
            counts[verdict] += 1
            print(f"{verdict:8} {name}:{mutation.line}: {mutation.what}", flush=True)
    print(f"{counts['killed']} killed, {counts['survived']} survived (seed {options.seed})")
    return 1 if counts["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
