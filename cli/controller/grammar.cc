// The verbs that a controller is asked by: policy, vm, role, token.

#include "cli/grammar.h"

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text.h"

namespace postern {
namespace {

constexpr char kPolicyHelp[] = "The policy's id, or its name where no other has that";
constexpr char kVmHelp[] = "The VM's id, or its name where no other has that";
constexpr char kScopeHelp[] =
    "/subscriptions/S, .../resourceGroups/G, or the id of a VM; / is everything";
constexpr char kPrincipalHelp[] = "Such as user:ana, or ana@login.example.org of an issuer";

// A verb with one value.
template <typename Made>
Verb AddOne(CLI::App& parent, const std::string& name, const std::string& description,
            const std::string& examples, const char* value, const char* type, const char* help,
            std::string Made::*member) {
  auto made = std::make_shared<Made>();
  CLI::App* verb = AddVerb(parent, name, description, examples);
  AddValue(*verb, value, (*made).*member, type, help)->required();
  return {verb, [made](const Environment&) -> absl::StatusOr<Command> {
            return ControllerCommand(*made);
          }};
}

template <typename Made>
Verb AddNone(CLI::App& parent, const std::string& name, const std::string& description,
             const std::string& examples) {
  CLI::App* verb = AddVerb(parent, name, description, examples);
  return {verb,
          [](const Environment&) -> absl::StatusOr<Command> { return ControllerCommand(Made{}); }};
}

Verb AddVmRemove(CLI::App& vm) {
  auto command = std::make_shared<VmRemoveCommand>();
  CLI::App* verb = AddVerb(vm, "remove", "Forget a VM: its agent is turned away",
                           "  posternctl vm remove web-1");
  AddValue(*verb, "VM", command->vm, "ID", kVmHelp)->required();
  verb->add_flag("--force", command->force,
                 "Although its agent has not closed yet what was opened on it");
  return {verb, [command](const Environment&) -> absl::StatusOr<Command> {
            return ControllerCommand(*command);
          }};
}

Verb AddJoinToken(CLI::App& vm) {
  struct Options {
    std::string scope;
    std::string location = "global";
    std::string lifetime = "1h";
    std::string uses = "1";
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(
      vm, "join-token", "Make a token that lets a VM join, and print it this once",
      "  posternctl vm join-token --scope /subscriptions/S/resourceGroups/G/providers/\\\n"
      "      Microsoft.Compute/virtualMachines/web-1 >join.token\n"
      "  posternctl vm join-token --scope /subscriptions/S/resourceGroups/G --uses 50 --for 7d");
  AddValue(*verb, "--scope", options->scope, "SCOPE", "The VM, or the resource group of many")
      ->required();
  AddValue(*verb, "--location", options->location, "NAME", "Where the VMs are. Default: global");
  AddValue(*verb, "--for", options->lifetime, "DURATION", "How long it is good. Default: 1h");
  AddValue(*verb, "--uses", options->uses, "N", "How many VMs it lets in. Default: 1");
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            JoinTokenCreateCommand command{
                .scope = options->scope, .location = options->location, .lifetime = {}, .uses = 1};
            POSTERN_ASSIGN_OR_RETURN(command.lifetime, ReadLength("--for", options->lifetime));
            if (!absl::SimpleAtoi(options->uses, &command.uses) || command.uses < 1) {
              return absl::InvalidArgumentError("--uses: write a number from 1");
            }
            return ControllerCommand(command);
          }};
}

Verb AddRoleChange(CLI::App& role, bool assign) {
  auto command = std::make_shared<RoleChangeCommand>();
  command->assign = assign;
  CLI::App* verb = AddVerb(role, assign ? "assign" : "remove",
                           assign ? "Give somebody a role in a scope" : "Take a role back",
                           absl::StrCat("  posternctl role ", assign ? "assign" : "remove",
                                        " --principal user:ana --role \"JIT Requester\" \\\n"
                                        "      --scope /subscriptions/S/resourceGroups/G"));
  AddValue(*verb, "--principal", command->principal, "NAME", kPrincipalHelp)->required();
  AddValue(*verb, "--role", command->role, "ROLE",
           "What they may do: posternctl role --help lists them")
      ->required();
  AddValue(*verb, "--scope", command->scope, "SCOPE", kScopeHelp)->required();
  return {verb, [command](const Environment&) -> absl::StatusOr<Command> {
            return ControllerCommand(*command);
          }};
}

Verb AddTokenCreate(CLI::App& token) {
  struct Options {
    std::string principal;
    std::string lifetime = "30d";
  };
  auto options = std::make_shared<Options>();
  CLI::App* verb = AddVerb(token, "create", "Make a token for somebody, and print it this once",
                           "  posternctl token create --principal user:ana --for 30d >ana.token");
  AddValue(*verb, "--principal", options->principal, "NAME", "Such as user:ana")->required();
  AddValue(*verb, "--for", options->lifetime, "DURATION", "How long it is good. Default: 30d");
  return {verb, [options](const Environment&) -> absl::StatusOr<Command> {
            TokenCreateCommand command{.principal = options->principal, .lifetime = {}};
            POSTERN_ASSIGN_OR_RETURN(command.lifetime, ReadLength("--for", options->lifetime));
            return ControllerCommand(command);
          }};
}

}  // namespace

void AddPolicyVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  CLI::App* policy = AddVerb(app, "policy", "A controller's policies: who may ask for what",
                             "  posternctl policy list\n"
                             "  posternctl policy show default -o yaml >policy.yaml\n"
                             "  posternctl policy apply -f policy.yaml");
  verbs.push_back(AddNone<PolicyListCommand>(*policy, "list", "The policies that you may see",
                                             "  posternctl policy list"));
  verbs.push_back(AddOne(*policy, "show", "One policy", "  posternctl policy show default",
                         "POLICY", "ID", kPolicyHelp, &PolicyShowCommand::policy));
  verbs.push_back(AddOne(
      *policy, "apply", "Make a policy, or replace the one with its id",
      "  posternctl policy apply -f policy.yaml\n"
      "\n"
      "The file is the policy in Azure's form, as YAML or JSON:\n"
      "  id: /subscriptions/S/resourceGroups/G/providers/Microsoft.Security/locations/here/\\\n"
      "      jitNetworkAccessPolicies/default          (in one line)\n"
      "  properties:\n"
      "    virtualMachines:\n"
      "      - id: /subscriptions/S/resourceGroups/G/providers/Microsoft.Compute/\\\n"
      "            virtualMachines/web-1\n"
      "        ports:\n"
      "          - {number: 22, protocol: TCP, allowedSourceAddressPrefix: \"*\",\n"
      "             maxRequestAccessDuration: PT3H}\n"
      "    postern: {onExpiry: cut, requireJustification: true,\n"
      "              approvals: {count: 1, role: Security Admin}}",
      "-f,--file", "FILE", "The policy; - is stdin", &PolicyApplyCommand::file));
  verbs.push_back(AddOne(*policy, "enable",
                         "Put a VM under the policy \"default\" with the recommended ports: 22, "
                         "3389, 5985 and 5986, from anywhere, for three hours at most",
                         "  posternctl policy enable web-1", "VM", "ID", kVmHelp,
                         &PolicyEnableCommand::vm));
  verbs.push_back(AddOne(*policy, "delete", "Remove a policy; what it has opened is closed",
                         "  posternctl policy delete default", "POLICY", "ID", kPolicyHelp,
                         &PolicyDeleteCommand::policy));
}

void AddVmVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  CLI::App* vm = AddVerb(app, "vm", "The VMs of a controller, and the tokens by which they join",
                         "  posternctl vm list\n"
                         "  posternctl vm show web-1");
  verbs.push_back(
      AddNone<VmListCommand>(*vm, "list", "The VMs that you may see", "  posternctl vm list"));
  verbs.push_back(AddOne(*vm, "show", "One VM", "  posternctl vm show web-1", "VM", "ID", kVmHelp,
                         &VmShowCommand::vm));
  verbs.push_back(AddVmRemove(*vm));
  verbs.push_back(AddJoinToken(*vm));
  verbs.push_back(AddNone<JoinTokenListCommand>(*vm, "join-tokens", "The tokens by which VMs join",
                                                "  posternctl vm join-tokens"));
  verbs.push_back(AddOne(*vm, "revoke-join-token", "Take a join token back",
                         "  posternctl vm revoke-join-token 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11",
                         "ID", "UUID", "The token's id, not its secret",
                         &JoinTokenRevokeCommand::id));
}

void AddPrincipalVerbs(CLI::App& app, std::vector<Verb>& verbs) {
  CLI::App* role =
      AddVerb(app, "role", "Who may do what, at a controller",
              "  posternctl role list\n"
              "  posternctl role assign --principal user:ana --role \"JIT Requester\" \\\n"
              "      --scope /subscriptions/S/resourceGroups/G\n"
              "\n"
              "Security Reader and Reader see VMs, policies and requests, Security Reader\n"
              "the audit as well. JIT Requester sees them and asks for access. Security\n"
              "Admin writes policies, lets VMs join, ends what others asked for and reads\n"
              "the audit, but asks for nothing. Owner does all of this, and gives roles and\n"
              "tokens. A request that needs approval is approved by those alone who have the\n"
              "very role that its policy names, and never by whoever asked.");
  verbs.push_back(AddNone<RoleListCommand>(*role, "list", "The roles that you may see",
                                           "  posternctl role list"));
  verbs.push_back(AddRoleChange(*role, true));
  verbs.push_back(AddRoleChange(*role, false));
  CLI::App* token = AddVerb(app, "token", "Tokens of a controller, for people and scripts",
                            "  posternctl token create --principal user:ana >ana.token");
  verbs.push_back(AddTokenCreate(*token));
  verbs.push_back(AddNone<TokenListCommand>(*token, "list", "The tokens, without their secrets",
                                            "  posternctl token list"));
  verbs.push_back(AddOne(*token, "revoke", "Take a token back",
                         "  posternctl token revoke 6f0c1d52-3c44-4b0e-9a53-0d2f1b7a8c11", "ID",
                         "UUID", "The token's id, not its secret", &TokenRevokeCommand::id));
}

}  // namespace postern
