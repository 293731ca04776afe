#include "agent/app/journal_kinds.h"

namespace postern {

JournalKind KindOf(AuditKind kind) {
  switch (kind) {
    case AuditKind::kGrantCreated:
      return {"GRANT_CREATED", "69b5359686dd4ff5814de5197e62f1a1", Priority::kInfo};
    case AuditKind::kGrantExtended:
      return {"GRANT_EXTENDED", "87441dbfc6bf4226854d1976761add72", Priority::kInfo};
    case AuditKind::kGrantMoved:
      return {"GRANT_MOVED", "0c8216895647423f9f90e9b697e3d5cf", Priority::kInfo};
    case AuditKind::kGrantRevoked:
      return {"GRANT_REVOKED", "89aefeffa2914296b8b9f61bb19aa38e", Priority::kInfo};
    case AuditKind::kGrantExpired:
      return {"GRANT_EXPIRED", "65378f09756d43d8b755f2d3e7d92d5e", Priority::kInfo};
    case AuditKind::kGrantFailed:
      return {"GRANT_FAILED", "cd4a376455d943b9bdab432837c922c6", Priority::kError};
    case AuditKind::kAgentStarted:
      return {"AGENT_STARTED", "995353bb36664d889a914d344b1694d2", Priority::kInfo};
    case AuditKind::kAgentStopped:
      return {"AGENT_STOPPED", "055eb386d45e423fa6778af4df0e7a84", Priority::kInfo};
    case AuditKind::kConfigReloaded:
      return {"CONFIG_RELOADED", "c24e418adbf14b148a64d9a08c7db85f", Priority::kInfo};
    case AuditKind::kFirewallRepaired:
      return {"FIREWALL_REPAIRED", "62892478e41f4056b64cdbc2d0db3c51", Priority::kWarning};
    case AuditKind::kClockChanged:
      return {"CLOCK_CHANGED", "5158165ad3114b7d893b30a85c0c97cd", Priority::kNotice};
    case AuditKind::kLockedDown:
      return {"LOCKED_DOWN", "512ba3d55a6e4e7ba45774b313baef86", Priority::kWarning};
    case AuditKind::kLockdownLifted:
      return {"LOCKDOWN_LIFTED", "8ddd421716b74c779ac21e0d16d3ffeb", Priority::kNotice};
    case AuditKind::kArmed:
      return {"ARMED", "1f9125e08b374316ad07043e39ca7333", Priority::kNotice};
    case AuditKind::kConfirmed:
      return {"CONFIRMED", "4986edc1e8b54340929a3ead5f7a7594", Priority::kNotice};
    case AuditKind::kDisarmed:
      return {"DISARMED", "21a308509da645059f9797ae616da550", Priority::kWarning};
    case AuditKind::kLedgerReplaced:
      return {"LEDGER_REPLACED", "299e2d82100b448e9e35ae1636cabff6", Priority::kError};
    case AuditKind::kGrantsRestored:
      return {"GRANTS_RESTORED", "4701ff84cc364d13b421d795309232b8", Priority::kNotice};
  }
  return {"UNKNOWN", "", Priority::kWarning};
}

}  // namespace postern
