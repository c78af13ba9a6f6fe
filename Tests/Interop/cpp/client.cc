// The interoperability cases as a stock grpc++ client runs them.
// Source: grpc/grpc doc/interop-test-descriptions.md.
#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "grpc/testing/test.grpc.pb.h"
#include "peer.h"

using namespace grpc::testing;
using grpc::ClientContext;
using grpc::Status;
using grpc::StatusCode;

namespace {

constexpr int kRequest = 271828, kResponse = 314159;
const std::vector<int> kRequests{27182, 8, 1828, 45904}, kResponses{31415, 9, 2653, 58979};

struct Failure {
  std::string text;
};

void Check(bool condition, const std::string& text) {
  if (!condition) throw Failure{text};
}

void CheckStatus(const Status& status, StatusCode code, const char* text = nullptr) {
  Check(status.error_code() == code, "ended with " + std::to_string(status.error_code()) + ": " +
                                         status.error_message());
  if (text) Check(status.error_message() == text, "the message is " + status.error_message());
}

template <typename Reply>
void CheckZeros(const Reply& reply, int size) {
  Check(reply.payload().body() == std::string(size, '\0'), "the payload is not as asked for");
}

struct Context : ClientContext {
  explicit Context(std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    set_deadline(std::chrono::system_clock::now() + patience);
  }
};

SimpleRequest Large() {
  SimpleRequest request;
  request.set_response_size(kResponse);
  request.mutable_payload()->set_body(std::string(kRequest, '\0'));
  return request;
}

StreamingOutputCallRequest Outputs(const std::vector<int>& sizes, int payload = 0) {
  StreamingOutputCallRequest request;
  for (int size : sizes) request.add_response_parameters()->set_size(size);
  if (payload) request.mutable_payload()->set_body(std::string(payload, '\0'));
  return request;
}

using Stub = TestService::Stub;

void EmptyUnary(Stub& stub, grpc::Channel*) {
  Context context;
  Empty reply;
  CheckStatus(stub.EmptyCall(&context, Empty(), &reply), StatusCode::OK);
}

void LargeUnary(Stub& stub, grpc::Channel*) {
  Context context;
  SimpleResponse reply;
  CheckStatus(stub.UnaryCall(&context, Large(), &reply), StatusCode::OK);
  CheckZeros(reply, kResponse);
}

void ClientStreaming(Stub& stub, grpc::Channel*) {
  Context context;
  StreamingInputCallResponse reply;
  auto writer = stub.StreamingInputCall(&context, &reply);
  for (int size : kRequests) {
    StreamingInputCallRequest request;
    request.mutable_payload()->set_body(std::string(size, '\0'));
    Check(writer->Write(request), "the stream broke");
  }
  writer->WritesDone();
  CheckStatus(writer->Finish(), StatusCode::OK);
  Check(reply.aggregated_payload_size() == 74922, "the sum is wrong");
}

void ServerStreaming(Stub& stub, grpc::Channel*) {
  Context context;
  auto reader = stub.StreamingOutputCall(&context, Outputs(kResponses));
  StreamingOutputCallResponse reply;
  for (int size : kResponses) {
    Check(reader->Read(&reply), "a message is missing");
    CheckZeros(reply, size);
  }
  Check(!reader->Read(&reply), "there is a fifth message");
  CheckStatus(reader->Finish(), StatusCode::OK);
}

void PingPong(Stub& stub, grpc::Channel*) {
  Context context;
  auto stream = stub.FullDuplexCall(&context);
  StreamingOutputCallResponse reply;
  for (size_t index = 0; index < kRequests.size(); ++index) {
    Check(stream->Write(Outputs({kResponses[index]}, kRequests[index])), "the stream broke");
    Check(stream->Read(&reply), "a message is missing");
    CheckZeros(reply, kResponses[index]);
  }
  stream->WritesDone();
  Check(!stream->Read(&reply), "there is a fifth message");
  CheckStatus(stream->Finish(), StatusCode::OK);
}

void EmptyStream(Stub& stub, grpc::Channel*) {
  Context context;
  auto stream = stub.FullDuplexCall(&context);
  stream->WritesDone();
  StreamingOutputCallResponse reply;
  Check(!stream->Read(&reply), "there is a message");
  CheckStatus(stream->Finish(), StatusCode::OK);
}

void CancelAfterBegin(Stub& stub, grpc::Channel*) {
  Context context;
  StreamingInputCallResponse reply;
  auto writer = stub.StreamingInputCall(&context, &reply);
  context.TryCancel();
  CheckStatus(writer->Finish(), StatusCode::CANCELLED);
}

void CancelAfterFirstResponse(Stub& stub, grpc::Channel*) {
  Context context;
  auto stream = stub.FullDuplexCall(&context);
  StreamingOutputCallResponse reply;
  Check(stream->Write(Outputs({31415}, 27182)), "the stream broke");
  Check(stream->Read(&reply), "a message is missing");
  CheckZeros(reply, 31415);
  context.TryCancel();
  CheckStatus(stream->Finish(), StatusCode::CANCELLED);
}

void TimeoutOnSleepingServer(Stub& stub, grpc::Channel*) {
  Context context(std::chrono::milliseconds(1));
  auto stream = stub.FullDuplexCall(&context);
  stream->Write(Outputs({31415}, 27182));
  CheckStatus(stream->Finish(), StatusCode::DEADLINE_EXCEEDED);
}

const char kInitial[] = "x-grpc-test-echo-initial", kTrailing[] = "x-grpc-test-echo-trailing-bin";

void AddMetadata(ClientContext& context) {
  context.AddMetadata(kInitial, "test_initial_metadata_value");
  context.AddMetadata(kTrailing, "\xab\xab\xab");
}

void CheckMetadata(const ClientContext& context) {
  const auto& initial = context.GetServerInitialMetadata();
  auto first = initial.find(kInitial);
  Check(first != initial.end() && first->second == "test_initial_metadata_value",
        "the initial metadata did not come back");
  const auto& trailing = context.GetServerTrailingMetadata();
  auto last = trailing.find(kTrailing);
  Check(last != trailing.end() && last->second == "\xab\xab\xab",
        "the trailing metadata did not come back");
}

void CustomMetadata(Stub& stub, grpc::Channel*) {
  Context unary;
  AddMetadata(unary);
  SimpleResponse reply;
  CheckStatus(stub.UnaryCall(&unary, Large(), &reply), StatusCode::OK);
  CheckZeros(reply, kResponse);
  CheckMetadata(unary);
  Context duplex;
  AddMetadata(duplex);
  auto stream = stub.FullDuplexCall(&duplex);
  Check(stream->Write(Outputs({kResponse}, kRequest)), "the stream broke");
  stream->WritesDone();
  StreamingOutputCallResponse message;
  Check(stream->Read(&message), "a message is missing");
  CheckZeros(message, kResponse);
  Check(!stream->Read(&message), "there is a second message");
  CheckStatus(stream->Finish(), StatusCode::OK);
  CheckMetadata(duplex);
}

void EchoStatusCase(Stub& stub, const char* text, bool streams) {
  Context context;
  SimpleRequest request;
  request.mutable_response_status()->set_code(2);
  request.mutable_response_status()->set_message(text);
  SimpleResponse reply;
  CheckStatus(stub.UnaryCall(&context, request, &reply), StatusCode::UNKNOWN, text);
  if (!streams) return;
  Context duplex;
  auto stream = stub.FullDuplexCall(&duplex);
  StreamingOutputCallRequest asked;
  *asked.mutable_response_status() = request.response_status();
  stream->Write(asked);
  stream->WritesDone();
  StreamingOutputCallResponse message;
  while (stream->Read(&message)) {
  }
  CheckStatus(stream->Finish(), StatusCode::UNKNOWN, text);
}

void StatusCodeAndMessage(Stub& stub, grpc::Channel*) {
  EchoStatusCase(stub, "test status message", true);
}

void SpecialStatusMessage(Stub& stub, grpc::Channel*) {
  EchoStatusCase(
      stub, "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n", false);
}

void UnimplementedMethod(Stub& stub, grpc::Channel*) {
  Context context;
  Empty reply;
  CheckStatus(stub.UnimplementedCall(&context, Empty(), &reply), StatusCode::UNIMPLEMENTED);
}

void UnimplementedServiceCase(Stub&, grpc::Channel* channel) {
  Context context;
  Empty reply;
  UnimplementedService::Stub stub(
      std::shared_ptr<grpc::ChannelInterface>(channel, [](grpc::ChannelInterface*) {}));
  CheckStatus(stub.UnimplementedCall(&context, Empty(), &reply), StatusCode::UNIMPLEMENTED);
}

void ClientCompressedUnary(Stub& stub, grpc::Channel*) {
  SimpleRequest request = Large();
  request.mutable_expect_compressed()->set_value(true);
  SimpleResponse reply;
  {
    // A server that does not look at the flag is found out first.
    Context context;
    CheckStatus(stub.UnaryCall(&context, request, &reply), StatusCode::INVALID_ARGUMENT);
  }
  for (bool compressed : {true, false}) {
    Context context;
    if (compressed) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    request.mutable_expect_compressed()->set_value(compressed);
    CheckStatus(stub.UnaryCall(&context, request, &reply), StatusCode::OK);
    CheckZeros(reply, kResponse);
  }
}

void ServerCompressedUnary(Stub& stub, grpc::Channel*) {
  for (bool compressed : {true, false}) {
    Context context;
    SimpleRequest request = Large();
    request.mutable_response_compressed()->set_value(compressed);
    SimpleResponse reply;
    CheckStatus(stub.UnaryCall(&context, request, &reply), StatusCode::OK);
    CheckZeros(reply, kResponse);
    Check(InteropClientContextInspector::IsCompressed(context) == compressed,
          "the reply is not compressed as asked for");
  }
}

void ClientCompressedStreaming(Stub& stub, grpc::Channel*) {
  StreamingInputCallRequest request;
  StreamingInputCallResponse reply;
  request.mutable_payload()->set_body(std::string(27182, '\0'));
  request.mutable_expect_compressed()->set_value(true);
  {
    Context context;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    auto writer = stub.StreamingInputCall(&context, &reply);
    writer->Write(request, grpc::WriteOptions().set_no_compression());
    writer->WritesDone();
    CheckStatus(writer->Finish(), StatusCode::INVALID_ARGUMENT);
  }
  Context context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  auto writer = stub.StreamingInputCall(&context, &reply);
  Check(writer->Write(request), "the stream broke");
  request.mutable_payload()->set_body(std::string(45904, '\0'));
  request.mutable_expect_compressed()->set_value(false);
  Check(writer->Write(request, grpc::WriteOptions().set_no_compression()), "the stream broke");
  writer->WritesDone();
  CheckStatus(writer->Finish(), StatusCode::OK);
  Check(reply.aggregated_payload_size() == 73086, "the sum is wrong");
}

void ServerCompressedStreaming(Stub& stub, grpc::Channel*) {
  Context context;
  StreamingOutputCallRequest request = Outputs({31415, 92653});
  request.mutable_response_parameters(0)->mutable_compressed()->set_value(true);
  request.mutable_response_parameters(1)->mutable_compressed()->set_value(false);
  auto reader = stub.StreamingOutputCall(&context, request);
  StreamingOutputCallResponse reply;
  for (bool compressed : {true, false}) {
    Check(reader->Read(&reply), "a message is missing");
    Check(InteropClientContextInspector::IsCompressed(context) == compressed,
          "a message is not compressed as asked for");
    CheckZeros(reply, compressed ? 31415 : 92653);
  }
  Check(!reader->Read(&reply), "there is a third message");
  CheckStatus(reader->Finish(), StatusCode::OK);
}

const std::map<std::string, void (*)(Stub&, grpc::Channel*)> kCases{
    {"empty_unary", EmptyUnary},
    {"large_unary", LargeUnary},
    {"client_streaming", ClientStreaming},
    {"server_streaming", ServerStreaming},
    {"ping_pong", PingPong},
    {"empty_stream", EmptyStream},
    {"cancel_after_begin", CancelAfterBegin},
    {"cancel_after_first_response", CancelAfterFirstResponse},
    {"timeout_on_sleeping_server", TimeoutOnSleepingServer},
    {"custom_metadata", CustomMetadata},
    {"status_code_and_message", StatusCodeAndMessage},
    {"special_status_message", SpecialStatusMessage},
    {"unimplemented_method", UnimplementedMethod},
    {"unimplemented_service", UnimplementedServiceCase},
    {"client_compressed_unary", ClientCompressedUnary},
    {"server_compressed_unary", ServerCompressedUnary},
    {"client_compressed_streaming", ClientCompressedStreaming},
    {"server_compressed_streaming", ServerCompressedStreaming},
};

}  // namespace

int main(int argc, char** argv) {
  auto named = options(argc, argv);
  grpc::SslCredentialsOptions tls{contents(named["--ca"]), contents(named["--key"]),
                                  contents(named["--cert"])};
  auto channel =
      grpc::CreateChannel("localhost:" + named["--port"], grpc::SslCredentials(tls));
  auto stub = TestService::NewStub(channel);
  auto found = kCases.find(named["--case"]);
  if (found == kCases.end()) return 64;
  try {
    found->second(*stub, channel.get());
  } catch (const Failure& failure) {
    std::cout << found->first << ": FAILED: " << failure.text << std::endl;
    return 1;
  }
  std::cout << found->first << ": passed" << std::endl;
  return 0;
}
