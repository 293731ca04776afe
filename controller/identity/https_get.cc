#include "controller/identity/https_get.h"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/prefix.h"
#include "common/status.h"

namespace postern::controller {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

struct Place {
  // Without brackets.
  std::string host;
  std::string port = "443";
  // As the Host header has them.
  std::string authority;
  std::string target = "/";
};

absl::StatusOr<Place> ReadUrl(const std::string& url) {
  absl::string_view rest = url;
  const absl::Status wrong = absl::InvalidArgumentError("is no https://HOST[:PORT]/PATH");
  if (!absl::ConsumePrefix(&rest, "https://")) return wrong;
  Place place;
  const size_t path = rest.find('/');
  if (path != absl::string_view::npos) place.target = std::string(rest.substr(path));
  place.authority = std::string(rest.substr(0, path));
  if (place.authority.empty() || url.find_first_of(" \r\n\t#@") != std::string::npos) return wrong;
  absl::string_view host = place.authority;
  const size_t colon = host.rfind(':');
  if (colon != absl::string_view::npos && !absl::EndsWith(host, "]")) {
    uint32_t port = 0;
    place.port = std::string(host.substr(colon + 1));
    if (!absl::SimpleAtoi(place.port, &port) || port == 0 || port > 65535) return wrong;
    host = host.substr(0, colon);
  }
  if (absl::ConsumePrefix(&host, "[") && !absl::ConsumeSuffix(&host, "]")) return wrong;
  place.host = std::string(host);
  return place;
}

error_code Trust(asio::ssl::context& context, const std::string& authorities) {
  error_code error;
  context.set_options(asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 |
                      asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  context.set_verify_mode(asio::ssl::verify_peer);
  if (authorities.empty()) {
    context.set_default_verify_paths(error);
  } else {
    context.add_certificate_authority(asio::buffer(authorities), error);
  }
  return error;
}

// One exchange. Each step begins the next; the first that fails is the last.
class Exchange {
 public:
  Exchange(asio::io_context& io, asio::ssl::context& context, Place place, size_t max_bytes)
      : place_(std::move(place)), resolver_(io), stream_(io, context) {
    parser_.body_limit(max_bytes);
    request_.method(http::verb::get);
    request_.target(place_.target);
    request_.version(11);
    request_.set(http::field::host, place_.authority);
    request_.set(http::field::accept, "application/json");
    request_.set(http::field::user_agent, "postern-controller");
    request_.keep_alive(false);
  }

  void Start() {
    stream_.set_verify_callback(asio::ssl::host_name_verification(place_.host));
    // There are names of hosts only in it (RFC 6066, 3).
    if (!Address::Parse(place_.host).ok()) {
      SSL_set_tlsext_host_name(stream_.native_handle(), place_.host.c_str());
    }
    resolver_.async_resolve(
        place_.host, place_.port,
        [this](const error_code& error, const tcp::resolver::results_type& found) {
          if (error) return End("finding the host", error);
          Connect(found);
        });
  }

  absl::StatusOr<std::string> Result() {
    if (!problem_) return absl::UnavailableError("it took too long");
    POSTERN_RETURN_IF_ERROR(*problem_);
    if (parser_.get().result() != http::status::ok) {
      return absl::UnavailableError(absl::StrCat("answers ", parser_.get().result_int()));
    }
    return std::move(parser_.get().body());
  }

 private:
  void End(absl::string_view what, const error_code& error) {
    problem_ = error ? absl::UnavailableError(absl::StrCat(what, ": ", error.message()))
                     : absl::OkStatus();
  }

  void Connect(const tcp::resolver::results_type& found) {
    beast::get_lowest_layer(stream_).async_connect(
        found, [this](const error_code& error, const tcp::endpoint&) {
          if (error) return End("connecting", error);
          Handshake();
        });
  }

  void Handshake() {
    stream_.async_handshake(asio::ssl::stream_base::client, [this](const error_code& error) {
      if (error) return End("TLS", error);
      Ask();
    });
  }

  void Ask() {
    http::async_write(stream_, request_, [this](const error_code& error, size_t) {
      if (error) return End("asking", error);
      http::async_read(stream_, buffer_, parser_,
                       [this](const error_code& failed, size_t) { End("reading", failed); });
    });
  }

  const Place place_;
  tcp::resolver resolver_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  http::request<http::empty_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  // Unset while it goes on.
  std::optional<absl::Status> problem_;
};

}  // namespace

absl::StatusOr<std::string> HttpsGet(const HttpsGetOptions& options) {
  POSTERN_ASSIGN_OR_RETURN(Place place, ReadUrl(options.url));
  asio::ssl::context context(asio::ssl::context::tls_client);
  if (const error_code error = Trust(context, options.authorities)) {
    return absl::UnavailableError(absl::StrCat("reading the authorities: ", error.message()));
  }
  asio::io_context io;
  Exchange exchange(io, context, std::move(place), options.max_bytes);
  exchange.Start();
  io.run_for(absl::ToChronoNanoseconds(options.time));
  return exchange.Result();
}

}  // namespace postern::controller
