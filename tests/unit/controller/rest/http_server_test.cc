// The server over real TLS on loopback, with a client that sends what it likes.

#include "controller/rest/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/fd.h"
#include "common/pki/openssl.h"
#include "tests/support/certificates.h"

namespace postern::controller {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Fd ConnectTo(uint16_t port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
struct FreeSession {
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using Session = std::unique_ptr<SSL_SESSION, FreeSession>;

void Use(const Identity& identity, SSL_CTX* context) {
  const BioPtr cert(BIO_new_mem_buf(identity.cert.data(), static_cast<int>(identity.cert.size())));
  const BioPtr key(BIO_new_mem_buf(identity.key.data(), static_cast<int>(identity.key.size())));
  const X509Ptr parsed(PEM_read_bio_X509(cert.get(), nullptr, nullptr, nullptr));
  const KeyPtr private_key(PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
  ASSERT_EQ(SSL_CTX_use_certificate(context, parsed.get()), 1);
  ASSERT_EQ(SSL_CTX_use_PrivateKey(context, private_key.get()), 1);
}

struct ClientOptions {
  // Shows no certificate where it has none.
  Identity identity = {};
  int version = TLS1_3_VERSION;
  // One to go on with.
  SSL_SESSION* session = nullptr;
};

// One TLS connection.
class Client {
 public:
  explicit Client(uint16_t port, const ClientOptions& options = {})
      : fd_(ConnectTo(port)), context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_.get(), options.version);
    SSL_CTX_set_max_proto_version(context_.get(), options.version);
    if (!options.identity.cert.empty()) Use(options.identity, context_.get());
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
    connected_ = SSL_connect(ssl_.get()) == 1;
  }

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  // The session of a connection that is broken off cannot be resumed.
  ~Client() { SSL_shutdown(ssl_.get()); }

  bool connected() const { return connected_; }
  void Send(const std::string& bytes) {
    SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
  }
  // All that comes until `end` was in it, or the server is done.
  std::string ReadUntil(const std::string& end) {
    std::string text;
    std::array<char, 4096> buffer{};
    while (text.find(end) == std::string::npos) {
      const int size = SSL_read(ssl_.get(), buffer.data(), static_cast<int>(buffer.size()));
      if (size <= 0) return text;
      text.append(buffer.data(), static_cast<size_t>(size));
    }
    return text;
  }
  std::string ReadAll() { return ReadUntil("no such text"); }
  // What another connection can go on with; from an answer on, in TLS 1.3.
  Session TakeSession() { return Session(SSL_get1_session(ssl_.get())); }
  bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

 private:
  Fd fd_;
  std::unique_ptr<SSL_CTX, FreeContext> context_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  bool connected_ = false;
};

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpServerOptions options = {}) {
    const Identity identity = authority_.Issue({.names = {"IP:127.0.0.1"}});
    options.address = *Address::Parse("127.0.0.1");
    options.tls = [identity, clients = client_authorities_] {
      return ServerTls{
          .certificate = identity.cert, .key = identity.key, .client_authorities = clients};
    };
    options.handle = [](const HttpRequest& request) {
      HttpResponse response{
          .headers = {{"Content-Type", "text/plain"}},
          .body = absl::StrCat(request.method, " ", request.target, " ", request.body.size(), "|")};
      if (request.target == "/parts") {
        auto left = std::make_shared<int>(3);
        response.more = [left]() -> absl::StatusOr<std::string> {
          return *left == 0 ? "" : absl::StrCat("part", (*left)--);
        };
      }
      if (request.target == "/who") {
        response.body = absl::StrCat(absl::StrJoin(request.certificate_uris, ","), "|");
      }
      if (request.target == "/broken") {
        response.more = [] { return absl::InternalError("no more"); };
      }
      return response;
    };
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  // What a new connection is answered.
  std::string Answer(const std::string& bytes) {
    Client client(server_->port());
    client.Send(bytes);
    return client.ReadAll();
  }

  const TestAuthority authority_{"test"};
  std::string client_authorities_;
  std::unique_ptr<HttpServer> server_;
};

constexpr char kEnd[] = "Host: a\r\nConnection: close\r\n\r\n";

// The server of clients with certificates; a client with none, or with a token, is
// served all the same.
class ClientCertificateTest : public HttpServerTest {
 protected:
  void SetUp() override {
    client_authorities_ = clients_.cert();
    Start();
  }

  // Whom the server takes the client for: "[URI,URI]", "[]" for nobody; "" where it does not
  // serve it at all.
  std::string WhoIs(const ClientOptions& options) {
    Client client(server_->port(), options);
    client.Send("GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
    const std::string answer = client.ReadUntil("|");
    session_ = client.TakeSession();
    resumed_ = client.resumed();
    const size_t body = answer.find("\r\n\r\n");
    if (body == std::string::npos) return "";
    return absl::StrCat("[", answer.substr(body + 4, answer.size() - body - 5), "]");
  }

  const TestAuthority clients_{"clients"};
  Session session_;
  bool resumed_ = false;
};

TEST_F(HttpServerTest, AnswersOneRequestAfterTheOther) {
  Start();
  Client client(server_->port());
  ASSERT_TRUE(client.connected());
  client.Send("GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("|"), HasSubstr("GET /one 0|"));
  client.Send("POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(client.ReadUntil("|"), HasSubstr("POST /two 3|"));
}

TEST_F(HttpServerTest, StreamsInPartsAndBreaksOffWhatFails) {
  Start();
  const std::string whole = Answer(absl::StrCat("GET /parts HTTP/1.1\r\n", kEnd));
  EXPECT_THAT(whole, HasSubstr("chunked"));
  EXPECT_THAT(whole, HasSubstr("part3"));
  EXPECT_THAT(whole, HasSubstr("part1"));
  EXPECT_THAT(whole, HasSubstr("\r\n0\r\n\r\n"));
  const std::string broken = Answer(absl::StrCat("GET /broken HTTP/1.1\r\n", kEnd));
  EXPECT_EQ(broken.find("\r\n0\r\n\r\n"), std::string::npos);
}

TEST_F(HttpServerTest, AsksForABodyThatIsAnnounced) {
  Start();
  Client client(server_->port());
  client.Send("PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 100"));
  client.Send("ab");
  EXPECT_THAT(client.ReadUntil("|"), HasSubstr("PUT /x 2|"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrSmuggled) {
  Start({.max_header_bytes = 4096, .max_body_bytes = 1000, .drain_time = absl::Milliseconds(100)});
  const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
  const std::vector<std::pair<std::string, const char*>> mistakes = {
      {absl::StrCat(start, "Content-Length: 10000000\r\n\r\n"), "HTTP/1.1 413"},
      {absl::StrCat(start, "Transfer-Encoding: chunked\r\n\r\n800\r\n", std::string(2048, 'a'),
                    "\r\n0\r\n\r\n"),
       "HTTP/1.1 413"},
      {absl::StrCat(start, "X: ", std::string(8000, 'a'), "\r\n\r\n"), "HTTP/1.1 431"},
      {absl::StrCat(start, "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"), "HTTP/1.1 400"},
      {absl::StrCat(start, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
       "HTTP/1.1 400"},
      {absl::StrCat(start, "Content-Length: -1\r\n\r\n"), "HTTP/1.1 400"},
      {"NONSENSE\r\n\r\n", "HTTP/1.1 400"},
  };
  for (const auto& [bytes, answer] : mistakes) {
    EXPECT_THAT(Answer(bytes), StartsWith(answer)) << bytes.substr(0, 80);
  }
}

// What Beast would read, and a proxy before it perhaps in another way.
TEST_F(HttpServerTest, RefusesWhatCanBeReadInTwoWays) {
  Start({.drain_time = absl::Milliseconds(100)});
  const std::string chunks = "Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  const std::string plain = "Connection: close\r\n\r\n";
  const std::vector<std::pair<std::string, const char*>> ambiguous = {
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n" + chunks,
       "not chunked"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" +
           chunks,
       "not chunked"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n" + plain, "not chunked"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \r\n" + plain, "not chunked"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + chunks, "in HTTP/1.0"},
      {"GET / HTTP/1.1\r\n" + plain, "not one Host"},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n" + plain, "not one Host"},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n" + plain, "not one Host"},
  };
  for (const auto& [bytes, why] : ambiguous) {
    const std::string answer = Answer(bytes);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400")) << bytes;
    EXPECT_THAT(answer, HasSubstr(why)) << bytes;
  }
  // The same without what is wrong with it.
  EXPECT_THAT(Answer("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n" + chunks),
              HasSubstr("POST / 3|"));
  EXPECT_THAT(Answer("GET / HTTP/1.0\r\n" + plain), HasSubstr("GET / 0|"));
}

TEST_F(ClientCertificateTest, SaysWhoTheClientIs) {
  const ClientOptions ana = {
      .identity = clients_.Issue({.names = {"URI:spiffe://a/ana", "DNS:ana", "URI:spiffe://a/x"}})};
  EXPECT_EQ(WhoIs(ana), "[spiffe://a/ana,spiffe://a/x]");
  EXPECT_EQ(WhoIs({.identity = ana.identity, .version = TLS1_2_VERSION}),
            "[spiffe://a/ana,spiffe://a/x]");
  EXPECT_EQ(WhoIs({.identity = clients_.Issue({.names = {"DNS:ana"}})}), "[]");
  EXPECT_EQ(WhoIs({}), "[]");
}

TEST_F(ClientCertificateTest, OfAnotherAuthorityOrTimeIsNotServed) {
  const TestAuthority stranger("clients");
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_EQ(
        WhoIs({.identity = stranger.Issue({.names = {"URI:spiffe://a/ana"}}), .version = version}),
        "");
    // The server's own authority is none of its clients'.
    EXPECT_EQ(WhoIs({.identity = authority_.Issue({.names = {"URI:spiffe://a/ana"}}),
                     .version = version}),
              "");
    EXPECT_EQ(WhoIs({.identity = clients_.Issue({.names = {"URI:spiffe://a/ana"},
                                                 .until = absl::Now() - absl::Minutes(1)}),
                     .version = version}),
              "");
  }
}

TEST_F(ClientCertificateTest, AResumedSessionIsOfTheSameClient) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    ClientOptions ana = {.identity = clients_.Issue({.names = {"URI:spiffe://a/ana"}}),
                         .version = version};
    ASSERT_EQ(WhoIs(ana), "[spiffe://a/ana]");
    const Session session = std::move(session_);
    ana.session = session.get();
    EXPECT_EQ(WhoIs(ana), "[spiffe://a/ana]");
    EXPECT_TRUE(resumed_);
  }
}

TEST_F(HttpServerTest, WhereNoAuthorityIsNamedACertificateSaysNothing) {
  Start();
  Client client(server_->port(), {.identity = authority_.Issue({.names = {"URI:spiffe://a/ana"}})});
  client.Send("GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("|"), HasSubstr("\r\n\r\n|"));
}

TEST_F(HttpServerTest, IdleConnectionsMakeRoomForNewOnes) {
  constexpr size_t kMost = 20;
  Start({.max_connections = kMost});
  std::vector<std::unique_ptr<Client>> idle;
  for (size_t i = 0; i < 3 * kMost; ++i) {
    idle.push_back(std::make_unique<Client>(server_->port()));
    ASSERT_TRUE(idle.back()->connected()) << i;
  }
  EXPECT_THAT(Answer(absl::StrCat("GET /now HTTP/1.1\r\n", kEnd)), HasSubstr("GET /now 0|"));
}

TEST_F(HttpServerTest, WhoSaysNothingIsLetGo) {
  Start({.handshake_time = absl::Milliseconds(200), .idle_time = absl::Milliseconds(200)});
  Client silent(server_->port());
  EXPECT_EQ(silent.ReadAll(), "");
  const Fd no_handshake = ConnectTo(server_->port());
  char byte = 0;
  EXPECT_LE(recv(no_handshake.get(), &byte, 1, 0), 0);
}

TEST_F(HttpServerTest, PlainTextIsNotAnswered) {
  Start();
  const Fd plain = ConnectTo(server_->port());
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_GT(send(plain.get(), request.data(), request.size(), 0), 0);
  std::array<char, 64> answer{};
  const ssize_t size = recv(plain.get(), answer.data(), answer.size(), 0);
  EXPECT_EQ(std::string(answer.data(), size > 0 ? static_cast<size_t>(size) : 0).find("HTTP"),
            std::string::npos);
}

}  // namespace
}  // namespace postern::controller
