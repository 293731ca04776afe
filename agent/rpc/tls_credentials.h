// gRPC credentials that follow the certificate files.

#ifndef POSTERN_AGENT_RPC_TLS_CREDENTIALS_H_
#define POSTERN_AGENT_RPC_TLS_CREDENTIALS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "common/tls/certificates.h"

namespace postern {

// Mutual TLS (1.2 or newer) with what `source` holds at each handshake: a client
// needs a certificate of its authorities. `source` is borrowed and must outlive
// the server.
std::shared_ptr<grpc::ServerCredentials> MutualTlsCredentials(CertificateSource& source);

}  // namespace postern

#endif  // POSTERN_AGENT_RPC_TLS_CREDENTIALS_H_
