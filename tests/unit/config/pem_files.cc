#include "tests/unit/config/pem_files.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "gtest/gtest.h"

namespace postern {
namespace {

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using UniqueBio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using UniqueX509 = std::unique_ptr<X509, Free<X509_free>>;
using UniqueKey = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;

std::string Content(BIO* bio) {
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(bio, &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

}  // namespace

TestDirectory::TestDirectory() : path_(testing::TempDir() + "postern-config-XXXXXX") {
  EXPECT_NE(mkdtemp(path_.data()), nullptr);
}

TestDirectory::~TestDirectory() { std::filesystem::remove_all(path_); }

std::string TestDirectory::Write(const std::string& name, const std::string& content,
                                 mode_t mode) const {
  const std::string path = Path(name);
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
  EXPECT_EQ(chmod(path.c_str(), mode), 0);
  return path;
}

KeyPair MakeKeyPair(absl::Time end) {
  const UniqueKey key(EVP_EC_gen("P-256"));
  const UniqueX509 certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  ASN1_TIME_set(X509_getm_notBefore(certificate.get()), absl::ToTimeT(end - absl::Hours(48)));
  ASN1_TIME_set(X509_getm_notAfter(certificate.get()), absl::ToTimeT(end));
  X509_set_pubkey(certificate.get(), key.get());
  EXPECT_NE(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);

  KeyPair pair;
  UniqueBio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  pair.key = Content(bio.get());
  bio.reset(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate.get());
  pair.cert = Content(bio.get());
  return pair;
}

std::string Encrypted(const KeyPair& pair) {
  const UniqueBio in(BIO_new_mem_buf(pair.key.data(), static_cast<int>(pair.key.size())));
  const UniqueKey key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  const UniqueBio out(BIO_new(BIO_s_mem()));
  unsigned char passphrase[] = "secret";
  PEM_write_bio_PrivateKey(out.get(), key.get(), EVP_aes_128_cbc(), passphrase,
                           sizeof(passphrase) - 1, nullptr, nullptr);
  return Content(out.get());
}

}  // namespace postern
