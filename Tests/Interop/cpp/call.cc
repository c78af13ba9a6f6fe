// One unary call of any method by a stock grpc++ client: reads the request from standard input,
// writes the reply to standard output; a refusal's code and text go to standard error.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <chrono>
#include <iterator>
#include <vector>

#include "peer.h"

int main(int argc, char** argv) {
  auto named = options(argc, argv);
  grpc::SslCredentialsOptions tls{contents(named["--ca"]), contents(named["--key"]),
                                  contents(named["--cert"])};
  auto channel =
      grpc::CreateChannel("localhost:" + named["--port"], grpc::SslCredentials(tls));
  grpc::GenericStub stub(channel);
  std::string request{std::istreambuf_iterator<char>(std::cin), {}};
  grpc::Slice slice(request);
  grpc::ByteBuffer sent(&slice, 1), reply;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  grpc::CompletionQueue queue;
  auto call = stub.PrepareUnaryCall(&context, named["--method"], sent, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) {
    std::cerr << status.error_code() << " " << status.error_message() << std::endl;
    return 1;
  }
  std::vector<grpc::Slice> slices;
  reply.Dump(&slices);
  for (const auto& each : slices)
    std::cout.write(reinterpret_cast<const char*>(each.begin()), each.size());
  return 0;
}
