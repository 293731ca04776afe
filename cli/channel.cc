#include "cli/channel.h"

#include <grpc/support/log.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/text.h"

namespace postern {
namespace {

// A page of a thousand grants, each with the most that a grant may hold.
constexpr int kMaxAnswer = 16 * 1024 * 1024;

grpc::ChannelArguments CommonArguments() {
  // gRPC writes what it also returns, and more, to stderr; messages are ours.
  gpr_set_log_function([](gpr_log_func_args*) {});
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxAnswer);
  // Neither a proxy of the web nor a TXT record has a say in who opens a door.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // Repeating a call is for the verbs to decide.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return arguments;
}

// A path as gRPC's URI parser takes it back.
std::string UriPath(const std::string& path) {
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '/' || c == '.' || c == '_' || c == '-') {
      out += c;
    } else {
      absl::StrAppendFormat(&out, "%%%02X", byte);
    }
  }
  return out;
}

// The errno of connecting to a unix socket; 0 when that works.
int TryConnect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int failed = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = failed == 0 ? 0 : errno;
  close(fd);
  return error;
}

}  // namespace

void UseSystemResolver() { setenv("GRPC_DNS_RESOLVER", "native", 0); }

std::shared_ptr<grpc::Channel> LocalChannel(const LocalAgent& agent) {
  return grpc::CreateCustomChannel(absl::StrCat("unix:", UriPath(agent.socket)),
                                   grpc::InsecureChannelCredentials(), CommonArguments());
}

std::shared_ptr<grpc::Channel> RemoteChannel(const RemoteAgent& agent,
                                             const Credentials& credentials,
                                             absl::Duration timeout) {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = credentials.ca;
  options.pem_cert_chain = credentials.cert;
  options.pem_private_key = credentials.key;
  grpc::ChannelArguments arguments = CommonArguments();
  const auto milliseconds = static_cast<int>(
      absl::ToInt64Milliseconds(std::min<absl::Duration>(timeout, absl::Hours(1))));
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, milliseconds);
  // A watch must notice a peer that vanished. Servers suffer one ping in five
  // minutes.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 6 * 60 * 1000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  const HostPort& address = agent.address;
  const char* scheme = address.is_ipv4 ? "ipv4:" : address.is_ipv6 ? "ipv6:" : "dns:///";
  return grpc::CreateCustomChannel(absl::StrCat(scheme, address.ToString()),
                                   grpc::SslCredentials(options), arguments);
}

std::string WhyUnreachable(const LocalAgent& agent) {
  const std::string path = Printable(agent.socket);
  switch (const int error = TryConnect(agent.socket)) {
    case 0:
      return "";
    case ENOENT:
      return absl::StrCat("there is no socket ", path,
                          "; is posternd running? (systemctl status postern-agent) Another socket: "
                          "--socket PATH");
    case ECONNREFUSED:
      return absl::StrCat("nothing answers on ", path,
                          "; is posternd running? (systemctl status postern-agent)");
    case EACCES:
    case EPERM:
      return absl::StrCat(
          "you may not use ", path,
          "; it is for root and the group postern: use sudo, or have yourself added "
          "(usermod -aG postern YOU, then log in again)");
    default:
      return absl::StrCat("tried ", path, ": ", std::strerror(error));
  }
}

std::string WhyUnreachable(const RemoteAgent& agent) {
  const std::string address = agent.address.ToString();
  return absl::StrCat("tried ", address, " over TLS, trusting ", Printable(agent.ca_file),
                      "; does agent.yaml there have listen.address and your address in "
                      "listen.from, is its certificate for ",
                      agent.address.host, ", and are both of one authority?");
}

}  // namespace postern
