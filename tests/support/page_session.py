"""One Python session of a page: blocks as JSON lines on standard input, what became of each on standard output."""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
import traceback


def main() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner() as loop:
        for line in sys.stdin:
            told = json.loads(line)
            printed, raised, trace = io.StringIO(), None, ""
            try:
                with contextlib.redirect_stdout(printed):
                    run(told, names, loop)
            except Exception as error:  # noqa: BLE001 - whatever a page raises is told
                raised, trace = type(error).__name__, traceback.format_exc()
            print(json.dumps({"printed": printed.getvalue(), "raised": raised, "trace": trace}), flush=True)


def run(told, names, loop) -> None:
    source = "\n" * (told["line"] - 1) + told["code"]  # so that a traceback names the page's own lines
    code = compile(source, told["page"], "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    ran = eval(code, names)  # noqa: S307 - the page is ours
    if inspect.iscoroutine(ran):
        loop.run(ran)


main()
