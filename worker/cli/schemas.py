"""`sendas schemas`: writes the contract's JSON Schemas and AsyncAPI document."""

from pathlib import Path

from worker.cli.common import print_line
from worker.operations.contract.schemas import differences, write


def schemas(directory: Path = Path("schemas"), *, check: bool = False) -> int:
    """Write the contract's schemas, or say which files differ from what the models generate.

    The schemas carry the examples that DIRECTORY/examples holds, if there are any.

    Parameters
    ----------
    directory
        Where the files are.
    check
        Change nothing; the exit status is 1 when something differs.
    """
    if not check:
        write(directory)
        return 0
    found = differences(directory)
    for difference in found:
        print_line(difference)
    return 1 if found else 0
