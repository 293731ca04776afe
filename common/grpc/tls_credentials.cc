#include "common/grpc/tls_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/grpc_security_constants.h>

#include <atomic>
#include <string>

namespace postern {
namespace {

// The C++ interface offers certificates that change only with a thread that
// looks for changes (FileWatcherCertificateProvider); the C interface asks at
// each handshake.
class FollowingCredentials final : public grpc::ServerCredentials {
 public:
  FollowingCredentials(CertificateSource& source, grpc_ssl_client_certificate_request_type clients)
      : source_(source),
        credentials_(grpc_ssl_server_credentials_create_with_options(
            grpc_ssl_server_credentials_create_options_using_config_fetcher(clients, &Fetch,
                                                                            this))) {}

  FollowingCredentials(const FollowingCredentials&) = delete;
  FollowingCredentials& operator=(const FollowingCredentials&) = delete;
  ~FollowingCredentials() override { grpc_server_credentials_release(credentials_); }

  // The certificate alone tells who calls.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  // Called at the start and at each handshake, perhaps by several threads.
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<FollowingCredentials*>(self)->Fetch(config);
  }

  grpc_ssl_certificate_config_reload_status Fetch(grpc_ssl_server_certificate_config** config) {
    const CertificateSource::Current current = source_.Get();
    if (given_.exchange(current.generation) == current.generation) {
      return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    }
    const grpc_ssl_pem_key_cert_pair pair = {.private_key = current.certificates->key.c_str(),
                                             .cert_chain = current.certificates->cert.c_str()};
    *config = grpc_ssl_server_certificate_config_create(current.certificates->ca.c_str(), &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  CertificateSource& source_;
  // The generation that gRPC has.
  std::atomic<uint64_t> given_{0};
  grpc_server_credentials* credentials_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MutualTlsCredentials(CertificateSource& source) {
  return std::make_shared<FollowingCredentials>(
      source, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(CertificateSource& source) {
  return std::make_shared<FollowingCredentials>(source,
                                                GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
}

}  // namespace postern
