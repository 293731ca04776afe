// A controller's answers in words, for people. All that comes from outside is made
// printable.

#ifndef POSTERN_CLI_CONTROLLER_DESCRIBE_H_
#define POSTERN_CLI_CONTROLLER_DESCRIBE_H_

#include <string>

#include "cli/controller/client.h"
#include "cli/describe.h"

namespace postern {

// Tables, of lists.
std::string DescribePolicies(const Json& policies, const Reader& reader);
std::string DescribeRequests(const Json& requests, const Reader& reader);
std::string DescribeVms(const Json& vms, const Reader& reader);
std::string DescribeJoinTokens(const Json& tokens, const Reader& reader);
std::string DescribeTokens(const Json& tokens, const Reader& reader);
std::string DescribeRoles(const Json& roles, const Reader& reader);
std::string DescribeFleetEvents(const Json& events, const Reader& reader);

// Blocks of lines.
std::string DescribePolicy(const Json& policy, const Reader& reader);
std::string DescribeRequest(const Json& request, const Reader& reader);
std::string DescribeVm(const Json& vm, const Reader& reader);

// The part of an id behind its last "/".
std::string LastPart(const std::string& id);

}  // namespace postern

#endif  // POSTERN_CLI_CONTROLLER_DESCRIBE_H_
