// posternctl pki, its files judged by OpenSSL, and TLS with them.

#include <gmock/gmock.h>
#include <openssl/bn.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/pki/openssl.h"
#include "tests/unit/cli/tool.h"

namespace postern {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using StorePtr = std::unique_ptr<X509_STORE, OpensslDeleter<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, OpensslDeleter<X509_STORE_CTX_free>>;

class PkiTest : public ToolTest {
 protected:
  PkiTest() : pki_(directory_ + "/pki") {
    // Certificates are judged by the machine's clock.
    environment_.now = [] { return absl::Now(); };
  }

  Outcome Pki(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "pki");
    arguments.insert(arguments.end(), {"--dir", pki_});
    return RunTool(arguments, environment_);
  }
  std::string File(const std::string& name) const { return pki_ + "/" + name; }
  std::string Read(const std::string& name) const {
    std::ifstream file(File(name), std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    return content.str();
  }
  mode_t ModeOf(const std::string& path) const {
    struct stat facts {};
    return stat(path.c_str(), &facts) == 0 ? facts.st_mode & 07777 : 0;
  }
  X509Ptr Certificate(const std::string& name) const {
    return ReadCertificate(Read(name), name).value();
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(pki_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  // OpenSSL's verdict on NAME.pem under ca.pem for a purpose; "ok" or why not.
  std::string Verify(const std::string& name, int purpose) const {
    const X509Ptr authority = Certificate("ca.pem");
    const X509Ptr leaf = Certificate(name);
    const StorePtr store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), authority.get());
    const StoreContextPtr context(X509_STORE_CTX_new());
    X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), nullptr);
    X509_STORE_CTX_set_flags(context.get(),
                             X509_V_FLAG_X509_STRICT | X509_V_FLAG_CHECK_SS_SIGNATURE);
    X509_STORE_CTX_set_purpose(context.get(), purpose);
    X509_verify_cert(context.get());
    return X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  }

  std::vector<std::string> Remote(const std::string& verb, const std::string& host, int port,
                                  const std::string& client) const {
    return {verb,
            "--address",
            absl::StrCat(host, ":", port),
            "--ca",
            File("ca.pem"),
            "--cert",
            File(client + ".pem"),
            "--key",
            File(client + ".key")};
  }
  FakeAgent::Tls TlsOf(const std::string& name) const {
    return {.ca = Read("ca.pem"), .cert = Read(name + ".pem"), .key = Read(name + ".key")};
  }

  const std::string pki_;
};

TEST_F(PkiTest, InitMakesAnAuthorityThatCanSignLeavesOnly) {
  const Outcome run = Pki({"init"});
  ASSERT_EQ(0, run.exit_code) << run.err;
  EXPECT_EQ(0700U, ModeOf(pki_));
  EXPECT_EQ(0600U, ModeOf(File("ca.key")));
  EXPECT_EQ(0644U, ModeOf(File("ca.pem")));
  const X509Ptr ca = Certificate("ca.pem");
  EXPECT_EQ(1, X509_check_ca(ca.get()));
  EXPECT_EQ(0, X509_get_pathlen(ca.get()));
  EXPECT_EQ(static_cast<uint32_t>(KU_KEY_CERT_SIGN | KU_CRL_SIGN), X509_get_key_usage(ca.get()));
  EXPECT_NE(nullptr, X509_get0_subject_key_id(ca.get()));
  for (const int nid : {NID_basic_constraints, NID_key_usage}) {
    const X509_EXTENSION* extension =
        X509_get_ext(ca.get(), X509_get_ext_by_NID(ca.get(), nid, -1));
    EXPECT_EQ(1, X509_EXTENSION_get_critical(extension));
  }
  std::time_t nine_years = absl::ToTimeT(absl::Now() + absl::Hours(24 * 365 * 9));
  EXPECT_GT(X509_cmp_time(X509_get0_notAfter(ca.get()), &nine_years), 0);
  const KeyPtr key = ReadKey(Read("ca.key"), "ca.key").value();
  EXPECT_EQ(EVP_PKEY_EC, EVP_PKEY_get_base_id(key.get()));
  EXPECT_EQ(256, EVP_PKEY_get_bits(key.get()));
}

TEST_F(PkiTest, EachKindIsGoodForItsPurposeAlone) {
  Pki({"init"});
  ASSERT_EQ(0, Pki({"agent", "--name", "vm1", "--address", "192.0.2.10"}).exit_code);
  ASSERT_EQ(0, Pki({"controller", "--name", "main", "--address", "ctl.example.org"}).exit_code);
  ASSERT_EQ(0, Pki({"client", "--name", "alice"}).exit_code);
  const std::string no = "unsuitable certificate purpose";
  EXPECT_EQ("ok", Verify("vm1.pem", X509_PURPOSE_SSL_SERVER));
  EXPECT_EQ(no, Verify("vm1.pem", X509_PURPOSE_SSL_CLIENT));
  EXPECT_EQ("ok", Verify("main.pem", X509_PURPOSE_SSL_SERVER));
  EXPECT_EQ("ok", Verify("main.pem", X509_PURPOSE_SSL_CLIENT));
  EXPECT_EQ(no, Verify("alice.pem", X509_PURPOSE_SSL_SERVER));
  EXPECT_EQ("ok", Verify("alice.pem", X509_PURPOSE_SSL_CLIENT));
  EXPECT_EQ(0, X509_check_ca(Certificate("alice.pem").get()));
}

TEST_F(PkiTest, ALeafNamesItsHolderAndAddresses) {
  Pki({"init"});
  const Outcome run = Pki({"agent", "--name", "vm1", "--address", "192.0.2.10", "--address",
                           "2001:db8::10", "--address", "vm1.example.org"});
  ASSERT_EQ(0, run.exit_code) << run.err;
  EXPECT_THAT(run.out, HasSubstr("tls: {cert: vm1.pem, key: vm1.key, ca: ca.pem}"));
  const X509Ptr leaf = Certificate("vm1.pem");
  EXPECT_EQ(1, X509_check_ip_asc(leaf.get(), "192.0.2.10", 0));
  EXPECT_EQ(1, X509_check_ip_asc(leaf.get(), "2001:db8::10", 0));
  EXPECT_EQ(1, X509_check_host(leaf.get(), "vm1.example.org", 0, 0, nullptr));
  EXPECT_EQ(0, X509_check_ip_asc(leaf.get(), "192.0.2.11", 0));
  EXPECT_EQ(0, X509_check_host(leaf.get(), "vm2.example.org", 0, 0, nullptr));
  std::unique_ptr<GENERAL_NAMES, OpensslDeleter<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(leaf.get(), NID_subject_alt_name, nullptr, nullptr)));
  const GENERAL_NAME* first = sk_GENERAL_NAME_value(names.get(), 0);
  ASSERT_EQ(GEN_URI, first->type);
  EXPECT_EQ(
      "spiffe://postern/agent/vm1",
      std::string(
          reinterpret_cast<const char*>(ASN1_STRING_get0_data(first->d.uniformResourceIdentifier)),
          static_cast<size_t>(ASN1_STRING_length(first->d.uniformResourceIdentifier))));
  EXPECT_EQ(0600U, ModeOf(File("vm1.key")));
  EXPECT_EQ(0644U, ModeOf(File("vm1.pem")));
}

TEST_F(PkiTest, PrintsThePeersLineThatGoesWithIt) {
  Pki({"init"});
  EXPECT_THAT(Pki({"controller", "--name", "main"}).out,
              HasSubstr("- {san: \"spiffe://postern/controller/main\", role: controller}"));
  EXPECT_THAT(Pki({"client", "--name", "alice", "--role", "operator"}).out,
              HasSubstr("- {san: \"spiffe://postern/client/alice\", role: operator}"));
  EXPECT_THAT(Pki({"client", "--name", "eve", "-o", "json"}).out,
              HasSubstr("\"san\": \"spiffe://postern/client/eve\""));
}

TEST_F(PkiTest, SerialsAreLongAndDiffer) {
  Pki({"init"});
  Pki({"client", "--name", "a"});
  Pki({"client", "--name", "b"});
  const auto serial = [&](const std::string& name) {
    const X509Ptr leaf = Certificate(name);
    std::unique_ptr<BIGNUM, OpensslDeleter<BN_free>> number(
        ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf.get()), nullptr));
    return BN_num_bits(number.get());
  };
  EXPECT_GT(serial("a.pem"), 64);
  EXPECT_LE(serial("a.pem"), 128);
  EXPECT_NE(0, ASN1_INTEGER_cmp(X509_get0_serialNumber(Certificate("a.pem").get()),
                                X509_get0_serialNumber(Certificate("b.pem").get())));
}

TEST_F(PkiTest, NothingIsEverOverwritten) {
  Pki({"init"});
  const std::string ca = Read("ca.pem");
  Outcome run = Pki({"init"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr(File("ca.key")));
  EXPECT_EQ(ca, Read("ca.pem"));

  Pki({"client", "--name", "alice"});
  const std::string key = Read("alice.key");
  EXPECT_EQ(1, Pki({"client", "--name", "alice"}).exit_code);
  EXPECT_EQ(key, Read("alice.key"));
}

TEST_F(PkiTest, NoHalfOfAPairIsLeft) {
  Pki({"init"});
  // Only one of the two names is taken, by a link that leads nowhere.
  std::filesystem::create_symlink("nowhere", File("bob.pem"));
  const Outcome run = Pki({"client", "--name", "bob"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr(File("bob.pem")));
  EXPECT_THAT(Names(), ::testing::UnorderedElementsAre("ca.pem", "ca.key", "bob.pem"));
}

TEST_F(PkiTest, RefusesWhatCannotBeIssued) {
  Outcome run = Pki({"client", "--name", "alice"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("posternctl pki init"));

  Pki({"init"});
  environment_.now = [] { return absl::Now() + absl::Hours(24 * 365 * 9); };
  run = Pki({"client", "--name", "alice"});
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("outlive"));
  environment_.now = [] { return absl::Now() + absl::Hours(24 * 365 * 11); };
  EXPECT_THAT(Pki({"client", "--name", "alice"}).err, HasSubstr("has expired"));

  environment_.now = [] { return absl::Now(); };
  Pki({"client", "--name", "alice"});
  std::filesystem::copy_file(File("alice.key"), File("ca.key"),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Pki({"client", "--name", "bob"}).err, HasSubstr("is not the key of"));
  std::filesystem::copy_file(File("alice.pem"), File("ca.pem"),
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_THAT(Pki({"client", "--name", "bob"}).err,
              HasSubstr("not the certificate of an authority"));
}

TEST_F(PkiTest, TlsWorksByNameAndByAddressOfBothFamilies) {
  Pki({"init"});
  Pki({"agent", "--name", "vm1", "--address", "127.0.0.1", "--address", "::1", "--address",
       "localhost"});
  Pki({"client", "--name", "alice"});
  const FakeAgent::Tls tls = TlsOf("vm1");
  answers_.status.set_version("0.1.0");
  for (const char* host : {"127.0.0.1", "[::1]", "localhost"}) {
    const auto agent = StartFakeAgent(absl::StrCat(host, ":0"), answers_, &tls);
    ASSERT_NE(nullptr, agent) << host;
    const Outcome run = RunTool(Remote("status", host, agent->port(), "alice"), environment_);
    EXPECT_EQ(0, run.exit_code) << host << ": " << run.err;
    EXPECT_EQ("", run.err);
    EXPECT_THAT(run.out, HasSubstr("postern agent 0.1.0"));
  }
}

TEST_F(PkiTest, TlsRefusesAnAgentOfAnotherNameOrAuthority) {
  Pki({"init"});
  Pki({"agent", "--name", "vm1", "--address", "192.0.2.10", "--address", "vm1.example.org"});
  Pki({"client", "--name", "alice"});
  const FakeAgent::Tls tls = TlsOf("vm1");
  for (const char* host : {"127.0.0.1", "[::1]", "localhost"}) {
    const auto agent = StartFakeAgent(absl::StrCat(host, ":0"), answers_, &tls);
    const Outcome run = RunTool(Remote("status", host, agent->port(), "alice"), environment_);
    EXPECT_EQ(1, run.exit_code) << host;
    EXPECT_THAT(run.err, HasSubstr("over TLS"));
    EXPECT_TRUE(agent->asked().calls.empty());
  }
}

TEST_F(PkiTest, AClientCannotPassForAnAgent) {
  Pki({"init"});
  Pki({"client", "--name", "mallory", "--address", "127.0.0.1"});
  Pki({"client", "--name", "alice"});
  const FakeAgent::Tls tls = TlsOf("mallory");
  const auto agent = StartFakeAgent("127.0.0.1:0", answers_, &tls);
  EXPECT_EQ(1,
            RunTool(Remote("status", "127.0.0.1", agent->port(), "alice"), environment_).exit_code);
}

TEST_F(PkiTest, AnotherAuthoritysClientIsRefusedAndToldWhereToLook) {
  Pki({"init"});
  Pki({"agent", "--name", "vm1", "--address", "127.0.0.1"});
  Pki({"client", "--name", "alice"});
  FakeAgent::Tls tls = TlsOf("vm1");
  std::filesystem::rename(pki_, directory_ + "/first");
  Pki({"init"});
  Pki({"client", "--name", "alice"});
  const std::string stranger = directory_ + "/stranger";
  std::filesystem::rename(pki_, stranger);
  std::filesystem::rename(directory_ + "/first", pki_);
  const auto agent = StartFakeAgent("127.0.0.1:0", answers_, &tls);
  std::vector<std::string> arguments = Remote("status", "127.0.0.1", agent->port(), "alice");
  arguments[6] = stranger + "/alice.pem";
  arguments[8] = stranger + "/alice.key";
  Outcome run = RunTool(arguments, environment_);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("are both of one authority?"));
  arguments[4] = stranger + "/ca.pem";
  run = RunTool(arguments, environment_);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("are both of one authority?"));
  EXPECT_TRUE(agent->asked().calls.empty());
}

TEST_F(PkiTest, PlainTextOnTheOtherSideIsAFailureInTime) {
  Pki({"init"});
  Pki({"client", "--name", "alice"});
  const auto agent = StartFakeAgent("127.0.0.1:0", answers_);
  const Outcome run = RunTool(Remote("status", "127.0.0.1", agent->port(), "alice"), environment_);
  EXPECT_EQ(1, run.exit_code);
  EXPECT_THAT(run.err, HasSubstr("over TLS"));
}

TEST_F(PkiTest, GrantWithoutFromTellsWhichAddressARemoteAgentSaw) {
  Pki({"init"});
  Pki({"agent", "--name", "vm1", "--address", "127.0.0.1"});
  Pki({"client", "--name", "alice", "--role", "operator"});
  const FakeAgent::Tls tls = TlsOf("vm1");
  const auto agent = StartFakeAgent("127.0.0.1:0", answers_, &tls);
  // Not this machine's to say where a remote agent sees it.
  environment_.variables["SSH_CONNECTION"] = "198.51.100.4 52114 192.0.2.10 22";
  std::vector<std::string> arguments = Remote("grant", "127.0.0.1", agent->port(), "alice");
  arguments.insert(arguments.end(), {"--port", "22", "--for", "1h"});
  const Outcome run = RunTool(arguments, environment_);
  EXPECT_EQ(0, run.exit_code) << run.err;
  EXPECT_THAT(run.err, HasSubstr("the address it sees you at, 203.0.113.7/32"));
  EXPECT_EQ(0, agent->asked().create.source_prefixes_size());
}

TEST_F(PkiTest, FilesOfTheWrongKindAreNamed) {
  Pki({"init"});
  Pki({"client", "--name", "alice"});
  Pki({"client", "--name", "bob"});
  const auto with = [&](size_t index, const std::string& file) {
    std::vector<std::string> arguments = Remote("status", "127.0.0.1", 1, "alice");
    arguments[index] = file;
    const Outcome run = RunTool(arguments, environment_);
    EXPECT_EQ(1, run.exit_code);
    EXPECT_EQ("", run.out);
    return run.err;
  };
  constexpr size_t kCa = 4;
  constexpr size_t kCert = 6;
  constexpr size_t kKey = 8;
  EXPECT_THAT(with(kCa, File("none.pem")), HasSubstr(File("none.pem") + ": No such file"));
  EXPECT_THAT(with(kCert, pki_), HasSubstr("Is a directory"));
  EXPECT_THAT(with(kCa, File("alice.key")), HasSubstr("holds no certificate"));
  EXPECT_THAT(with(kKey, File("alice.pem")), HasSubstr("holds no private key"));
  EXPECT_THAT(with(kKey, File("bob.key")), HasSubstr("is not the key of"));
  std::ofstream(File("huge.pem")) << std::string(300 * 1024, 'x');
  EXPECT_THAT(with(kCert, File("huge.pem")), HasSubstr("has more than 262144 bytes"));
}

TEST_F(PkiTest, AKeyThatOthersMayReadIsWarnedAbout) {
  Pki({"init"});
  Pki({"client", "--name", "alice"});
  const auto warning = "alice.key can be read by others; chmod 600 it";
  EXPECT_THAT(RunTool(Remote("status", "127.0.0.1", 1, "alice"), environment_).err,
              Not(HasSubstr(warning)));
  std::filesystem::permissions(File("alice.key"), std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  EXPECT_THAT(RunTool(Remote("status", "127.0.0.1", 1, "alice"), environment_).err,
              HasSubstr(warning));
}

}  // namespace
}  // namespace postern
