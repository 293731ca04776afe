#include "agent/app/remove_gate.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "agent/firewall/nft/nft_firewall.h"
#include "common/fd.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kStopIt[] = "stop it first: systemctl stop postern-agent";

bool Answers(const std::string& path) {
  const Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

absl::StatusOr<bool> RemoveGate(const std::string& socket) {
  if (Answers(socket)) {
    return absl::FailedPreconditionError(
        absl::StrCat("posternd runs and answers on ", Printable(socket), "; ", kStopIt));
  }
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<NftFirewall> firewall, NftFirewall::Open());
  POSTERN_ASSIGN_OR_RETURN(const bool stood, firewall->HasTable());
  if (!stood) return false;
  const absl::Status removed = firewall->RemoveTable();
  if (absl::IsUnavailable(removed)) {
    return absl::UnavailableError(
        absl::StrCat(removed.message(), ". Where that is posternd, ", kStopIt));
  }
  POSTERN_RETURN_IF_ERROR(removed);
  return true;
}

}  // namespace postern
