// An HTTPS server (HTTP/1.1, TLS 1.2 and newer) whose every part is bounded: the
// bytes of a request, the time it may take, the connections.

#ifndef POSTERN_CONTROLLER_REST_HTTP_SERVER_H_
#define POSTERN_CONTROLLER_REST_HTTP_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/prefix.h"
#include "controller/rest/http.h"

namespace postern::controller {

// PEM.
struct ServerTls {
  std::string certificate = {};
  std::string key = {};
  // The authorities of clients with certificates; empty: none are asked for.
  std::string client_authorities = {};
  // Another number for other content.
  uint64_t generation = 1;
};

struct HttpServerOptions {
  Address address = {};
  // 0: any that is free.
  uint16_t port = 0;
  // Asked at each connection; any thread.
  std::function<ServerTls()> tls = {};
  // Called by the server's worker threads; may block.
  std::function<HttpResponse(const HttpRequest&)> handle = {};
  size_t workers = 4;
  size_t max_header_bytes = 16 << 10;
  size_t max_body_bytes = 1 << 20;
  // Where there are more, the one that has been idle for longest makes room.
  size_t max_connections = 2048;
  // The same, for the connections of one network (NetworkOf).
  size_t max_connections_of_one = 512;
  absl::Duration handshake_time = absl::Seconds(10);
  // From the end of a response to the first byte of the next request.
  absl::Duration idle_time = absl::Seconds(60);
  // From there to its last byte.
  absl::Duration request_time = absl::Seconds(15);
  absl::Duration response_time = absl::Seconds(60);
  // For what somebody goes on sending whose request is refused already.
  absl::Duration drain_time = absl::Seconds(2);
};

class HttpServer {
 public:
  // Serves from now on until it is destroyed. UNAVAILABLE where the address cannot
  // be bound, INVALID_ARGUMENT where the certificate cannot serve.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(HttpServerOptions options);
  virtual ~HttpServer() = default;

  virtual uint16_t port() const = 0;
};

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_HTTP_SERVER_H_
