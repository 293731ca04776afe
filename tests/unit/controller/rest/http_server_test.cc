// The server over real TLS on loopback, with a client that sends what it likes.

#include "controller/rest/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/fd.h"
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

// One TLS connection.
class Client {
 public:
  explicit Client(uint16_t port)
      : fd_(ConnectTo(port)), context_(SSL_CTX_new(TLS_client_method())) {
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }

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
    options.tls = [identity] {
      return ServerTls{.certificate = identity.cert, .key = identity.key};
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
  std::unique_ptr<HttpServer> server_;
};

constexpr char kEnd[] = "Host: a\r\nConnection: close\r\n\r\n";

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
  Start({.max_header_bytes = 4096, .max_body_bytes = 1000});
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
