// A stock grpc++ server of grpc.testing.TestService: what its clients' cases expect.
// Source: grpc/grpc doc/interop-test-descriptions.md "Server".
#include <signal.h>

#include <chrono>
#include <thread>

#include "grpc/testing/test.grpc.pb.h"
#include "peer.h"

using namespace grpc::testing;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;

namespace {

void EchoMetadata(ServerContext* context) {
  const auto& sent = context->client_metadata();
  auto text = [](grpc::string_ref value) { return std::string(value.data(), value.size()); };
  if (auto found = sent.find("x-grpc-test-echo-initial"); found != sent.end())
    context->AddInitialMetadata("x-grpc-test-echo-initial", text(found->second));
  if (auto found = sent.find("x-grpc-test-echo-trailing-bin"); found != sent.end())
    context->AddTrailingMetadata("x-grpc-test-echo-trailing-bin", text(found->second));
}

template <typename Request>
Status Asked(const Request& request) {
  if (!request.has_response_status() || request.response_status().code() == 0) return Status::OK;
  return Status(static_cast<StatusCode>(request.response_status().code()),
                request.response_status().message());
}

template <typename Request>
Status Expected(const ServerContext& context, const Request& request) {
  if (!request.has_expect_compressed() ||
      request.expect_compressed().value() == InteropServerContextInspector::IsCompressed(context))
    return Status::OK;
  return Status(StatusCode::INVALID_ARGUMENT, "the message is not compressed as it says");
}

class Service final : public TestService::Service {
  Status EmptyCall(ServerContext* context, const Empty*, Empty*) override {
    EchoMetadata(context);
    return Status::OK;
  }

  Status UnaryCall(ServerContext* context, const SimpleRequest* request,
                   SimpleResponse* reply) override {
    EchoMetadata(context);
    if (Status status = Expected(*context, *request); !status.ok()) return status;
    if (Status status = Asked(*request); !status.ok()) return status;
    context->set_compression_algorithm(request->response_compressed().value() ? GRPC_COMPRESS_GZIP
                                                                              : GRPC_COMPRESS_NONE);
    reply->mutable_payload()->set_body(std::string(request->response_size(), '\0'));
    return Status::OK;
  }

  Status StreamingInputCall(ServerContext* context,
                            grpc::ServerReader<StreamingInputCallRequest>* reader,
                            StreamingInputCallResponse* reply) override {
    StreamingInputCallRequest request;
    int total = 0;
    while (reader->Read(&request)) {
      if (Status status = Expected(*context, request); !status.ok()) return status;
      total += request.payload().body().size();
    }
    reply->set_aggregated_payload_size(total);
    return Status::OK;
  }

  template <typename Stream>
  static void Send(const StreamingOutputCallRequest& request, Stream* stream) {
    for (const auto& wanted : request.response_parameters()) {
      if (wanted.interval_us() > 0)
        std::this_thread::sleep_for(std::chrono::microseconds(wanted.interval_us()));
      StreamingOutputCallResponse reply;
      reply.mutable_payload()->set_body(std::string(wanted.size(), '\0'));
      grpc::WriteOptions options;
      if (!wanted.compressed().value()) options.set_no_compression();
      if (!stream->Write(reply, options)) return;
    }
  }

  Status StreamingOutputCall(ServerContext* context, const StreamingOutputCallRequest* request,
                             grpc::ServerWriter<StreamingOutputCallResponse>* writer) override {
    context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
    if (Status status = Asked(*request); !status.ok()) return status;
    Send(*request, writer);
    return Status::OK;
  }

  using Duplex =
      grpc::ServerReaderWriter<StreamingOutputCallResponse, StreamingOutputCallRequest>;

  Status FullDuplexCall(ServerContext* context, Duplex* stream) override {
    EchoMetadata(context);
    StreamingOutputCallRequest request;
    while (stream->Read(&request)) {
      if (Status status = Asked(request); !status.ok()) return status;
      Send(request, stream);
    }
    return Status::OK;
  }
};

}  // namespace

int main(int argc, char** argv) {
  auto named = options(argc, argv);
  // Before grpc starts threads, so that all of them leave the signal to this one.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = contents(named["--ca"]);
  tls.pem_key_cert_pairs.push_back({contents(named["--key"]), contents(named["--cert"])});
  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:" + named["--port"], grpc::SslServerCredentials(tls), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (!server) return 1;
  std::cout << "listening 127.0.0.1:" << port << std::endl;
  int signal = 0;
  sigwait(&ends, &signal);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  return 0;
}
