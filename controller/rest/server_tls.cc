#include "controller/rest/server_tls.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/buffer.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/pki/openssl.h"

namespace postern::controller {
namespace {

namespace asio = boost::asio;

// TLS 1.2 with forward secrecy, and 1.3, which has nothing else.
constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

}  // namespace

absl::StatusOr<std::shared_ptr<asio::ssl::context>> ServerContext(const ServerTls& tls) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  boost::system::error_code error;
  context->set_options(asio::ssl::context::no_sslv2 | asio::ssl::context::no_sslv3 |
                       asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  SSL_CTX_set_cipher_list(context->native_handle(), kCiphers);
  context->use_certificate_chain(asio::buffer(tls.certificate), error);
  if (!error) context->use_private_key(asio::buffer(tls.key), asio::ssl::context::pem, error);
  if (!error && !tls.client_authorities.empty()) {
    context->add_certificate_authority(asio::buffer(tls.client_authorities), error);
    context->set_verify_mode(asio::ssl::verify_peer);
    // Sessions are resumed only within the same kind of server (SSL_CTX_set_session_id_context(3)).
    constexpr unsigned char kSessions[] = "postern";
    SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof kSessions - 1);
  }
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("the certificate cannot serve: ", error.message()));
  }
  return context;
}

std::vector<std::string> CertificateUris(SSL* ssl) {
  std::vector<std::string> uris;
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr) return uris;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  const absl::Cleanup free_names = [names] { GENERAL_NAMES_free(names); };
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)),
                      static_cast<size_t>(ASN1_STRING_length(uri)));
  }
  return uris;
}

}  // namespace postern::controller
