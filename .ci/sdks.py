"""Chat, streams, embeddings, tools and errors through the gateway, as the SDKs of OpenAI and Anthropic see them."""
import asyncio, json, os, socket, subprocess, sys, tempfile, time, urllib.request
from contextlib import contextmanager
import anthropic, openai

GATEWAY = sys.argv[1]
# Proxies are not for addresses on this machine.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"


@contextmanager
def gateway(*args):
    """A gateway on a free port, as its URL and its process."""
    process = subprocess.Popen([GATEWAY, "--port", "0", *args], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), line
        yield line.split()[-1], process
    finally:
        process.kill()
        process.wait()


def openai_client(url, key="demo", **settings):
    return openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0, **settings)


def anthropic_client(url, key="demo", **settings):
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, **settings)


USER = [{"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {}}


def raises(kind, status, call):
    try:
        call()
    except Exception as error:
        assert type(error) is kind, f"{type(error)}: {error}"
        assert status is None or error.status_code == status, error
        assert status is None or error.body, "a body that the SDK has parsed"
        return error
    raise AssertionError(f"no {kind}")


def chat(url):
    client = openai_client(url)
    for model in ("auto", "large", "large-1", "small-1"):
        response = client.chat.completions.create(model=model, messages=USER, max_tokens=6)
        assert response.choices[0].message.content.startswith("word1 "), response
        assert response.usage.total_tokens == 8, response.usage
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=USER)
    headers = raw.headers
    # Of the limit that is the closest.
    assert headers["x-ratelimit-limit"] == "60000" and int(headers["x-ratelimit-remaining"]) < 60000, headers
    assert '"requests";r=' in headers["ratelimit"] and '"tokens";r=' in headers["ratelimit"], headers
    names = {model.id for model in client.models.list()}
    assert {"auto", "large-1", "small-1", "vectors-1", "messages-1"} == names, names


def chat_stream(url):
    client = openai_client(url)
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="auto", messages=USER, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.split()[-1] == "word12", text
    assert chunks[-1].usage.total_tokens == 14, chunks[-1]


def embeddings(url):
    data = openai_client(url).embeddings.create(model="auto", input=["a", "b"]).data
    assert len(data) == 2 and len(data[0].embedding) == 2, data


def tools(url):
    function = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
    given = [{"type": "function", "function": function}]
    client = openai_client(url)
    message = client.chat.completions.create(model="auto", messages=USER, tools=given).choices[0].message
    call = message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", "{}"), call
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    messages = USER + [message.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(model="auto", messages=messages, tools=given).choices[0]
    assert answer.finish_reason == "stop" and answer.message.content, answer
    chunks = client.chat.completions.create(model="auto", messages=USER, tools=given, stream=True)
    deltas = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert deltas[0].function.name == "weather", deltas

    client = anthropic_client(url)
    given = [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}]
    message = client.messages.create(model="auto", messages=USER, tools=given, max_tokens=20)
    assert message.stop_reason == "tool_use" and message.content[0].name == "weather", message
    with client.messages.stream(model="auto", messages=USER, tools=given, max_tokens=20) as stream:
        final = stream.get_final_message()
    assert final.content[0].input == {}, final


def messages(url):
    client = anthropic_client(url)
    raw = client.messages.with_raw_response.create(model="auto", messages=USER, max_tokens=20)
    message = raw.parse()
    assert message.content[0].text.startswith("word1 "), message
    assert message.usage.output_tokens == 12, message.usage
    assert raw.headers["x-ratelimit-limit"] == "60000", raw.headers
    with client.messages.stream(model="messages-1", messages=USER, max_tokens=20) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == 12
    assert text.split()[-1] == "word12", text
    assert "messages-1" in {model.id for model in client.models.list()}


def errors_of_openai(url):
    def create(client, **request):
        return lambda: client.chat.completions.create(**{"model": "auto", "messages": USER} | request)

    client = openai_client(url)
    raises(openai.AuthenticationError, 401, create(openai_client(url, "wrong")))
    raises(openai.BadRequestError, 400, create(client, messages=[]))
    error = raises(openai.NotFoundError, 404, create(client, model="none"))
    assert error.code == "model_not_found", error
    raises(openai.APITimeoutError, None, create(openai_client(url, timeout=0.05), messages=[{"role": "user", "content": "late"}]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        raises(openai.APIConnectionError, None, create(openai_client(f"http://127.0.0.1:{free.getsockname()[1]}")))


def errors_of_anthropic(url):
    def create(client, **request):
        return lambda: client.messages.create(**{"model": "auto", "messages": USER, "max_tokens": 9} | request)

    client = anthropic_client(url)
    raises(anthropic.AuthenticationError, 401, create(anthropic_client(url, "wrong")))
    raises(anthropic.BadRequestError, 400, create(client, messages=[]))
    error = raises(anthropic.NotFoundError, 404, create(client, model="none"))
    assert error.type == "not_found_error", error


def limits_of_a_caller(url):
    """The guest has 3 requests and 10,000 tokens a minute."""
    client, other = openai_client(url, "guest"), anthropic_client(url, "guest")
    ask = lambda **more: client.chat.completions.create(model="auto", messages=USER, **more)
    say = lambda tokens: other.messages.create(model="auto", messages=USER, max_tokens=tokens)
    raises(openai.APIStatusError, 413, lambda: ask(max_tokens=20_000))
    raises(anthropic.RequestTooLargeError, 413, lambda: say(20_000))
    ask(max_tokens=9)
    for error in (raises(openai.RateLimitError, 429, ask), raises(anthropic.RateLimitError, 429, lambda: say(9))):
        assert 0 < int(error.response.headers["retry-after"]) <= 60, error.response.headers
        assert "rate_limit" in json.dumps(error.body), error.body


def errors_of_providers():
    """Nobody listens where the providers should be."""
    with socket.socket() as free, tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        entry = 'name = "{}"\nbase_url = "%s"\nrpm = 1\n' % url
        file.write("max_wait = 0\n[[provider]]\n" + entry.format("a") + "[[messages]]\n" + entry.format("b"))
        file.flush()
        with gateway("--config", file.name) as (url, process):
            client, other = openai_client(url, "any"), anthropic_client(url, "any")
            ask = lambda: client.chat.completions.create(model="auto", messages=USER)
            say = lambda: other.messages.create(model="auto", messages=USER, max_tokens=9)
            raises(openai.InternalServerError, 502, ask)
            raises(anthropic.InternalServerError, 502, say)


def arrived(url):
    """How many requests of the caller "demo" have come."""
    with urllib.request.urlopen(url + "/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith('gateway_callers_counts_all_requests{callers="demo"'))


def stopped():
    """SIGTERM: requests that wait get an error that says when to retry, and what has begun ends as usual."""
    async def run(url, process):
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="demo", max_retries=0, timeout=120) as client:
            async def ask(n):
                content = f"prompt {n}"
                messages = [{"role": "user", "content": content}]
                stream = await client.chat.completions.create(model="large", messages=messages, stream=True)
                return [chunk async for chunk in stream][-1].choices[0].finish_reason

            tasks = [asyncio.create_task(ask(n)) for n in range(300)]
            # On a busy machine it takes a while until all have been sent.
            deadline = time.monotonic() + 60
            while (count := await asyncio.to_thread(arrived, url)) < len(tasks):
                assert time.monotonic() < deadline, f"only {count} requests have come"
                await asyncio.sleep(0.05)
            process.terminate()
            return await asyncio.gather(*tasks, return_exceptions=True)

    # A provider that admits 100 in 3 seconds.
    with gateway() as (url, process):
        results = asyncio.run(run(url, process))
        failed = [result for result in results if result != "stop"]
        assert 1 <= len(failed) <= 200, (len(failed), failed[:1])
        for error in failed:
            assert type(error) is openai.InternalServerError and error.status_code == 503, repr(error)
            assert int(error.response.headers["retry-after"]) > 0
        assert process.wait(10) == 0
        return f"{len(results) - len(failed)} streams ended, {len(failed)} requests rejected"


def many(url):
    """500 at once, against a provider that admits 100 in 3 seconds."""
    async def run():
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="demo", max_retries=0, timeout=120) as client:
            def ask(n):
                content = f"prompt number {n}"
                return client.chat.completions.create(model="large", messages=[{"role": "user", "content": content}])

            return await asyncio.gather(*(ask(n) for n in range(500)), return_exceptions=True)

    began = time.monotonic()
    results = asyncio.run(run())
    failed = [result for result in results if isinstance(result, Exception)]
    assert not failed, (len(failed), failed[0])
    return f"500 of 500 in {time.monotonic() - began:.1f} s"


with gateway() as (url, process):
    for test in (chat, chat_stream, embeddings, tools, messages, errors_of_openai, errors_of_anthropic, limits_of_a_caller, many):
        print(test.__name__, test(url) or "ok", flush=True)
for test in (errors_of_providers, stopped):
    print(test.__name__, test() or "ok", flush=True)
