// What the C++ client and server of the interoperability cases share: options, files, and the one
// fact that grpc++ keeps to itself, whether a message came compressed.
#ifndef INTEROP_PEER_H
#define INTEROP_PEER_H

#include <grpc/impl/codegen/grpc_types.h>
#include <grpcpp/grpcpp.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>

// In libgrpc, declared in none of its installed headers; grpc's own interoperability programs read
// the flag with it.
uint32_t grpc_call_test_only_get_message_flags(grpc_call* call);

namespace grpc {
namespace testing {

// grpc++ names these two as friends of its contexts.
class InteropServerContextInspector {
 public:
  static bool IsCompressed(const ServerContext& context) {
    return grpc_call_test_only_get_message_flags(context.call_.call) & kWasCompressed;
  }
  // GRPC_WRITE_INTERNAL_TEST_ONLY_WAS_COMPRESSED.
  static constexpr uint32_t kWasCompressed = 0x40000000u;
};

class InteropClientContextInspector {
 public:
  static bool IsCompressed(const ClientContext& context) {
    return grpc_call_test_only_get_message_flags(context.call_) &
           InteropServerContextInspector::kWasCompressed;
  }
};

}  // namespace testing
}  // namespace grpc

inline std::map<std::string, std::string> options(int argc, char** argv) {
  std::map<std::string, std::string> named;
  for (int index = 1; index + 1 < argc; index += 2) named[argv[index]] = argv[index + 1];
  for (const char* name : {"--port", "--ca", "--cert", "--key"}) {
    if (named.count(name)) continue;
    std::cerr << argv[0] << ": " << name << " is missing\n";
    std::exit(64);
  }
  return named;
}

inline std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

#endif
