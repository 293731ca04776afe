// The TLS of the HTTPS server: what a certificate makes, and who a client's names.

#ifndef POSTERN_CONTROLLER_REST_SERVER_TLS_H_
#define POSTERN_CONTROLLER_REST_SERVER_TLS_H_

#include <openssl/types.h>

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "controller/rest/http_server.h"

namespace postern::controller {

// INVALID_ARGUMENT where the certificate cannot serve.
absl::StatusOr<std::shared_ptr<boost::asio::ssl::context>> ServerContext(const ServerTls& tls);

// The URIs in the client's verified certificate; none where it has no certificate.
std::vector<std::string> CertificateUris(SSL* ssl);

}  // namespace postern::controller

#endif  // POSTERN_CONTROLLER_REST_SERVER_TLS_H_
