// How the doctor calls things. Everything is made printable.

#ifndef POSTERN_AGENT_DOCTOR_NAMING_H_
#define POSTERN_AGENT_DOCTOR_NAMING_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/doctor/walk.h"
#include "agent/firewall/nft/foreign.h"
#include "common/prefix.h"

namespace postern {

// NFPROTO_* as nft(8) writes it.
std::string FamilyWord(uint8_t family);
// "table inet filter"
std::string NameTable(const nft::ForeignTable& table);
// "rule 7 of chain input (table inet filter)", where 7 is the handle, or "the
// policy of chain input (table inet filter)".
std::string NamePlace(const nft::ForeignTable& table, const Place& place);
// The command that shows the chain.
std::string ShowCommand(const nft::ForeignTable& table, const Place& place);
// "port 22", "ports 22, 3389 and 5985".
std::string NamePorts(const std::set<uint16_t>& ports);
// "a, b and c".
std::string JoinWords(const std::vector<std::string>& words);

// Who made the rules of a table, told by the names that it gives.
enum class Maker : uint8_t { kUnknown, kFirewalld, kUfw, kContainers };
Maker MakerOf(const nft::ForeignTable& table, const nft::ForeignChain& chain);

// The container engine or cluster whose chain or table has this name; null for
// another.
const char* ContainerEngine(const nft::ForeignTable& table, const nft::ForeignChain& chain);
// ufw's own chains.
bool IsUfw(const nft::ForeignChain& chain);

}  // namespace postern

#endif  // POSTERN_AGENT_DOCTOR_NAMING_H_
