"""What the front end and the engine together say to a request, without a server."""

from __future__ import annotations

from serving.engine.admission import check_request
from serving.engine.request import InvalidRequest
from serving.frontend.errors import from_submit
from serving.frontend.generation import Generation
from serving.frontend.prompt import encode, engine_request, field_names
from serving.tokenizer.bytes import ByteTokenizer

SEQ_LENGTH = 64


def admit(generation: Generation) -> None:
    """Raises RequestError where the engine refuses it, in the client's words."""
    tokenizer = ByteTokenizer()
    request = engine_request(generation, "r", encode(tokenizer, generation), tokenizer, SEQ_LENGTH)
    try:
        check_request(request, SEQ_LENGTH, tokenizer.vocab_size, has_logits=True)
    except InvalidRequest as error:
        raise from_submit(error, field_names(generation)) from error
