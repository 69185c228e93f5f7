"""The generating endpoints: one request from its body to the last byte of its answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web

from serving.config import StackConfig
from serving.engine.request import (
    Cancelled,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    InvalidRequest,
    QueueFull,
    Token,
    Unavailable,
)
from serving.frontend import accounting, judge_request, openai_request
from serving.frontend.body import read_body
from serving.frontend.engine_port import EnginePort
from serving.frontend.errors import from_ending, from_submit
from serving.frontend.event_stream import ClientTooSlow, EventStream
from serving.frontend.generation import Generation
from serving.frontend.judge_reply import JudgeReply
from serving.frontend.openai_reply import OpenAiReply
from serving.frontend.openai_request import OpenAiRequest
from serving.frontend.output_text import OutputText
from serving.frontend.prompt import encode_aside, engine_request, field_names
from serving.frontend.reply import Reply
from serving.tokenizer.tokenizer import Tokenizer

REQUEST_ID = "X-Request-Id"
Answer = tuple[web.StreamResponse, str]  # and what to book it as, see accounting


@dataclass(slots=True)
class _Job:
    """A request on its way: what was asked, and how to answer."""

    protocol: str  # the beginning of the request's id
    generation: Generation
    stream: bool
    make_reply: Callable[[GenerationRequest, OutputText], Reply]


class Generator:
    """Turns HTTP requests into generations. Refusals leave as RequestError, for the caller to show."""

    def __init__(self, stack: StackConfig, engine: EnginePort, tokenizer: Tokenizer) -> None:
        self._http = stack.serving.http
        self._model = stack.model
        self._engine = engine
        self._tokenizer = tokenizer

    async def judge(self, request: web.BaseRequest, stream: bool | None) -> Answer:
        """POST /models/llama2…; `stream` None: the body decides."""
        asked = judge_request.parse(await self._body(request), stream)

        def make_reply(_: GenerationRequest, text: OutputText) -> Reply:
            return JudgeReply(
                text,
                self._tokenizer.special,
                full_text=asked.full_text,
                timings=asked.generation.extension.timings,
                as_dict=self._http.judge_data_as_dict,
                drop_last_text=self._http.judge_drop_last_text,
            )

        return await self._answer(request, _Job("judge", asked.generation, asked.stream, make_reply))

    async def completion(self, request: web.BaseRequest) -> Answer:
        """POST /v1/completions."""
        asked = openai_request.parse_completion(await self._body(request), self._model.name)
        return await self._openai(request, asked)

    async def chat(self, request: web.BaseRequest) -> Answer:
        """POST /v1/chat/completions."""
        template = self._tokenizer.chat_template
        return await self._openai(
            request, openai_request.parse_chat(await self._body(request), self._model.name, template)
        )

    async def _openai(self, request: web.BaseRequest, asked: OpenAiRequest) -> Answer:
        def make_reply(engine_request: GenerationRequest, text: OutputText) -> Reply:
            return OpenAiReply(
                asked,
                text,
                self._tokenizer,
                request_id=engine_request.request_id,
                model=self._model.name,
                created_s=int(time.time()),
                num_prompt_tokens=len(engine_request.prompt_ids),
            )

        protocol = "chat" if asked.is_chat else "completions"
        return await self._answer(request, _Job(protocol, asked.generation, asked.stream, make_reply))

    async def _body(self, request: web.BaseRequest) -> bytes:
        return await read_body(request, self._http.max_body_bytes, self._http.body_timeout_s)

    async def _answer(self, request: web.BaseRequest, job: _Job) -> Answer:
        generation = job.generation
        prompt_ids = await encode_aside(self._tokenizer, generation)
        request_id = f"{job.protocol}-{secrets.token_hex(12)}"
        wanted = engine_request(generation, request_id, prompt_ids, self._tokenizer, self._model.seq_length)
        text = OutputText(wanted, self._tokenizer.detokenizer(continues=True), generation.stop)
        reply = job.make_reply(wanted, text)
        try:
            events = self._engine.submit(wanted)
        except (QueueFull, Unavailable, InvalidRequest) as error:
            raise from_submit(error, field_names(generation)) from error
        out = EventStream(request, {REQUEST_ID: request_id}, self._http.max_buffered_events)
        reason = "the client left"
        try:
            if job.stream:
                return await self._stream(out, request_id, events, reply)
            return await self._whole(request_id, events, reply)
        except ClientTooSlow as error:
            reason = str(error)
            return out.response, accounting.CLIENT_TOO_SLOW
        except ConnectionResetError:
            return out.response, accounting.CLIENT_LEFT
        finally:
            # Whatever is left of the generation is for nobody; nothing happens if it has ended.
            self._engine.cancel(request_id, reason)

    async def _stream(
        self, out: EventStream, request_id: str, stream: AsyncIterator[list[Event]], reply: Reply
    ) -> Answer:
        out.response.headers.update({"Content-Type": reply.stream_type, "Cache-Control": "no-cache"})
        told = False
        async for events in stream:
            last = events[-1]
            if isinstance(last, Token):
                await out.write(reply.stream(events), len(events))
                if reply.stopped and not told:
                    told = True
                    self._engine.finish(request_id)
            elif isinstance(last, Finished):
                await out.finish(reply.stream(events))
            elif not out.begun:
                raise from_ending(last)  # the status can still say it
            else:
                await out.fail(reply.stream(events), reply.breaks_off)
                return out.response, accounting.FAILED
        return out.response, accounting.FINISHED

    async def _whole(self, request_id: str, stream: AsyncIterator[list[Event]], reply: Reply) -> Answer:
        told = False
        last: Event | None = None
        async for events in stream:
            reply.collect(events)
            last = events[-1]
            if reply.stopped and not told:
                told = True
                self._engine.finish(request_id)
        if isinstance(last, Finished):
            headers = {"Content-Type": reply.whole_type, REQUEST_ID: request_id}
            return web.Response(body=reply.whole(last), headers=headers), accounting.FINISHED
        assert isinstance(last, Failed | Cancelled)
        raise from_ending(last)
