"""A stock grpcio server of grpc.testing.TestService: what its clients' cases expect, and no more.

grpcio does not tell a handler whether a message came compressed, so `expect_compressed` is not
looked at: cases that need it run against grpc++.
"""

import argparse
import concurrent.futures
import pathlib
import signal
import threading
import time

import grpc
from interop_stubs import empty, messages, services

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"


def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        context.send_initial_metadata(((INITIAL, sent[INITIAL]),))
    if TRAILING in sent:
        context.set_trailing_metadata(((TRAILING, sent[TRAILING]),))


def end_if_asked(request, context):
    if request.HasField("response_status") and request.response_status.code:
        code = next(each for each in grpc.StatusCode
                    if each.value[0] == request.response_status.code)
        context.abort(code, request.response_status.message)


def payload(size):
    return messages.Payload(body=bytes(size))


class TestService(services.TestServiceServicer):
    def EmptyCall(self, request, context):
        echo_metadata(context)
        return empty.Empty()

    def UnaryCall(self, request, context):
        echo_metadata(context)
        end_if_asked(request, context)
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        return messages.SimpleResponse(payload=payload(request.response_size))

    def StreamingInputCall(self, requests, context):
        total = sum(len(each.payload.body) for each in requests)
        return messages.StreamingInputCallResponse(aggregated_payload_size=total)

    def StreamingOutputCall(self, request, context):
        if any(each.compressed.value for each in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        end_if_asked(request, context)
        yield from self._outputs(request, context)

    def FullDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in requests:
            end_if_asked(request, context)
            yield from self._outputs(request, context)

    HalfDuplexCall = FullDuplexCall

    @staticmethod
    def _outputs(request, context):
        for each in request.response_parameters:
            if each.interval_us:
                time.sleep(each.interval_us / 1e6)
            if not each.compressed.value:
                context.disable_next_message_compression()
            yield messages.StreamingOutputCallResponse(payload=payload(each.size))


def main():
    parser = argparse.ArgumentParser()
    for name in ("port", "ca", "cert", "key"):
        parser.add_argument("--" + name, required=True)
    options = parser.parse_args()
    read = lambda path: pathlib.Path(path).read_bytes()  # noqa: E731
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8))
    services.add_TestServiceServicer_to_server(TestService(), server)
    credentials = grpc.ssl_server_credentials(
        [(read(options.key), read(options.cert))], read(options.ca), require_client_auth=True)
    port = server.add_secure_port(f"127.0.0.1:{options.port}", credentials)
    server.start()
    print(f"listening 127.0.0.1:{port}", flush=True)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    server.stop(1)


if __name__ == "__main__":
    main()
