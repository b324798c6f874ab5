"""JSON with something else wherever a key stands: what is looked up in a set or a table must be a word."""

__all__ = ["keys_of", "with_all"]


def keys_of(value):
    if isinstance(value, dict):
        return set(value) | {key for one in value.values() for key in keys_of(one)}
    return {key for one in value for key in keys_of(one)} if isinstance(value, list) else set()


def with_all(value, key, other):
    """A value in which `other` stands wherever that key is."""
    if isinstance(value, dict):
        return {name: other if name == key else with_all(one, key, other) for name, one in value.items()}
    return [with_all(one, key, other) for one in value] if isinstance(value, list) else value
