"""Turnout: a smart-routing gateway for AI agents."""

TYPE_CHECKING = False  # as typing's, whose import alone would cost more than all of this
if TYPE_CHECKING:
    from turnout.inprocess.gateway import AsyncGateway, Gateway

__all__ = ["AsyncGateway", "Gateway", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """The gateway for use without a server, imported when somebody asks for it: the command needs none of it."""
    if name in {"AsyncGateway", "Gateway"}:
        from turnout.inprocess import gateway

        return getattr(gateway, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
