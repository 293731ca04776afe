// The client against the controller's own server, over real TLS on loopback.

#include "common/https/https.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "controller/rest/http_server.h"
#include "tests/support/certificates.h"

namespace postern {
namespace {

using controller::HttpRequest;
using controller::HttpResponse;
using controller::HttpServer;
using controller::HttpServerOptions;
using controller::ServerTls;

using testing::HasSubstr;

class HttpsTest : public testing::Test {
 protected:
  ~HttpsTest() override { LetGo(); }

  void LetGo() {
    if (!done_.HasBeenNotified()) done_.Notify();
  }

  void Serve(const LeafOptions& leaf = {.names = {"IP:127.0.0.1", "DNS:localhost"}}) {
    HttpServerOptions options{.address = *Address::Parse("127.0.0.1")};
    const Identity identity = authority_.Issue(leaf);
    options.tls = [identity] {
      return ServerTls{.certificate = identity.cert, .key = identity.key};
    };
    options.handle = [this](const HttpRequest& request) -> HttpResponse {
      if (request.target == "/slow") done_.WaitForNotification();
      if (request.target == "/moved") {
        return {.status = 302, .headers = {{"Location", Url("/keys")}}};
      }
      if (request.target == "/large") return {.body = std::string(300'000, 'a')};
      if (request.target == "/keys") return {.body = request.Header("host")};
      if (request.target == "/echo") {
        return {.status = 201,
                .headers = {{"X-Said", request.Header("x-say")}},
                .body = absl::StrCat(request.method, " ", request.body)};
      }
      return {.status = 404};
    };
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Url(const std::string& path, const std::string& host = "127.0.0.1") const {
    return absl::StrCat("https://", host, ":", server_->port(), path);
  }

  absl::StatusOr<HttpsAnswer> Get(const std::string& url,
                                  absl::Duration time = absl::Seconds(20)) const {
    return Exchange({.url = url, .authorities = authority_.cert(), .time = time});
  }

  std::string Problem(const std::string& url, absl::Duration time = absl::Seconds(20)) const {
    return std::string(Get(url, time).status().message());
  }

  const TestAuthority authority_{"test"};
  absl::Notification done_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpsTest, GivesTheBody) {
  Serve();
  const absl::StatusOr<HttpsAnswer> answer = Get(Url("/keys"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, absl::StrCat("127.0.0.1:", server_->port()));
  EXPECT_TRUE(Get(Url("/keys", "localhost")).ok());
}

TEST_F(HttpsTest, SendsTheMethodTheHeadersAndTheBody) {
  Serve();
  const absl::StatusOr<HttpsAnswer> answer = Exchange({.method = "PUT",
                                                       .url = Url("/echo"),
                                                       .headers = {{"x-say", "hello"}},
                                                       .body = "{}",
                                                       .authorities = authority_.cert()});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "PUT {}");
  EXPECT_EQ(answer->Header("x-said"), "hello");
}

TEST_F(HttpsTest, HandsOverALongBodyPieceByPiece) {
  Serve();
  size_t bytes = 0;
  HttpsRequest request = {.url = Url("/large"), .authorities = authority_.cert()};
  request.take = [&bytes](absl::string_view piece) {
    bytes += piece.size();
    return absl::OkStatus();
  };
  ASSERT_TRUE(Exchange(request).ok());
  EXPECT_EQ(bytes, 300'000u);
  request.take = [](absl::string_view) { return absl::CancelledError("enough"); };
  EXPECT_TRUE(absl::IsCancelled(Exchange(request).status()));
}

TEST_F(HttpsTest, RefusesAServerThatIsAnother) {
  Serve({.names = {"DNS:keys.example.org"}});
  EXPECT_TRUE(absl::IsUnauthenticated(Get(Url("/keys")).status()));
  EXPECT_EQ(Problem(Url("/keys")),
            "the server's certificate does not hold: it is not for 127.0.0.1");
}

TEST_F(HttpsTest, RefusesAnAuthorityThatIsNotTrusted) {
  Serve();
  const TestAuthority other("other");
  EXPECT_THAT(
      std::string(Exchange({.url = Url("/keys"), .authorities = other.cert()}).status().message()),
      HasSubstr("does not hold: unable to get local issuer certificate"));
  EXPECT_TRUE(absl::IsUnauthenticated(Exchange({.url = Url("/keys")}).status()));
}

TEST_F(HttpsTest, RefusesACertificateThatIsOver) {
  Serve({.names = {"IP:127.0.0.1"},
         .from = absl::Now() - absl::Hours(2),
         .until = absl::Now() - absl::Hours(1)});
  EXPECT_THAT(Problem(Url("/keys")), HasSubstr("does not hold: certificate has expired"));
}

TEST_F(HttpsTest, FollowsNobodyAndWaitsForNobody) {
  Serve();
  EXPECT_EQ(Get(Url("/moved"))->status, 302);
  EXPECT_EQ(Get(Url("/none"))->status, 404);
  EXPECT_THAT(Problem(Url("/large")), HasSubstr("reading"));
  EXPECT_THAT(Problem(Url("/slow"), absl::Milliseconds(200)), HasSubstr("too long"));
  const std::string gone = Url("/keys");
  LetGo();
  server_.reset();
  EXPECT_THAT(Problem(gone), HasSubstr("connecting"));
}

TEST_F(HttpsTest, RefusesWhatIsNoAddress) {
  for (const char* url :
       {"", "http://localhost/", "https://", "https:///keys", "https://localhost:0/",
        "https://localhost:99999/", "https://localhost:x/", "https://[::1/", "https://u@localhost/",
        "https://localhost/a b", "https://localhost/\r\nX: y"}) {
    EXPECT_EQ(Get(url).status().code(), absl::StatusCode::kInvalidArgument) << url;
  }
}

}  // namespace
}  // namespace postern
