#include "tests/bench/floor.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "tests/kernel/process.h"

namespace postern::bench {
namespace {

constexpr char kName[] = "floor";
constexpr uint64_t kTimeoutMs = 3'600'000;
constexpr uint32_t kElementsPerBatch = 256;

// Address, protocol and port, as the agent's keys.
using Key = std::array<uint32_t, 3>;

void PutElement(nlmsghdr* message, const Key& key, bool with_timeout) {
  nlattr* element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  nlattr* value = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put(message, NFTA_DATA_VALUE, sizeof key, key.data());
  mnl_attr_nest_end(message, value);
  if (with_timeout) mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(kTimeoutMs));
  mnl_attr_nest_end(message, element);
}

absl::Status SqliteError(sqlite3* database, const char* doing) {
  return absl::UnavailableError(absl::StrCat(doing, ": ", sqlite3_errmsg(database)));
}

}  // namespace

// ---- RawCommit

absl::StatusOr<std::unique_ptr<RawCommit>> RawCommit::Open(const Namespace& where,
                                                           uint32_t elements) {
  const Inside inside(where);
  POSTERN_RETURN_IF_ERROR(inside.status());
  auto raw = std::make_unique<RawCommit>();
  raw->socket_.reset(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC));
  if (raw->socket_ == nullptr || mnl_socket_bind(raw->socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return ErrnoStatus(errno, "opening a netfilter socket");
  }
  POSTERN_RETURN_IF_ERROR(raw->Commit([&raw](mnl_nlmsg_batch* batch) {
    // Made first, so that one that is there already can be taken away.
    for (const uint16_t type : {NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE, NFT_MSG_NEWTABLE}) {
      mnl_attr_put_strz(raw->Message(batch, type, NLM_F_CREATE), NFTA_TABLE_NAME, kName);
      mnl_nlmsg_batch_next(batch);
    }
    nlmsghdr* set = raw->Message(batch, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_ACK);
    mnl_attr_put_strz(set, NFTA_SET_TABLE, kName);
    mnl_attr_put_strz(set, NFTA_SET_NAME, kName);
    mnl_attr_put_u32(set, NFTA_SET_FLAGS, htonl(NFT_SET_TIMEOUT));
    mnl_attr_put_u32(set, NFTA_SET_KEY_LEN, htonl(sizeof(Key)));
    mnl_attr_put_u32(set, NFTA_SET_ID, htonl(1));
    mnl_nlmsg_batch_next(batch);
  }));
  while (raw->next_element_ < elements) {
    const uint32_t count = std::min(elements - raw->next_element_, kElementsPerBatch);
    POSTERN_RETURN_IF_ERROR(raw->Commit([&](mnl_nlmsg_batch* batch) {
      raw->Elements(batch, /*add=*/true, raw->next_element_, count);
    }));
    raw->next_element_ += count;
  }
  return raw;
}

absl::Status RawCommit::Add() {
  const uint32_t number = next_element_++;
  return Commit(
      [this, number](mnl_nlmsg_batch* batch) { Elements(batch, /*add=*/true, number, 1); });
}

absl::Status RawCommit::Remove() {
  const uint32_t number = --next_element_;
  return Commit(
      [this, number](mnl_nlmsg_batch* batch) { Elements(batch, /*add=*/false, number, 1); });
}

absl::Status RawCommit::Commit(absl::FunctionRef<void(mnl_nlmsg_batch*)> add_messages) {
  mnl_nlmsg_batch* batch = mnl_nlmsg_batch_start(buffer_.data(), buffer_.size());
  Message(batch, NFNL_MSG_BATCH_BEGIN, 0);
  mnl_nlmsg_batch_next(batch);
  add_messages(batch);
  Message(batch, NFNL_MSG_BATCH_END, 0);
  mnl_nlmsg_batch_next(batch);
  const ssize_t sent =
      mnl_socket_sendto(socket_.get(), mnl_nlmsg_batch_head(batch), mnl_nlmsg_batch_size(batch));
  mnl_nlmsg_batch_stop(batch);
  if (sent < 0) return ErrnoStatus(errno, "sending to nf_tables");
  return Answer();
}

nlmsghdr* RawCommit::Message(mnl_nlmsg_batch* batch, uint16_t type, uint16_t flags) {
  const bool frame = type == NFNL_MSG_BATCH_BEGIN || type == NFNL_MSG_BATCH_END;
  nlmsghdr* message = mnl_nlmsg_put_header(mnl_nlmsg_batch_current(batch));
  message->nlmsg_type = static_cast<uint16_t>(frame ? type : (NFNL_SUBSYS_NFTABLES << 8) | type);
  message->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  message->nlmsg_seq = ++sequence_;
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = frame ? AF_UNSPEC : NFPROTO_INET;
  header->res_id = htons(frame ? NFNL_SUBSYS_NFTABLES : 0);
  return message;
}

void RawCommit::Elements(mnl_nlmsg_batch* batch, bool add, uint32_t first, uint32_t count) {
  nlmsghdr* message = add ? Message(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK)
                          : Message(batch, NFT_MSG_DELSETELEM, NLM_F_ACK);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, kName);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, kName);
  nlattr* list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  for (uint32_t i = 0; i < count; ++i) PutElement(message, {htonl(first + i), 6, htons(22)}, add);
  mnl_attr_nest_end(message, list);
  mnl_nlmsg_batch_next(batch);
}

absl::Status RawCommit::Answer() {
  alignas(nlmsghdr) std::array<char, 4096> answer;
  const ssize_t got = mnl_socket_recvfrom(socket_.get(), answer.data(), answer.size());
  if (got < 0) return ErrnoStatus(errno, "receiving from nf_tables");
  const auto* message = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (message->nlmsg_type != NLMSG_ERROR) return absl::InternalError("nf_tables: no answer");
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  return error->error == 0 ? absl::OkStatus() : ErrnoStatus(-error->error, "nf_tables");
}

// ---- DurableInsert

absl::StatusOr<std::unique_ptr<DurableInsert>> DurableInsert::Open(const std::string& path) {
  auto opened = std::make_unique<DurableInsert>();
  sqlite3* database = nullptr;
  const int code = sqlite3_open(path.c_str(), &database);
  opened->database_.reset(database);
  if (code != SQLITE_OK) return SqliteError(database, "opening the floor's database");
  if (sqlite3_exec(database,
                   "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                   "PRAGMA synchronous = FULL; CREATE TABLE floor (id INTEGER PRIMARY KEY, t TEXT);"
                   // Lets the log reach the size at which it begins anew: a file that grows
                   // costs the file system more than one that is written over.
                   "INSERT INTO floor (t) VALUES (zeroblob(5000000)); DELETE FROM floor",
                   nullptr, nullptr, nullptr) != SQLITE_OK) {
    return SqliteError(database, "making the floor's table");
  }
  sqlite3_stmt* insert = nullptr;
  if (sqlite3_prepare_v2(database, "INSERT INTO floor (t) VALUES (?)", -1, &insert, nullptr) !=
      SQLITE_OK) {
    return SqliteError(database, "preparing the floor's insert");
  }
  opened->insert_.reset(insert);
  return opened;
}

absl::Status DurableInsert::Insert(const std::string& text) {
  sqlite3_bind_text(insert_.get(), 1, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
  const int code = sqlite3_step(insert_.get());
  sqlite3_reset(insert_.get());
  return code == SQLITE_DONE ? absl::OkStatus() : SqliteError(database_.get(), "inserting a row");
}

}  // namespace postern::bench
