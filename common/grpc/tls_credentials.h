// gRPC credentials that follow the certificate files.

#ifndef POSTERN_COMMON_GRPC_TLS_CREDENTIALS_H_
#define POSTERN_COMMON_GRPC_TLS_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "common/tls/certificates.h"

namespace postern {

// TLS (1.2 or newer) with what `source` holds at each handshake: a client needs a
// certificate of its authorities. `source` is borrowed and must outlive the server.
std::shared_ptr<grpc::ServerCredentials> MutualTlsCredentials(CertificateSource& source);
// The same, but a client may come without a certificate.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(CertificateSource& source);

}  // namespace postern

#endif  // POSTERN_COMMON_GRPC_TLS_CREDENTIALS_H_
