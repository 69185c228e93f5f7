"""Messages of the link keep their fields on the wire and refuse any other shape."""

from __future__ import annotations

import json

import pytest

from serving.link import errors
from serving.link.layout import Shapes
from serving.link.message import ErrorReport, Hello, Reply, Step, Welcome, from_json, to_json

SHAPES = Shapes(max_seqs=4, max_tokens=64, max_blocks=8, block_size=16, num_blocks=32)
HELLO = Hello("secret", 0, 123, 259, True, SHAPES)


@pytest.mark.parametrize("message", [HELLO, Welcome("name", 4096), ErrorReport("WrongToken", "no")])
def test_handshake_messages_return_as_they_went(message):
    assert from_json(type(message), to_json(message)) == message


def test_steps_and_replies_return_as_they_went():
    step = Step(2**40, 1, 2, 7, 64, 1024, 32, 3, 2**62)
    reply = Reply(2**40, 64, 3, 1, 2, 3, 4, 2**62)
    assert Step.unpack(step.pack()) == step
    assert Reply.unpack(reply.pack()) == reply


def test_a_payload_of_another_size_is_named():
    with pytest.raises(errors.WrongSize, match="a reply has 56 bytes, got 55"):
        Reply.unpack(bytes(55))
    with pytest.raises(errors.WrongSize, match="a step has"):
        Step.unpack(b"")


def changed(**fields: object) -> bytes:
    return json.dumps(json.loads(to_json(HELLO)) | fields).encode()


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "has the fields"),
        (changed(extra=1), "has the fields"),
        (changed(pid="123"), "Hello.pid must be int, got '123'"),
        (changed(shapes=None), "a Shapes has the fields"),
        (changed(shapes={**vars(SHAPES), "max_seqs": 1.5}), "Shapes.max_seqs must be int"),
    ],
)
def test_a_hello_of_another_form_is_named(payload, text):
    with pytest.raises(errors.WrongMessage, match=text):
        from_json(Hello, payload)


def test_an_error_keeps_its_name_and_an_unknown_one_is_still_a_link_error():
    assert isinstance(errors.from_name("WrongShapes", "x"), errors.WrongShapes)
    assert type(errors.from_name("Nonsense", "x")) is errors.LinkError
