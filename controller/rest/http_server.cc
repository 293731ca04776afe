#include "controller/rest/http_server.h"

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/uuid.h"
#include "controller/limits/network.h"
#include "controller/rest/open_connections.h"
#include "controller/rest/server_tls.h"

namespace postern::controller {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr size_t kFirstRead = 4096;
constexpr size_t kDrainedRead = 16384;

asio::ip::address AsioAddress(const Address& address) {
  error_code ignored;
  return asio::ip::make_address(address.ToString(), ignored);
}

std::optional<Address> PeerAddress(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint endpoint = socket.remote_endpoint(error);
  if (error) return std::nullopt;
  const absl::StatusOr<Address> address = Address::Parse(endpoint.address().to_string());
  if (!address.ok()) return std::nullopt;
  return *address;
}

class Server;

// One connection. All of it runs on the server's one I/O thread.
class Connection final : public OpenConnection, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, tcp::socket socket, std::shared_ptr<asio::ssl::context> context)
      : server_(server),
        context_(std::move(context)),
        peer_(PeerAddress(socket)),
        network_(NetworkOf(peer_)),
        stream_(std::move(socket), *context_) {}

  void Start();
  const std::string& network() const override { return network_; }
  // Waits for a request, or for its rest.
  bool idle() const override { return idle_; }
  Clock::time_point idle_since() const override { return idle_since_; }
  void Close() override { beast::get_lowest_layer(stream_).close(); }

 private:
  using Parser = http::request_parser<http::string_body>;

  void Expire(absl::Duration after) {
    beast::get_lowest_layer(stream_).expires_after(absl::ToChronoNanoseconds(after));
  }
  void AwaitRequest();
  void ReadHeader();
  void ReadBody();
  void Refuse(const error_code& error);
  void RefuseWith(int status, absl::string_view why);
  void Handle();
  void Answer(HttpResponse response);
  void Write(std::shared_ptr<http::response<http::string_body>> response);
  void WriteParts(HttpResponse response);
  void NextPart(std::shared_ptr<HttpResponse> response);
  void WritePart(std::shared_ptr<HttpResponse> response, const absl::StatusOr<std::string>& part);
  void Finish(const error_code& error);
  void Drain(size_t most);
  void Shutdown();

  Server& server_;
  const std::shared_ptr<asio::ssl::context> context_;
  const std::optional<Address> peer_;
  const std::string network_;
  beast::ssl_stream<beast::tcp_stream> stream_;
  beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::vector<std::string> certificate_uris_;
  std::string part_;
  bool keep_alive_ = false;
  // Asked for by HEAD: the answer has no body.
  bool head_ = false;
  // The rest of a request that was refused is still on its way.
  bool refused_ = false;
  bool idle_ = true;
  Clock::time_point idle_since_ = Clock::now();
};

class Server final : public HttpServer {
 public:
  explicit Server(HttpServerOptions options)
      : options_(std::move(options)),
        acceptor_(io_),
        workers_(options_.workers),
        connections_(options_.max_connections, options_.max_connections_of_one) {}

  ~Server() override {
    asio::post(io_, [this] {
      stopping_ = true;
      error_code ignored;
      acceptor_.close(ignored);
      connections_.CloseAll();
    });
    workers_.join();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Listen() {
    const ServerTls tls = options_.tls();
    POSTERN_ASSIGN_OR_RETURN(context_, ServerContext(tls));
    generation_ = tls.generation;
    const tcp::endpoint endpoint(AsioAddress(options_.address), options_.port);
    error_code error;
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    // "[::]" takes both families.
    if (!error && endpoint.address().is_v6()) {
      acceptor_.set_option(asio::ip::v6_only(false), error);
    }
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return absl::UnavailableError(absl::StrCat("listening on ", options_.address.ToString(),
                                                 " port ", options_.port, ": ", error.message()));
    }
    port_ = acceptor_.local_endpoint(error).port();
    Accept();
    thread_ = std::thread([this] { io_.run(); });
    return absl::OkStatus();
  }

  uint16_t port() const override { return port_; }
  const HttpServerOptions& options() const { return options_; }
  asio::io_context& io() { return io_; }
  asio::thread_pool& workers() { return workers_; }
  bool stopping() const { return stopping_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](const error_code& error, tcp::socket socket) {
      if (stopping_ || error == asio::error::operation_aborted) return;
      if (!error) Take(std::move(socket));
      // Without descriptors an accept fails at once, again and again.
      if (error) return AcceptLater();
      Accept();
    });
  }

  void AcceptLater() {
    auto timer = std::make_shared<asio::steady_timer>(io_, std::chrono::milliseconds(100));
    timer->async_wait([this, timer](const error_code& error) {
      if (!error && !stopping_) Accept();
    });
  }

  void Take(tcp::socket socket) {
    if (!connections_.MakeRoom(NetworkOf(PeerAddress(socket)))) return;
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const auto connection = std::make_shared<Connection>(*this, std::move(socket), Context());
    connections_.Add(connection);
    connection->Start();
  }

  // What the certificate files hold now; what they held before while they cannot
  // be used.
  std::shared_ptr<asio::ssl::context> Context() {
    const ServerTls tls = options_.tls();
    if (tls.generation != generation_) {
      absl::StatusOr<std::shared_ptr<asio::ssl::context>> context = ServerContext(tls);
      if (context.ok()) context_ = *std::move(context);
      generation_ = tls.generation;
    }
    return context_;
  }

  const HttpServerOptions options_;
  asio::io_context io_;
  tcp::acceptor acceptor_;
  asio::thread_pool workers_;
  std::shared_ptr<asio::ssl::context> context_;
  uint64_t generation_ = 0;
  OpenConnections connections_;
  bool stopping_ = false;
  uint16_t port_ = 0;
  std::thread thread_;
};

void Connection::Start() {
  Expire(server_.options().handshake_time);
  stream_.async_handshake(
      asio::ssl::stream_base::server, [self = shared_from_this()](const error_code& error) {
        if (error) return;
        self->certificate_uris_ = CertificateUris(self->stream_.native_handle());
        self->AwaitRequest();
      });
}

// One that has sent nothing of a request yet may take its time.
void Connection::AwaitRequest() {
  idle_ = true;
  idle_since_ = Clock::now();
  if (buffer_.size() > 0) return ReadHeader();
  Expire(server_.options().idle_time);
  stream_.async_read_some(buffer_.prepare(kFirstRead),
                          [self = shared_from_this()](const error_code& error, size_t size) {
                            if (error) return self->Shutdown();
                            self->buffer_.commit(size);
                            self->ReadHeader();
                          });
}

void Connection::ReadHeader() {
  parser_.emplace();
  head_ = false;
  parser_->header_limit(static_cast<uint32_t>(server_.options().max_header_bytes));
  parser_->body_limit(server_.options().max_body_bytes);
  // For its header and its body together.
  Expire(server_.options().request_time);
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](const error_code& error, size_t) {
                            if (error) return self->Refuse(error);
                            self->ReadBody();
                          });
}

// Why a header is not accepted although it can be read (RFC 9112, 3.2 and 6.3):
// where a proxy before us reads it in another way, one request would hide in
// another. "" where it is.
absl::string_view Ambiguous(const http::request_parser<http::string_body>& parser) {
  const auto& header = parser.get();
  if (header.count(http::field::transfer_encoding) > 0) {
    if (header.version() < 11) return "Transfer-Encoding in HTTP/1.0";
    if (!beast::iequals(header[http::field::transfer_encoding], "chunked")) {
      return "a Transfer-Encoding that is not chunked";
    }
  }
  const size_t hosts = header.count(http::field::host);
  if (hosts > 1 || (hosts == 0 && header.version() >= 11)) return "not one Host";
  return "";
}

void Connection::ReadBody() {
  head_ = parser_->get().method() == http::verb::head;
  const absl::string_view ambiguous = Ambiguous(*parser_);
  if (!ambiguous.empty()) return RefuseWith(400, ambiguous);
  const auto read = [self = shared_from_this()] {
    http::async_read(self->stream_, self->buffer_, *self->parser_,
                     [self](const error_code& error, size_t) {
                       if (error) return self->Refuse(error);
                       self->Handle();
                     });
  };
  if (!beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read();
  auto go_on = std::make_shared<http::response<http::empty_body>>(http::status::continue_, 11);
  http::async_write(stream_, *go_on,
                    [self = shared_from_this(), go_on, read](const error_code& error, size_t) {
                      if (!error) read();
                    });
}

// Answers what cannot be read, where there is somebody to answer.
void Connection::Refuse(const error_code& error) {
  if (error == http::error::end_of_stream) return Shutdown();
  if (error.category() != make_error_code(http::error::end_of_stream).category()) return;
  const int status = error == http::error::body_limit     ? 413
                     : error == http::error::header_limit ? 431
                                                          : 400;
  RefuseWith(status, error.message());
}

void Connection::RefuseWith(int status, absl::string_view why) {
  HttpResponse response{.status = status};
  response.headers = {{"Content-Type", "application/json"}, {"x-ms-request-id", NewUuid()}};
  response.body = absl::StrCat(R"({"error":{"code":"InvalidRequestContent","message":")",
                               "the request cannot be read: ", why, R"("}})");
  keep_alive_ = false;
  refused_ = true;
  Answer(std::move(response));
}

void Connection::Handle() {
  idle_ = false;
  // As long as the handler takes, which is not the client's to answer for.
  beast::get_lowest_layer(stream_).expires_never();
  const http::request<http::string_body> message = parser_->release();
  keep_alive_ = message.keep_alive();
  HttpRequest request{.method = std::string(message.method_string()),
                      .target = std::string(message.target()),
                      .body = message.body(),
                      .peer = peer_,
                      .certificate_uris = certificate_uris_};
  for (const auto& field : message) {
    request.headers.emplace(absl::AsciiStrToLower(std::string(field.name_string())),
                            std::string(field.value()));
  }
  asio::post(server_.workers(), [self = shared_from_this(), request = std::move(request)] {
    HttpResponse response = self->server_.options().handle(request);
    asio::post(self->server_.io(), [self, response = std::move(response)]() mutable {
      self->Answer(std::move(response));
    });
  });
}

void Connection::Answer(HttpResponse response) {
  if (server_.stopping()) return;
  if (response.more && !head_) return WriteParts(std::move(response));
  auto message = std::make_shared<http::response<http::string_body>>();
  message->version(11);
  message->result(static_cast<unsigned>(response.status));
  for (const auto& [name, value] : response.headers) message->set(name, value);
  message->body() = std::move(response.body);
  message->keep_alive(keep_alive_);
  // RFC 9110, 8.6: there is no length where there can be no content.
  if (response.status != 204) message->prepare_payload();
  // An answer to HEAD has the length of what is not sent.
  if (head_) message->body().clear();
  Write(std::move(message));
}

void Connection::Write(std::shared_ptr<http::response<http::string_body>> response) {
  Expire(server_.options().response_time);
  http::async_write(stream_, *response,
                    [self = shared_from_this(), response](const error_code& error, size_t) {
                      self->Finish(error);
                    });
}

void Connection::WriteParts(HttpResponse response) {
  auto message = std::make_shared<http::response<http::empty_body>>();
  message->version(11);
  message->result(static_cast<unsigned>(response.status));
  for (const auto& [name, value] : response.headers) message->set(name, value);
  message->keep_alive(keep_alive_);
  message->chunked(true);
  auto serializer = std::make_shared<http::response_serializer<http::empty_body>>(*message);
  auto rest = std::make_shared<HttpResponse>(std::move(response));
  Expire(server_.options().response_time);
  http::async_write_header(
      stream_, *serializer,
      [self = shared_from_this(), message, serializer, rest](const error_code& error, size_t) {
        if (error) return;
        if (rest->body.empty()) return self->NextPart(rest);
        self->WritePart(rest, std::exchange(rest->body, ""));
      });
}

void Connection::NextPart(std::shared_ptr<HttpResponse> response) {
  beast::get_lowest_layer(stream_).expires_never();
  asio::post(server_.workers(), [self = shared_from_this(), response] {
    absl::StatusOr<std::string> part = response->more();
    asio::post(self->server_.io(),
               [self, response, part = std::move(part)] { self->WritePart(response, part); });
  });
}

void Connection::WritePart(std::shared_ptr<HttpResponse> response,
                           const absl::StatusOr<std::string>& part) {
  if (!part.ok() || server_.stopping()) return Close();
  Expire(server_.options().response_time);
  if (part->empty()) {
    asio::async_write(
        stream_, http::make_chunk_last(),
        [self = shared_from_this()](const error_code& error, size_t) { self->Finish(error); });
    return;
  }
  part_ = *part;
  asio::async_write(stream_, http::make_chunk(asio::buffer(part_)),
                    [self = shared_from_this(), response](const error_code& error, size_t) {
                      if (!error) self->NextPart(response);
                    });
}

void Connection::Finish(const error_code& error) {
  if (error || server_.stopping()) return;
  if (refused_) {
    Expire(server_.options().drain_time);
    return Drain(2 * server_.options().max_body_bytes);
  }
  if (!keep_alive_) return Shutdown();
  AwaitRequest();
}

// Whoever is still sending when the connection closes may never see the answer.
void Connection::Drain(size_t most) {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(kDrainedRead),
                          [self = shared_from_this(), most](const error_code& error, size_t size) {
                            if (error || size >= most) return self->Shutdown();
                            self->Drain(most - size);
                          });
}

void Connection::Shutdown() {
  Expire(server_.options().handshake_time);
  stream_.async_shutdown([self = shared_from_this()](const error_code&) {});
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpServerOptions options) {
  auto server = std::make_unique<Server>(std::move(options));
  POSTERN_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace postern::controller
