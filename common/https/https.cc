#include "common/https/https.h"

#include <array>
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

namespace postern {
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

error_code Prepare(asio::ssl::context& context, const HttpsRequest& request) {
  error_code error;
  context.set_options(asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 |
                      asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  context.set_verify_mode(asio::ssl::verify_peer);
  if (request.authorities.empty()) {
    context.set_default_verify_paths(error);
  } else {
    context.add_certificate_authority(asio::buffer(request.authorities), error);
  }
  if (error || request.certificate.empty()) return error;
  context.use_certificate_chain(asio::buffer(request.certificate), error);
  if (error) return error;
  context.use_private_key(asio::buffer(request.key), asio::ssl::context::pem, error);
  return error;
}

// One conversation. Each step begins the next; the first that fails is the last.
class Conversation {
 public:
  Conversation(asio::io_context& io, asio::ssl::context& context, Place place,
               const HttpsRequest& request)
      : place_(std::move(place)), wanted_(request), resolver_(io), stream_(io, context) {
    parser_.body_limit(boost::none);
    request_.method_string(request.method);
    request_.target(place_.target);
    request_.version(11);
    request_.set(http::field::host, place_.authority);
    for (const auto& [name, value] : request.headers) request_.set(name, value);
    request_.keep_alive(false);
    request_.body() = request.body;
    if (!request.body.empty() || request.method != "GET") request_.prepare_payload();
  }

  void Start() {
    stream_.set_verify_callback([this](bool is_valid, asio::ssl::verify_context& certificate) {
      return Verify(is_valid, certificate);
    });
    // There are names of hosts only in it (RFC 6066, 3).
    if (!Address::Parse(place_.host).ok()) {
      SSL_set_tlsext_host_name(stream_.native_handle(), place_.host.c_str());
    }
    resolver_.async_resolve(
        place_.host, place_.port,
        [this](const error_code& error, const tcp::resolver::results_type& found) {
          if (error) return Fail("finding the host", error);
          Connect(found);
        });
  }

  absl::StatusOr<HttpsAnswer> Result() {
    if (!end_) return absl::UnavailableError("it took too long");
    POSTERN_RETURN_IF_ERROR(*end_);
    return std::move(answer_);
  }

 private:
  void Fail(absl::string_view what, const error_code& error) {
    end_ = absl::UnavailableError(absl::StrCat(what, ": ", error.message()));
  }

  // Of each certificate of the chain, the server's own last.
  bool Verify(bool is_valid, asio::ssl::verify_context& certificate) {
    const int error = X509_STORE_CTX_get_error(certificate.native_handle());
    const bool holds = asio::ssl::host_name_verification(place_.host)(is_valid, certificate);
    if (!holds) {
      doubt_ = is_valid ? absl::StrCat("it is not for ", place_.host)
                        : X509_verify_cert_error_string(error);
    }
    return holds;
  }

  void Connect(const tcp::resolver::results_type& found) {
    beast::get_lowest_layer(stream_).async_connect(
        found, [this](const error_code& error, const tcp::endpoint&) {
          if (error) return Fail("connecting", error);
          Handshake();
        });
  }

  void Handshake() {
    stream_.async_handshake(asio::ssl::stream_base::client, [this](const error_code& error) {
      if (!doubt_.empty()) {
        end_ = absl::UnauthenticatedError(
            absl::StrCat("the server's certificate does not hold: ", doubt_));
        return;
      }
      if (error) return Fail("TLS", error);
      Ask();
    });
  }

  void Ask() {
    http::async_write(stream_, request_, [this](const error_code& error, size_t) {
      if (error) return Fail("asking", error);
      http::async_read_header(stream_, buffer_, parser_, [this](const error_code& failed, size_t) {
        if (failed) return Fail("reading", failed);
        ReadBody();
      });
    });
  }

  void ReadBody() {
    if (parser_.is_done()) return Finish();
    http::buffer_body::value_type& body = parser_.get().body();
    body.data = piece_.data();
    body.size = piece_.size();
    http::async_read(stream_, buffer_, parser_, [this](const error_code& error, size_t) {
      if (error && error != http::error::need_buffer) return Fail("reading", error);
      const absl::Status taken = Take({piece_.data(), piece_.size() - parser_.get().body().size});
      if (!taken.ok()) {
        end_ = taken;
        return;
      }
      ReadBody();
    });
  }

  absl::Status Take(absl::string_view piece) {
    if (wanted_.take && parser_.get().result() == http::status::ok) return wanted_.take(piece);
    if (answer_.body.size() + piece.size() > wanted_.max_bytes) {
      return absl::UnavailableError(
          absl::StrCat("reading: the answer has more than ", wanted_.max_bytes, " bytes"));
    }
    absl::StrAppend(&answer_.body, piece);
    return absl::OkStatus();
  }

  void Finish() {
    answer_.status = static_cast<int>(parser_.get().result_int());
    for (const auto& field : parser_.get()) {
      answer_.headers.emplace_back(field.name_string(), field.value());
    }
    end_ = absl::OkStatus();
  }

  const Place place_;
  const HttpsRequest& wanted_;
  tcp::resolver resolver_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  http::request<http::string_body> request_;
  beast::flat_buffer buffer_;
  http::response_parser<http::buffer_body> parser_;
  std::array<char, 16384> piece_{};
  HttpsAnswer answer_;
  // Why the server's certificate does not hold.
  std::string doubt_;
  // Unset while it goes on.
  std::optional<absl::Status> end_;
};

}  // namespace

std::string HttpsAnswer::Header(absl::string_view name) const {
  for (const auto& [one, value] : headers) {
    if (absl::EqualsIgnoreCase(one, name)) return value;
  }
  return "";
}

absl::Status CheckHttpsUrl(const std::string& url) { return ReadUrl(url).status(); }

absl::StatusOr<HttpsAnswer> Exchange(const HttpsRequest& request) {
  POSTERN_ASSIGN_OR_RETURN(Place place, ReadUrl(request.url));
  asio::ssl::context context(asio::ssl::context::tls_client);
  if (const error_code error = Prepare(context, request)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificates cannot be used: ", error.message()));
  }
  asio::io_context io;
  Conversation conversation(io, context, std::move(place), request);
  conversation.Start();
  io.run_for(absl::ToChronoNanoseconds(request.time));
  return conversation.Result();
}

}  // namespace postern
