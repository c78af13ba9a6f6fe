"""The interoperability cases as a stock grpcio client runs them; each is a function of a stub.

Source: grpc/grpc doc/interop-test-descriptions.md.
"""

import threading

import grpc
from interop_stubs import empty, messages, services

REQUEST, RESPONSE = 271_828, 314_159
REQUESTS, RESPONSES = [27_182, 8, 1_828, 45_904], [31_415, 9, 2_653, 58_979]
SECONDS = 20
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")


def zeros(size):
    return messages.Payload(body=bytes(size))


def large(**fields):
    return messages.SimpleRequest(response_size=RESPONSE, payload=zeros(REQUEST), **fields)


def outputs(*sizes, payload=0, status=None):
    return messages.StreamingOutputCallRequest(
        response_parameters=[messages.ResponseParameters(size=size) for size in sizes],
        payload=zeros(payload) if payload else None, response_status=status)


def flag(value):
    return messages.BoolValue(value=value)


def is_zeros(reply, size):
    assert reply.payload.body == bytes(size)


def fails(call, code, text=None):
    try:
        result = call()
        if hasattr(result, "__next__"):
            list(result)
    except grpc.RpcError as error:
        assert error.code() is code, error
        if text is not None:
            assert error.details() == text, error
        return error
    raise AssertionError(f"the call did not end with {code}")


class Script:
    """The requests of a stream, sent one by one as the test says."""

    def __init__(self):
        self._items, self._ready, self._done = [], threading.Condition(), False

    def send(self, item):
        with self._ready:
            self._items.append(item)
            self._ready.notify()

    def end(self):
        with self._ready:
            self._done = True
            self._ready.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self._ready:
            self._ready.wait_for(lambda: self._items or self._done, SECONDS)
            if self._items:
                return self._items.pop(0)
            raise StopIteration


def empty_unary(stub):
    assert stub.EmptyCall(empty.Empty(), timeout=SECONDS) == empty.Empty()


def large_unary(stub):
    is_zeros(stub.UnaryCall(large(), timeout=SECONDS), RESPONSE)


def client_streaming(stub):
    requests = (messages.StreamingInputCallRequest(payload=zeros(size)) for size in REQUESTS)
    assert stub.StreamingInputCall(requests, timeout=SECONDS).aggregated_payload_size == 74_922


def server_streaming(stub):
    replies = list(stub.StreamingOutputCall(outputs(*RESPONSES), timeout=SECONDS))
    assert [len(each.payload.body) for each in replies] == RESPONSES


def ping_pong(stub):
    script = Script()
    replies = stub.FullDuplexCall(script, timeout=SECONDS)
    for request, response in zip(REQUESTS, RESPONSES):
        script.send(outputs(response, payload=request))
        is_zeros(next(replies), response)
    script.end()
    assert list(replies) == []


def empty_stream(stub):
    assert list(stub.FullDuplexCall(iter(()), timeout=SECONDS)) == []


def cancel_after_begin(stub):
    call = stub.StreamingInputCall.future(Script(), timeout=SECONDS)
    call.cancel()
    assert call.cancelled() and call.code() is grpc.StatusCode.CANCELLED


def cancel_after_first_response(stub):
    script = Script()
    replies = stub.FullDuplexCall(script, timeout=SECONDS)
    script.send(outputs(31_415, payload=27_182))
    is_zeros(next(replies), 31_415)
    replies.cancel()
    fails(lambda: replies, grpc.StatusCode.CANCELLED)


def timeout_on_sleeping_server(stub):
    script = Script()
    replies = stub.FullDuplexCall(script, timeout=0.001)
    script.send(outputs(31_415, payload=27_182))
    fails(lambda: replies, grpc.StatusCode.DEADLINE_EXCEEDED)
    # A server that sleeps in the middle of its answer is stopped as well.
    slow = messages.StreamingOutputCallRequest(response_parameters=[
        messages.ResponseParameters(size=1, interval_us=5_000_000)])
    fails(lambda: stub.StreamingOutputCall(slow, timeout=0.05), grpc.StatusCode.DEADLINE_EXCEEDED)


def custom_metadata(stub):
    reply, call = stub.UnaryCall.with_call(large(), metadata=(INITIAL, TRAILING), timeout=SECONDS)
    is_zeros(reply, RESPONSE)
    assert dict(call.initial_metadata())[INITIAL[0]] == INITIAL[1]
    assert dict(call.trailing_metadata())[TRAILING[0]] == TRAILING[1]
    stream = stub.FullDuplexCall(
        iter([outputs(RESPONSE, payload=REQUEST)]), metadata=(INITIAL, TRAILING), timeout=SECONDS)
    is_zeros(next(stream), RESPONSE)
    assert list(stream) == []
    assert dict(stream.initial_metadata())[INITIAL[0]] == INITIAL[1]
    assert dict(stream.trailing_metadata())[TRAILING[0]] == TRAILING[1]


def status_code_and_message(stub):
    status = messages.EchoStatus(code=2, message="test status message")
    request = messages.SimpleRequest(response_status=status)
    fails(lambda: stub.UnaryCall(request, timeout=SECONDS), grpc.StatusCode.UNKNOWN, status.message)
    fails(lambda: stub.FullDuplexCall(iter([outputs(status=status)]), timeout=SECONDS),
          grpc.StatusCode.UNKNOWN, status.message)


def special_status_message(stub):
    text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
    request = messages.SimpleRequest(response_status=messages.EchoStatus(code=2, message=text))
    fails(lambda: stub.UnaryCall(request, timeout=SECONDS), grpc.StatusCode.UNKNOWN, text)


def unimplemented_method(stub):
    fails(lambda: stub.UnimplementedCall(empty.Empty(), timeout=SECONDS),
          grpc.StatusCode.UNIMPLEMENTED)


def unimplemented_service(stub):
    fails(lambda: stub.unimplemented.UnimplementedCall(empty.Empty(), timeout=SECONDS),
          grpc.StatusCode.UNIMPLEMENTED)


def client_compressed_unary(stub):
    # A server that does not look at the flag is found out first.
    fails(lambda: stub.UnaryCall(large(expect_compressed=flag(True)), timeout=SECONDS),
          grpc.StatusCode.INVALID_ARGUMENT)
    is_zeros(stub.UnaryCall(large(expect_compressed=flag(True)), timeout=SECONDS,
                            compression=grpc.Compression.Gzip), RESPONSE)
    is_zeros(stub.UnaryCall(large(expect_compressed=flag(False)), timeout=SECONDS), RESPONSE)


def server_compressed_unary(stub):
    # grpcio does not say whether a reply came compressed; that it is read is what this shows.
    for compressed in (True, False):
        is_zeros(stub.UnaryCall(large(response_compressed=flag(compressed)), timeout=SECONDS),
                 RESPONSE)


def client_compressed_streaming(stub):
    def request(size, compressed):
        return messages.StreamingInputCallRequest(
            payload=zeros(size), expect_compressed=flag(compressed))
    fails(lambda: stub.StreamingInputCall(iter([request(27_182, True)]), timeout=SECONDS),
          grpc.StatusCode.INVALID_ARGUMENT)
    reply = stub.StreamingInputCall(
        iter([request(27_182, True), request(45_904, True)]), timeout=SECONDS,
        compression=grpc.Compression.Gzip)
    assert reply.aggregated_payload_size == 73_086


def server_compressed_streaming(stub):
    request = messages.StreamingOutputCallRequest(response_parameters=[
        messages.ResponseParameters(size=31_415, compressed=flag(True)),
        messages.ResponseParameters(size=92_653, compressed=flag(False))])
    replies = list(stub.StreamingOutputCall(request, timeout=SECONDS))
    assert [len(each.payload.body) for each in replies] == [31_415, 92_653]


CASES = {each.__name__: each for each in (
    empty_unary, large_unary, client_streaming, server_streaming, ping_pong, empty_stream,
    cancel_after_begin, cancel_after_first_response, timeout_on_sleeping_server, custom_metadata,
    status_code_and_message, special_status_message, unimplemented_method, unimplemented_service,
    client_compressed_unary, server_compressed_unary, client_compressed_streaming,
    server_compressed_streaming)}


def connect(port, certs):
    """A stub on a connection of its own, with the services that a server must not have."""
    read = lambda name: (certs / name).read_bytes()  # noqa: E731
    channel = grpc.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(read("ca.crt"), read("ana.key"), read("ana.crt")),
        options=[("grpc.use_local_subchannel_pool", 1),
                 ("grpc.ssl_target_name_override", "localhost")])
    stub = services.TestServiceStub(channel)
    stub.unimplemented = services.UnimplementedServiceStub(channel)
    stub.channel = channel
    return stub
