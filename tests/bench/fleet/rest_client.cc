#include "tests/bench/fleet/rest_client.h"

#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <exception>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status.h"

namespace postern::bench {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr int kMostTries = 60;
constexpr time_t kPatienceSeconds = 120;
constexpr uint64_t kMaxBodyBytes = uint64_t{1} << 30;

struct Answer {
  unsigned status = 0;
  std::string body;
  int retry_after = 1;
};

}  // namespace

struct RestClient::Connection {
  explicit Connection(const RestOptions& options)
      : tls(asio::ssl::context::tls_client), stream(io, tls) {
    tls.add_certificate_authority(asio::buffer(options.ca));
    tls.set_verify_mode(asio::ssl::verify_peer);
    tcp::socket& socket = stream.next_layer();
    socket.open(tcp::v4());
    socket.bind({asio::ip::make_address(options.source), 0});
    // A server that does not answer ends the bench.
    const timeval patience{.tv_sec = kPatienceSeconds, .tv_usec = 0};
    setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    socket.connect({asio::ip::address_v4::loopback(), options.port});
    socket.set_option(tcp::no_delay(true));
    stream.handshake(asio::ssl::stream_base::client);
  }

  Answer Send(const http::request<http::string_body>& request) {
    http::write(stream, request);
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxBodyBytes);
    http::read(stream, buffer, parser);
    Answer answer{.status = parser.get().result_int(), .body = std::move(parser.get().body())};
    const auto wait = parser.get()[http::field::retry_after];
    if (!absl::SimpleAtoi(absl::string_view(wait.data(), wait.size()), &answer.retry_after)) {
      answer.retry_after = 1;
    }
    usable = parser.get().keep_alive();
    return answer;
  }

  asio::io_context io;
  asio::ssl::context tls;
  beast::ssl_stream<tcp::socket> stream;
  beast::flat_buffer buffer;
  bool usable = true;
};

RestClient::RestClient(RestOptions options) : options_(std::move(options)) {}
RestClient::~RestClient() = default;

absl::StatusOr<std::string> RestClient::Call(const std::string& method, const std::string& target,
                                             const Json& body) {
  http::request<http::string_body> request;
  request.method_string(method);
  request.target(target);
  request.set(http::field::host, absl::StrCat("127.0.0.1:", options_.port));
  request.set(http::field::authorization, absl::StrCat("Bearer ", options_.token));
  if (!body.is_null()) {
    request.set(http::field::content_type, "application/json");
    request.body() = body.dump();
  }
  request.prepare_payload();
  for (int tries = 0; tries < kMostTries; ++tries) {
    Answer answer;
    try {
      if (connection_ == nullptr) connection_ = std::make_unique<Connection>(options_);
      answer = connection_->Send(request);
      if (!connection_->usable) connection_.reset();
    } catch (const std::exception& error) {
      connection_.reset();
      // One that stood idle for long may be gone.
      if (tries == 0) continue;
      return absl::UnavailableError(absl::StrCat(method, " ", target, ": ", error.what()));
    }
    if (answer.status < 300) return std::move(answer.body);
    if (answer.status != 429) {
      return absl::UnavailableError(
          absl::StrCat(method, " ", target, ": ", answer.status, " ", answer.body));
    }
    ++waits_;
    absl::SleepFor(absl::Seconds(answer.retry_after));
  }
  return absl::DeadlineExceededError(absl::StrCat(method, " ", target, " is never let through"));
}

absl::StatusOr<Json> RestClient::CallJson(const std::string& method, const std::string& target,
                                          const Json& body) {
  POSTERN_ASSIGN_OR_RETURN(const std::string answer, Call(method, target, body));
  Json json = Json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InternalError(absl::StrCat(method, " ", target, " answers no JSON: ", answer));
  }
  return json;
}

}  // namespace postern::bench
