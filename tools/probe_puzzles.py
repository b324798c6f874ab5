"""The probes of code, logic and tool choice: a part of `make_probes.py`."""

# ruff: noqa: E501 (a question reads best as it is asked)

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import date, timedelta
from random import Random
from typing import Any

from turnout.learn.probes import CallCheck, Check, ExactCheck, JsonCheck, NumberCheck, Tool

CITIES = ("Lisbon", "Graz", "Osaka", "Bergen", "Tampere", "Ghent", "Porto", "Leeds")

JUST_NUMBER = "End your answer with the number alone on its last line."
JUST_ANSWER = "End your answer with the answer alone on its last line."

Made = tuple[int, str, Check]
"""Level, question and check."""


def number(value: float, tolerance: float = 1e-9) -> NumberCheck:
    return NumberCheck(value=value, tolerance=tolerance)


# --- tracing and repairing code -----------------------------------------------------------------------------------

TRACED: tuple[tuple[int, str, str], ...] = (
    (
        1,
        (
            "def f(items):\n    total = 0\n    for x in items:\n        if x % 2 == 0:\n            total += x\n"
            "    return total"
        ),
        "f([3, 8, 5, 12, 7, 2])",
    ),
    (2, "def f(s):\n    return s[::-1][1:4] + s[:2]", 'f("harbour")'),
    (
        2,
        (
            "def f(word):\n    seen = {}\n    for c in word:\n        seen[c] = seen.get(c, 0) + 1\n"
            "    return max(seen.values()) * len(seen)"
        ),
        'f("mississippi")',
    ),
    (
        3,
        (
            "def f(n):\n    rows = [[]] * 3\n    for i in range(n):\n        rows[i % 3].append(i)\n"
            "    return len(rows[0]) + sum(rows[2])"
        ),
        "f(5)",
    ),
    (
        3,
        (
            "def f(n):\n    steps = 0\n    while n != 1:\n        n = n // 2 if n % 2 == 0 else 3 * n + 1\n"
            "        steps += 1\n    return steps"
        ),
        "f(12)",
    ),
    (
        4,
        (
            "def f(a, b):\n    if b == 0:\n        return a\n    if a % 3 == 0:\n        return f(a // 3, b - 1) + 1\n"
            "    return f(a + b, b - 1) - b"
        ),
        "f(18, 5)",
    ),
    (
        5,
        (
            "def f(n):\n    out, stack = [], [(n, 0)]\n    while stack:\n        k, d = stack.pop()\n        if k < 2:\n"
            "            out.append(d)\n            continue\n        stack.append((k - 1, d + 1))\n"
            "        stack.append((k - 2, d + 2))\n    return sum(x * i for i, x in enumerate(out))"
        ),
        "f(5)",
    ),
)

BROKEN: tuple[tuple[int, str, str, int, str, str], ...] = (
    (
        1,
        "the sum of the squares of 1 to n",
        "def f(n):\n    total = 1\n    for i in range(1, n + 1):\n        total += i * i\n    return total",
        2,
        "    total = 0",
        "f(4)",
    ),
    (
        2,
        "the number of vowels (a, e, i, o, u) in a word of small letters",
        'def f(word):\n    count = 0\n    for c in word:\n        if c in "aeio":\n            count += 1\n    return count',
        4,
        '        if c in "aeiou":',
        'f("unusual")',
    ),
    (
        2,
        "the largest difference between two neighbours in a list",
        "def f(xs):\n    best = 0\n    for a, b in zip(xs, xs[1:]):\n        best = max(best, b - a)\n    return best",
        4,
        "        best = max(best, abs(b - a))",
        "f([4, 9, 1, 3])",
    ),
    (
        3,
        "the index of x in a sorted list, or -1",
        (
            "def f(xs, x):\n    low, high = 0, len(xs)\n    while low < high:\n        mid = (low + high) // 2\n"
            "        if xs[mid] == x:\n            return mid\n        if xs[mid] < x:\n            low = mid + 1\n"
            "        else:\n            high = mid - 1\n    return -1"
        ),
        10,
        "            high = mid",
        "f([1, 4, 6, 9, 13], 4)",
    ),
    (
        3,
        "the list without later repeats, in the order of first appearance",
        (
            "def f(xs):\n    seen = set()\n    out = []\n    for x in xs:\n        if x not in seen:\n"
            "            out.append(x)\n        seen = {x}\n    return out"
        ),
        7,
        "        seen.add(x)",
        "f([2, 5, 2, 5, 3, 2])",
    ),
    (
        4,
        "the longest run of equal neighbours",
        (
            "def f(xs):\n    best = run = 1\n    for a, b in zip(xs, xs[1:]):\n        run = run + 1 if a == b else 0\n"
            "        best = max(best, run)\n    return best"
        ),
        4,
        "        run = run + 1 if a == b else 1",
        "f([7, 7, 3, 3, 3, 3, 1, 1])",
    ),
    (
        5,
        "the fewest coins that make up the amount, or -1",
        (
            "def f(coins, amount):\n    best = [0] + [amount + 1] * amount\n    for total in range(1, amount + 1):\n"
            "        for coin in coins:\n            if coin < total:\n"
            "                best[total] = min(best[total], best[total - coin] + 1)\n"
            "    return best[amount] if best[amount] <= amount else -1"
        ),
        5,
        "            if coin <= total:",
        "f([2, 7, 9], 20)",
    ),
)


def value_of(source: str, call: str) -> Any:
    """What a call of this function of ours returns."""
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 (our own lines above; never a model's)
    return eval(call, names)  # noqa: S307


def tracing(_: Random) -> list[Made]:
    made: list[Made] = []
    for level, source, call in TRACED:
        value = value_of(source, call)
        question = f"What does `{call}` return in Python?\n\n```python\n{source}\n```\n\n"
        if isinstance(value, str):
            made.append((level, f"{question}{JUST_ANSWER}", ExactCheck(text=value)))
        else:
            made.append((level, f"{question}{JUST_NUMBER}", number(value)))
    return made


def repair(_: Random) -> list[Made]:
    made: list[Made] = []
    for level, meant, source, line, better, call in BROKEN:
        lines = source.split("\n")
        mended = "\n".join([*lines[: line - 1], better, *lines[line:]])
        value = value_of(mended, call)
        if value == value_of(source, call):
            raise ValueError(f"{call} does not show the fault of {source}")
        numbered = "\n".join(f"{i}: {text}" for i, text in enumerate(lines, start=1))
        question = (
            f"This Python function is meant to return {meant}, but one line of it is wrong.\n\n{numbered}\n\n"
            f"Which line is wrong, and what does `{call}` return once that line is mended? Answer with a JSON object "
            'alone: {"line": the number of the line, "returns": the value}.'
        )
        made.append((level, question, JsonCheck(value={"line": line, "returns": value})))
    return made


# --- logic --------------------------------------------------------------------------------------------------------

Clue = tuple[str, Callable[[tuple[str, ...]], bool]]


def clues_of(order: tuple[str, ...]) -> list[Clue]:
    """What can be said truly of who finished where."""
    said: list[Clue] = []
    for a, b in itertools.permutations(order, 2):
        i, j = order.index(a), order.index(b)
        if i < j:
            said.append((f"{a} finished before {b}.", lambda o, a=a, b=b: o.index(a) < o.index(b)))
        if j - i == 2:
            said.append(
                (
                    f"Exactly one runner finished between {a} and {b}.",
                    lambda o, a=a, b=b: abs(o.index(a) - o.index(b)) == 2,
                )
            )
        if i > j and abs(i - j) > 1:
            said.append(
                (
                    f"{a} and {b} did not finish one right after the other.",
                    lambda o, a=a, b=b: abs(o.index(a) - o.index(b)) > 1,
                )
            )
    return said


def race(r: Random, runners: int, level: int) -> Made:
    """A race whose clues leave one order; no clue can be left out."""
    names = r.sample(["Ana", "Ben", "Cleo", "Dan", "Eva", "Finn"], runners)
    order = tuple(names)
    clues = clues_of(order)
    r.shuffle(clues)
    if level >= 3:  # the telling kind last: they are tried for leaving out first
        clues.sort(key=lambda clue: "before" in clue[0])
    kept = list(clues)
    for clue in reversed(clues):
        fewer = [c for c in kept if c is not clue]
        if sum(all(fits(o) for _, fits in fewer) for o in itertools.permutations(order)) == 1:
            kept = fewer
    place = r.randrange(runners)
    ordinal = ("first", "second", "third", "fourth", "fifth", "sixth")[place]
    said = "\n".join(text for text, _ in kept)
    people = ", ".join(sorted(names))
    return (
        level,
        f"{people} ran a race; nobody tied.\n{said}\nWho finished {ordinal}? {JUST_ANSWER}",
        ExactCheck(text=order[place]),
    )


def knights(r: Random) -> Made:
    """Who always tells the truth and who never does; three say something, and one reading holds."""
    names = ("Rolf", "Sara", "Tim")
    while True:
        said: list[tuple[str, Callable[[tuple[bool, ...]], bool]]] = []
        for speaker in range(3):
            one, other = [i for i in range(3) if i != speaker]
            said.append(
                r.choice(
                    [
                        (f"{names[one]} is a liar.", lambda t, i=one: not t[i]),
                        (
                            f"{names[one]} and {names[other]} are of the same kind.",
                            lambda t, i=one, j=other: t[i] == t[j],
                        ),
                        (f"Exactly one of us three is a knight.", lambda t: sum(t) == 1),  # noqa: F541
                        (f"{names[other]} is a knight.", lambda t, i=other: t[i]),
                    ]
                )
            )
        holds = [
            truth
            for truth in itertools.product([True, False], repeat=3)
            if all(truth[i] == says(truth) for i, (_, says) in enumerate(said))
        ]
        if len(holds) == 1 and 0 < sum(holds[0]) < 3:
            break
    lines = "\n".join(f"{name}: {text}" for name, (text, _) in zip(names, said, strict=True))
    wanted = {name.lower(): "knight" if truth else "liar" for name, truth in zip(names, holds[0], strict=True)}
    question = (
        f"A knight always tells the truth, a liar never does; each of these three is one or the other.\n{lines}\n"
        'Who is what? Answer with a JSON object alone: {"rolf": "knight" or "liar", "sara": ..., "tim": ...}.'
    )
    return 4, question, JsonCheck(value=wanted)


def switches(r: Random) -> Made:
    """Which lamps burn after all switches were pressed: parity, kept by hand."""
    pressed = [r.randint(1, 9) for _ in range(9)]
    lamps = [sum(lamp % switch == 0 for switch in pressed) % 2 for lamp in range(1, 10)]
    if sum(lamps) == pressed[-1]:  # whoever repeats the question must not be right
        return switches(r)
    question = (
        "Nine lamps, numbered 1 to 9, are off. Pressing switch k turns every lamp whose number is divisible by k: on "
        f"if it was off, off if it was on. The switches {', '.join(map(str, pressed))} are pressed, in that order. How "
        f"many lamps burn? {JUST_NUMBER}"
    )
    return 5, question, number(sum(lamps))


def logic(r: Random) -> list[Made]:
    return [
        race(r, 3, 1),
        (
            2,
            (
                "All grells are plonks. No plonk is a wumble. Some wumbles are tarps. Can a grell be a wumble? Answer yes "
                f"or no. {JUST_ANSWER}"
            ),
            ExactCheck(text="no"),
        ),
        race(r, 4, 2),
        race(r, 5, 3),
        race(r, 6, 4),
        knights(r),
        switches(r),
    ]


# --- choice of tools ----------------------------------------------------------------------------------------------


def tool(name: str, what: str, required: tuple[str, ...] | None = None, **kinds: Any) -> Tool:
    properties = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in kinds.items()}
    wanted = list(properties) if required is None else list(required)
    return Tool(
        name=name,
        description=what,
        parameters={
            "type": "object",
            "properties": properties,
            "required": wanted,
            "additionalProperties": False,
        },
    )


UNIT = {"type": "string", "enum": ["celsius", "fahrenheit"]}
DAY = {"type": "string", "format": "date"}
LINES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"sku": {"type": "string"}, "quantity": {"type": "integer"}},
        "required": ["sku", "quantity"],
        "additionalProperties": False,
    },
}
TOOLS = (
    tool("get_weather", "The weather in a city now.", city="string", unit=UNIT),
    tool("get_forecast", "The weather forecast of a city for one day to come.", city="string", day=DAY),
    tool("find_order", "An order by its number, as W12345.", order="string"),
    tool("cancel_order", "Cancels a whole order for good.", order="string"),
    tool("cancel_items", "Cancels some lines of an order and keeps the rest.", order="string", lines=LINES),
    tool(
        "convert_money", "An amount in another currency (ISO 4217).", amount="number", source="string", target="string"
    ),
)


def tools(r: Random) -> list[tuple[Made, tuple[Tool, ...]]]:
    city, other = r.sample(CITIES, 2)
    order, amount = f"W{r.randint(10_000, 99_999)}", r.randint(20, 400)
    today = date(2026, 3, r.randint(2, 20))
    then = today + timedelta(days=9)
    now = f"Today is {today:%A}, {today.isoformat()}. "
    skus = [f"{letter}{r.randint(100, 999)}" for letter in "KLM"]
    many = [r.randint(2, 9) for _ in skus]
    wanted: list[tuple[int, str, int, str, dict[str, Any]]] = [
        (1, f"What is the weather like in {city}, in celsius?", 1, "get_weather", {"city": city, "unit": "celsius"}),
        (2, f"Where is my order {order}?", 4, "find_order", {"order": order}),
        (
            2,
            f"How many Japanese yen are {amount} euros?",
            6,
            "convert_money",
            {"amount": amount, "source": "EUR", "target": "JPY"},
        ),
        (
            3,
            f"I am an American in {other} and do not know your degrees: how warm is it outside?",
            6,
            "get_weather",
            {"city": other, "unit": "fahrenheit"},
        ),
        (
            3,
            f"I have changed my mind about {order}: I want nothing of it any more. Stop it, I am sure.",
            6,
            "cancel_order",
            {"order": order},
        ),
        (
            4,
            f"{now}Will it rain in {city} nine days from now?",
            6,
            "get_forecast",
            {"city": city, "day": then.isoformat()},
        ),
        (
            5,
            (
                f"Order {order} has {many[0]} of {skus[0]}, {many[1]} of {skus[1]} and {many[2]} of {skus[2]}. Keep one of "
                f"{skus[0]} and all of {skus[1]}; the rest can go. List what goes in the order I named it."
            ),
            6,
            "cancel_items",
            {
                "order": order,
                "lines": [{"sku": skus[0], "quantity": many[0] - 1}, {"sku": skus[2], "quantity": many[2]}],
            },
        ),
    ]
    return [
        ((level, question, CallCheck(name=name, arguments=arguments)), offered(name, count))
        for level, question, count, name, arguments in wanted
    ]


def offered(name: str, count: int) -> tuple[Tool, ...]:
    """The tool that is meant among `count`, in the order of the list."""
    mine = next(t for t in TOOLS if t.name == name)
    others = [t for t in TOOLS if t.name != name][: count - 1]
    return tuple(t for t in TOOLS if t is mine or t in others)
