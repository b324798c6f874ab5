"""Writes the packaged probes: questions of ours with answers that are computed here.

    python tools/make_probes.py          print them, one JSON object a line
    python tools/make_probes.py --write  write src/turnout/learn/data/probes.jsonl

Same seed, same bytes. Answers are computed from the same figures that the question is made of; the few that are typed
(words of a language, patterns of a form) stand beside their question.
"""

# ruff: noqa: E501 (a question reads best as it is asked)

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from probe_puzzles import CITIES, JUST_ANSWER, JUST_NUMBER, Made, logic, number, repair, tools, tracing
from turnout.learn.probes import (
    Check,
    ExactCheck,
    JsonCheck,
    Message,
    PatternCheck,
    Probe,
    Tool,
)

SEED = 20_260
FILE = Path(__file__).parent.parent / "src" / "turnout" / "learn" / "data" / "probes.jsonl"

ONLY_JSON = "Answer with the JSON object alone."


def probe(family: str, number: int, made: Made, tools: tuple[Tool, ...] = ()) -> Probe:
    level, question, check = made
    return Probe(
        id=f"{family}-{number}",
        family=family,
        level=level,
        messages=(Message(role="user", content=question),),
        check=check,
        tools=tools,
    )


# --- arithmetic ---------------------------------------------------------------------------------------------------


def arithmetic(r: Random) -> list[Made]:
    a, b = r.randint(6, 12), r.randint(5, 9)
    price, count, paid = r.randint(3, 8), r.randint(4, 7), 100
    litres, fills, leaks = 40 * r.randint(9, 15), 14, 4
    base, first, then = 10 * r.randint(12, 40), 20, 25
    people, mean, new_mean = r.randint(4, 7), r.randint(20, 30), r.randint(31, 35)
    gap, slow, fast = 30 * r.randint(10, 16), 70, 80
    top, x, y, z = 1000, 6, 10, 4
    return [
        (1, f"A box holds {a} pencils. How many pencils are in {b} boxes? {JUST_NUMBER}", number(a * b)),
        (
            2,
            (
                f"Mira buys {count} notebooks at {price} euros each and pays with a {paid} euro note. "
                f"How many euros does she get back? {JUST_NUMBER}"
            ),
            number(paid - count * price),
        ),
        (
            2,
            (
                f"A coat costs {base} euros. Its price is cut by {first} %, and the new price is cut by {then} % again. "
                f"What does it cost then, in euros? {JUST_NUMBER}"
            ),
            number(base * (100 - first) * (100 - then) / 10_000),
        ),
        (
            3,
            (
                f"An empty tank of {litres} litres is filled at {fills} litres a minute while {leaks} litres a minute leak "
                f"out. After how many minutes is it full? {JUST_NUMBER}"
            ),
            number(litres / (fills - leaks)),
        ),
        (
            3,
            (
                f"The mean age of {people} people in a room is {mean}. One more person comes in and the mean is "
                f"{new_mean}. How old is that person? {JUST_NUMBER}"
            ),
            number(new_mean * (people + 1) - mean * people),
        ),
        (
            4,
            (
                f"Two towns lie {gap} km apart. A train leaves each for the other at the same time, one at {slow} km/h and "
                f"one at {fast} km/h. How many kilometres has the slower one gone when they meet? {JUST_NUMBER}"
            ),
            number(gap * slow / (slow + fast)),
        ),
        (
            5,
            (
                f"How many whole numbers from 1 to {top}, both included, can be divided by {x} or by {y}, but not by {z}? "
                f"{JUST_NUMBER}"
            ),
            number(sum((n % x == 0 or n % y == 0) and n % z != 0 for n in range(1, top + 1))),
        ),
    ]


# --- extraction ---------------------------------------------------------------------------------------------------

NAMES = ("Ada Brandt", "Luis Ortega", "Mei Tanaka", "Omar Haddad", "Ines Moreau", "Jonas Lind", "Priya Nair")
GOODS = ("kettle", "lamp", "desk", "chair", "shelf", "rug", "mirror")


def schema(**kinds: Any) -> str:
    """A JSON schema in words of the schema language."""
    properties = {name: {"type": kind} if isinstance(kind, str) else kind for name, kind in kinds.items()}
    told = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return msgspec.json.encode(told).decode()


def taken(text: str, wanted: str) -> str:
    return f"Extract from the text what this JSON schema asks for.\n\nText: {text}\n\nSchema: {wanted}\n\n{ONLY_JSON}"


def extraction(r: Random) -> list[Made]:
    who, other = r.sample(NAMES, 2)
    city, home = r.sample(CITIES, 2)
    age, number_of, orders = r.randint(21, 67), r.randint(2, 6), r.randint(10_000, 99_999)
    day = date(2026, r.randint(1, 12), r.randint(1, 28))
    item, second, third = r.sample(GOODS, 3)
    prices = [r.randint(10, 90) for _ in range(3)]
    item_schema = {
        "type": "array",
        "items": {"type": "object", "properties": {"name": {"type": "string"}, "price": {"type": "integer"}}},
    }
    nullable = {"type": ["string", "null"]}
    return [
        (
            1,
            taken(f"My name is {who} and I am {age} years old.", schema(name="string", age="integer")),
            JsonCheck(value={"name": who, "age": age}),
        ),
        (
            2,
            taken(
                f"Hello, I am still waiting for order #W{orders}: {number_of} times the {item}, to be sent to {city}.",
                schema(order="string", item="string", quantity="integer", city="string")
                + " (`order` as W and digits, without #)",
            ),
            JsonCheck(value={"order": f"W{orders}", "item": item, "quantity": number_of, "city": city}),
        ),
        (
            2,
            taken(
                f"We meet on {day:%d} {day:%B} {day.year} in {city}; {who} cannot come, {other} can.",
                schema(date={"type": "string", "format": "date"}, city="string", absent="string"),
            ),
            JsonCheck(value={"date": day.isoformat(), "city": city, "absent": who}),
        ),
        (
            3,
            taken(
                f"The {item} is {prices[0]} euros, the {second} {prices[1]}, and the {third} comes to {prices[2]}.",
                schema(items=item_schema) + " (items in the order of the text)",
            ),
            JsonCheck(
                value={"items": [{"name": n, "price": p} for n, p in zip((item, second, third), prices, strict=True)]}
            ),
        ),
        (
            3,
            taken(
                f"Contact: {other}, {home}. Phone: none given. Mail: {other.split()[0].lower()}@example.org.",
                schema(name="string", city="string", phone=nullable, email=nullable),
            ),
            JsonCheck(
                value={"name": other, "city": home, "phone": None, "email": f"{other.split()[0].lower()}@example.org"}
            ),
        ),
        (
            4,
            taken(
                f"Please send {number_of} of the {item} to {home}. No, wait, {who} says {number_of + 5} would be "
                f"better, and the {second} is not needed any more. It all goes to {city} after all, not to {home}.",
                schema(item="string", quantity="integer", city="string"),
            ),
            JsonCheck(value={"item": item, "quantity": number_of + 5, "city": city}),
        ),
        (
            5,
            taken(
                f"{who} booked three nights from {day:%A}, {day:%d} {day:%B} {day.year}; {other}, who pays, adds one "
                f"night and travels from {home} to {city} and back. Breakfast is {prices[0]} euros a night, the room "
                f"{prices[1] + 40}.",
                schema(
                    guest="string",
                    payer="string",
                    checkout={"type": "string", "format": "date"},
                    nights="integer",
                    total_euros="integer",
                ),
            ),
            JsonCheck(
                value={
                    "guest": who,
                    "payer": other,
                    "checkout": (day + timedelta(days=4)).isoformat(),
                    "nights": 4,
                    "total_euros": 4 * (prices[0] + prices[1] + 40),
                }
            ),
        ),
    ]


# --- forms --------------------------------------------------------------------------------------------------------


def forms(r: Random) -> list[Made]:
    word, times = r.choice(GOODS), r.randint(4, 6)
    words = r.sample(GOODS, 5)
    letters = r.choice(CITIES)
    return [
        (
            1,
            f"Write the word {word} {times} times, separated by commas without spaces, and nothing else.",
            ExactCheck(text=",".join([word] * times), strict=True),
        ),
        (
            2,
            (
                f"Put these words in alphabetical order, in capital letters, joined by ' | ', and write nothing else: "
                f"{', '.join(words)}."
            ),
            ExactCheck(text=" | ".join(sorted(words)).upper(), strict=True),
        ),
        (
            2,
            (
                f"Spell the name {letters} backwards, all letters small, with a hyphen between any two letters. Write "
                "nothing else."
            ),
            ExactCheck(text="-".join(reversed(letters.lower())), strict=True),
        ),
        (
            3,
            (
                "Write exactly three lines and nothing else. Each line begins with '- ', holds exactly two words, and the "
                "first of them is 'red'."
            ),
            PatternCheck(pattern=r"(?:- red [A-Za-z-]+\n){2}- red [A-Za-z-]+"),
        ),
        (
            3,
            (
                "Write one question of exactly seven words that ends with a question mark and whose last word is "
                "'harbour'. Write nothing else."
            ),
            PatternCheck(pattern=r"(?:[A-Za-z',-]+ ){6}harbour\?"),
        ),
        (
            4,
            (
                "Write a CSV with the header id,name,price and exactly three lines after it: ids 1 to 3, names of fruit in "
                "double quotes, prices with two decimals and a point. No code fence, nothing else."
            ),
            PatternCheck(
                pattern='id,name,price\n1,"[A-Za-z ]+",[0-9]+\\.[0-9]{2}\n2,"[A-Za-z ]+",[0-9]+\\.[0-9]{2}\n'
                '3,"[A-Za-z ]+",[0-9]+\\.[0-9]{2}'
            ),
        ),
        (
            5,
            (
                "Write one sentence about a storm of 8 to 12 words, all in small letters, without commas, without the "
                "letter e anywhere, ending with a full stop. Write nothing else."
            ),
            PatternCheck(pattern=r"(?:[a-df-z]+ ){7,11}[a-df-z]+\."),
        ),
    ]


# --- dates and units ----------------------------------------------------------------------------------------------


def dates(r: Random) -> list[Made]:
    start = date(2026, r.randint(1, 11), r.randint(1, 28))
    later = r.randint(20, 50)
    end = start + timedelta(days=r.randint(90, 200))
    km, minutes = r.randint(3, 9), 12 * r.randint(2, 5)
    leaves = datetime(2026, 5, 3, r.randint(8, 12), 35)  # noqa: DTZ001 (a clock on a wall)
    lands = leaves + timedelta(hours=13, minutes=40) - timedelta(hours=8)
    year = 2031
    november = [date(year, 11, day) for day in range(1, 31)]
    thursdays = [day for day in november if day.weekday() == 3]
    grams, ounces = r.randint(3, 8), 28.35
    return [
        (
            1,
            f"How many metres are {km}.5 kilometres? {JUST_NUMBER}",
            number(km * 1000 + 500),
        ),
        (
            2,
            f"Which date is {later} days after {start.isoformat()}? Write it as YYYY-MM-DD. {JUST_ANSWER}",
            ExactCheck(text=(start + timedelta(days=later)).isoformat()),
        ),
        (
            2,
            f"A cyclist rides {km * 3} km in {minutes} minutes. How fast is that in km/h? {JUST_NUMBER}",
            number(km * 3 * 60 / minutes, 1e-2),
        ),
        (
            3,
            f"Which day of the week is {end.isoformat()}, given that {start.isoformat()} is a {start:%A}? {JUST_ANSWER}",
            ExactCheck(text=f"{end:%A}"),
        ),
        (
            3,
            (
                f"A recipe asks for {grams} ounces of butter; an ounce is {ounces} grams. How many grams of butter do "
                f"{grams} batches need in all? {JUST_NUMBER}"
            ),
            number(grams * grams * ounces, 1e-3),
        ),
        (
            4,
            (
                f"A flight leaves Tokyo (UTC+9) at {leaves:%H:%M} local time and takes 13 hours and 40 minutes to Lisbon "
                f"(UTC+1). At what local time does it land? Write it as HH:MM. {JUST_ANSWER}"
            ),
            ExactCheck(text=f"{lands:%H:%M}"),
        ),
        (
            5,
            (
                f"November 1st {year} is a {november[0]:%A}. How many days are there from the third Thursday of that month "
                f"to December 31st of that year? {JUST_NUMBER}"
            ),
            number((date(year, 12, 31) - thursdays[2]).days),
        ),
    ]


# --- languages ----------------------------------------------------------------------------------------------------


def languages(r: Random) -> list[Made]:
    a, b, c = r.randint(12, 29), r.randint(3, 8), r.randint(2, 5)
    price, slow = 20 * r.randint(10, 20), 15 * r.randint(4, 6)
    return [
        (
            1,
            f"¿Cuánto es {a} más {b}? Termina tu respuesta con el número solo en la última línea.",
            number(a + b),
        ),
        (
            2,
            (
                f"Eine Schachtel enthält {a} Stifte. Lena kauft {c} Schachteln und verschenkt {b} Stifte. Wie viele Stifte "
                "hat sie noch? Beende deine Antwort mit der Zahl allein in der letzten Zeile."
            ),
            number(a * c - b),
        ),
        (
            2,
            (
                "Écris en chiffres le nombre « quatre-vingt-treize mille soixante-dix-sept ». Termine ta réponse par le "
                "nombre seul sur la dernière ligne, sans espace."
            ),
            number(93_077),
        ),
        (
            3,
            (
                f"りんごが{a}個あります。{c}人の子どもに{b}個ずつ配るには、何個足りませんか、または余りますか。"
                "余る場合は正の数、足りない場合は負の数で、最後の行に数字だけを書いてください。"
            ),
            number(a - b * c),
        ),
        (
            3,
            f"一本书有{a * 10}页。小王第一天读了全书的一半,第二天读了{b}页。还剩多少页?请在最后一行只写数字。",
            number(a * 5 - b),
        ),
        (
            4,
            (
                f"एक दुकान में कमीज़ की क़ीमत {price} रुपये है। पहले 10% की छूट मिलती है, फिर घटी हुई क़ीमत पर 5% की और छूट मिलती है। "
                "अंत में कितने रुपये देने होंगे? अंतिम पंक्ति में केवल संख्या लिखिए।"
            ),
            number(price * 0.9 * 0.95),
        ),
        (
            5,
            (
                f"غادر قطار المدينة الأولى الساعة 8:00 بسرعة {slow} كم/س، وغادر قطار آخر المدينة نفسها في الاتجاه نفسه الساعة "
                f"10:00 بسرعة {slow + 30} كم/س. بعد كم ساعة من انطلاق القطار الثاني يلحق بالأول؟ اكتب العدد وحده في السطر الأخير."
            ),
            number(2 * slow / 30),
        ),
    ]


# --- tables -------------------------------------------------------------------------------------------------------


def table(r: Random, rows: int) -> tuple[str, list[dict[str, Any]]]:
    """A Markdown table of that many sales, and its rows."""
    told = [
        {
            "id": f"S{1000 + 7 * i}",
            "city": r.choice(CITIES[:5]),
            "item": r.choice(GOODS[:4]),
            "units": r.randint(1, 40),
            "status": r.choice(("paid", "open", "late")),
        }
        for i in range(rows)
    ]
    r.shuffle(told)
    head = "| id | city | item | units | status |\n| --- | --- | --- | --- | --- |\n"
    return head + "\n".join("| " + " | ".join(str(v) for v in row.values()) + " |" for row in told), told


def tables(r: Random) -> list[Made]:
    made: list[Made] = []

    def ask(level: int, rows: int, question: Callable[[list[dict[str, Any]]], tuple[str, Check]]) -> None:
        text, told = table(r, rows)
        asked, check = question(told)
        made.append((level, f"{text}\n\n{asked}", check))

    ask(1, 6, lambda t: (f"How many units has sale {t[3]['id']}? {JUST_NUMBER}", number(t[3]["units"])))
    ask(2, 18, lambda t: (f"In which city was sale {t[11]['id']}? {JUST_ANSWER}", ExactCheck(text=t[11]["city"])))
    ask(
        2,
        14,
        lambda t: (f"How many of the sales are late? {JUST_NUMBER}", number(sum(s["status"] == "late" for s in t))),
    )
    ask(
        3,
        30,
        lambda t: (
            f"How many units of lamp were sold in Graz? {JUST_NUMBER}",
            number(sum(s["units"] for s in t if s["item"] == "lamp" and s["city"] == "Graz")),
        ),
    )
    ask(
        3,
        40,
        lambda t: (
            f"What is the greatest number of units in any sale in Osaka? {JUST_NUMBER}",
            number(max(s["units"] for s in t if s["city"] == "Osaka")),
        ),
    )
    ask(
        4,
        90,
        lambda t: (
            f"How many sales in Bergen are open and have more than 20 units? {JUST_NUMBER}",
            number(sum(s["city"] == "Bergen" and s["status"] == "open" and s["units"] > 20 for s in t)),
        ),
    )
    ask(
        5,
        120,
        lambda t: (
            (
                f"How many units were sold in all in Lisbon, of desk and chair together, leaving out what is late? "
                f"{JUST_NUMBER}"
            ),
            number(
                sum(
                    s["units"]
                    for s in t
                    if s["city"] == "Lisbon" and s["item"] in {"desk", "chair"} and s["status"] != "late"
                )
            ),
        ),
    )
    return made


FAMILIES: dict[str, Callable[[Random], list[Made]]] = {
    "arithmetic": arithmetic,
    "dates": dates,
    "extraction": extraction,
    "forms": forms,
    "languages": languages,
    "logic": logic,
    "repair": repair,
    "tables": tables,
    "tracing": tracing,
}


def all_probes() -> list[Probe]:
    """Every probe, in order of family and level. Each family has chance of its own: one that grows moves no other."""
    made = [
        probe(family, i, one)
        for family, make in FAMILIES.items()
        for i, one in enumerate(make(Random(f"{SEED}-{family}")), start=1)  # noqa: S311 (no secret)
    ]
    called = tools(Random(f"{SEED}-tools"))  # noqa: S311
    made += [probe("tools", i, one, given) for i, (one, given) in enumerate(called, start=1)]
    return sorted(made, key=lambda p: p.family)


def written() -> bytes:
    """The file's bytes."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in all_probes())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_bytes(written())
    else:
        sys.stdout.buffer.write(written())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
