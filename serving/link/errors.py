"""Every way the link between engine and agent can be wrong, each with a name that survives the wire."""

from __future__ import annotations


class LinkError(Exception):
    """The link is unusable from here on: close it."""


class WrongMagic(LinkError):
    """The peer does not speak this protocol at all."""


class WrongVersion(LinkError):
    """The peer speaks another version of this protocol."""


class WrongType(LinkError):
    """A frame of a type that may not come now."""


class WrongSize(LinkError):
    """A payload, array or segment whose size is not what both sides agreed on."""


class WrongMessage(LinkError):
    """A hand-shake message whose fields are not as agreed."""


class WrongSequence(LinkError):
    """A frame is missing, repeated or out of order."""


class WrongStep(LinkError):
    """A reply to another step than the one awaited."""


class WrongToken(LinkError):
    """The agent does not know this run's session token."""


class WrongDevice(LinkError):
    """A device index that is not configured, or that already has an agent."""


class WrongShapes(LinkError):
    """Engine and agent were configured with different batch, block or prefill sizes."""


class WrongVocabulary(LinkError):
    """The model's vocabulary is smaller than the tokenizer's."""


class UnsupportedModel(LinkError):
    """The model cannot do what the configuration asks for."""


class SharedMemoryError(LinkError):
    """The segment could not be made or opened."""


class RanksDisagree(LinkError):
    """Agents of one replica answered a step differently."""


class LinkClosed(LinkError):
    """The peer has gone."""


class AgentFailed(LinkError):
    """The agent hit an error of its own, such as a model that raised."""


_BY_NAME = {cls.__name__: cls for cls in LinkError.__subclasses__()}


def from_name(name: str, message: str) -> LinkError:
    """The error that a peer named in an error frame."""
    return _BY_NAME.get(name, LinkError)(message)
