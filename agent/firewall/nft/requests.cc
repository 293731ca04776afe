#include "agent/firewall/nft/requests.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

namespace postern::nft {

Request::Request(uint16_t type, uint16_t flags) {
  nftnl_nlmsg_build_hdr(bytes_.data(), type, NFPROTO_INET, flags, 0);
}

void Request::PutText(uint16_t type, const std::string& text) {
  mnl_attr_put_strz_check(message(), bytes_.size(), type, text.c_str());
}

Request Request::GetTable() {
  Request request(NFT_MSG_GETTABLE, 0);
  request.PutText(NFTA_TABLE_NAME, kTableName);
  return request;
}

Request Request::ListSets() {
  Request request(NFT_MSG_GETSET, NLM_F_DUMP);
  request.PutText(NFTA_SET_TABLE, kTableName);
  return request;
}

Request Request::ListElements(const std::string& set) {
  Request request(NFT_MSG_GETSETELEM, NLM_F_DUMP);
  request.PutText(NFTA_SET_ELEM_LIST_TABLE, kTableName);
  request.PutText(NFTA_SET_ELEM_LIST_SET, set);
  return request;
}

Request Request::GetElement(const std::string& set, const Bytes& key, const char* table) {
  Request request(NFT_MSG_GETSETELEM, 0);
  request.PutText(NFTA_SET_ELEM_LIST_TABLE, table);
  request.PutText(NFTA_SET_ELEM_LIST_SET, set);
  nlmsghdr* message = request.message();
  const size_t size = request.bytes_.size();
  nlattr* list = mnl_attr_nest_start_check(message, size, NFTA_SET_ELEM_LIST_ELEMENTS);
  nlattr* element = mnl_attr_nest_start_check(message, size, NFTA_LIST_ELEM);
  nlattr* nested_key = mnl_attr_nest_start_check(message, size, NFTA_SET_ELEM_KEY);
  if (nested_key == nullptr) return request;
  mnl_attr_put_check(message, size, NFTA_DATA_VALUE, key.size(), key.data());
  mnl_attr_nest_end(message, nested_key);
  mnl_attr_nest_end(message, element);
  mnl_attr_nest_end(message, list);
  return request;
}

Request Request::GetCounter(const std::string& name) {
  Request request(NFT_MSG_GETOBJ, 0);
  request.PutText(NFTA_OBJ_TABLE, kTableName);
  request.PutText(NFTA_OBJ_NAME, name);
  mnl_attr_put_u32_check(request.message(), request.bytes_.size(), NFTA_OBJ_TYPE,
                         htonl(NFT_OBJECT_COUNTER));
  return request;
}

}  // namespace postern::nft
