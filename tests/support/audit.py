"""Reading logs as an audit does: a reader's events of some files, and what it was told on the way."""

from pathlib import Path

from turnout.chat import Message, Text, ToolResult
from turnout.lab.audit.readers.base import Reader, Source
from turnout.lab.audit.records import Ending, ReadTally, Step

LOGS = Path(__file__).parents[1] / "fixtures" / "audit"


def read(reader: Reader, *paths: Path):
    """Steps, endings and the tally of all sources that the files make up."""
    told = ReadTally()
    sources = reader.group(paths) if reader.group else [Source(paths=(path,)) for path in paths]
    events = [event for source in sources for event in reader.read(source, told)]
    steps = [event for event in events if isinstance(event, Step)]
    return steps, [event for event in events if isinstance(event, Ending)], told


def logs(name: str, *endings: str) -> list[Path]:
    """Files of a format's fixtures that are logs (the README is none)."""
    found = (path for path in sorted((LOGS / name).rglob("*")) if path.is_file() and path.name != "README.md")
    return [path for path in found if not endings or path.name.endswith(endings)]


def words(messages: tuple[Message, ...]) -> list[str]:
    """The texts of messages, those within tools' results too."""
    parts = [part for message in messages for part in message.parts]
    inner = [p for part in parts for p in (part.parts if isinstance(part, ToolResult) else (part,))]
    return [part.text for part in inner if isinstance(part, Text)]


def counts(step: Step) -> tuple[int | None, ...] | None:
    """Input, of it read and written; output, of it reasoning."""
    usage = step.usage
    return usage and (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
