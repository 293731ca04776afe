# shellcheck shell=bash
# Read by scripts/quickstart:
# shellcheck disable=SC2034
#
# The quickstart with postern-controller: it stands in the controller's namespace,
# and the VM's agent attaches to it. Sourced after stage.sh.

readonly REST_PORT=8443
readonly FLEET_PORT=7444
readonly GROUP_ID=/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/demo
readonly VM_ID=$GROUP_ID/providers/Microsoft.Compute/virtualMachines/vm
readonly POLICY=$GROUP_ID/providers/Microsoft.Security/locations/here/jitNetworkAccessPolicies/default
readonly API_VERSION='api-version=2020-01-01'
# The request made last.
REQUEST=''

write_fleet_configuration() {
  mkdir "$STAGE/fleet"
  cat >"$STAGE/fleet/controller.yaml" <<YAML
state_dir: state
names: ["$CONTROLLER"]
rest: {address: "$CONTROLLER:$REST_PORT"}
agents: {address: "$CONTROLLER:$FLEET_PORT"}
YAML
}

start_controller() {
  start controller "$STAGE/controller.log" "$BIN/controller/postern-controller" \
    --config "$STAGE/fleet/controller.yaml"
}

is_healthy() {
  [[ -s $STAGE/fleet/state/owner.token && $(rest GET /postern/v1/health) == *'"ok"'* ]]
}

# rest METHOD PATH [BODY]: as the owner, by curl; the answer's body. The token comes
# by a file: arguments can be read by everybody.
rest() {
  local body=()
  [[ ! ${3:-} ]] || body=(-H 'Content-Type: application/json' --data-binary "$3")
  printf 'header = "Authorization: Bearer %s"\n' "$(<"$STAGE/fleet/state/owner.token")" |
    at controller curl --silent --show-error --max-time 10 --config - \
      --cacert "$STAGE/fleet/state/ca.pem" -X "$1" "${body[@]}" \
      "https://$CONTROLLER:$REST_PORT$2" 2>>"$STAGE/curl.log"
}

await_controller() {
  if within 10 is_healthy; then printf 'answers over HTTPS'; else printf 'does not answer'; fi
}

# text_of NAME: the first text of that name in a JSON answer.
text_of() {
  grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4 || true
}

write_attached_agent() {
  rest POST /postern/v1/join-tokens \
    "{\"scope\":\"$VM_ID\",\"location\":\"here\",\"lifetime\":\"10m\"}" | text_of secret \
    >"$STAGE/vm/join.token"
  cp "$STAGE/fleet/state/ca.pem" "$STAGE/vm/controller-ca.pem"
  cat >"$STAGE/vm/agent.yaml" <<YAML
state_dir: state
socket: agent.sock
controller:
  address: "$CONTROLLER:$FLEET_PORT"
  ca: controller-ca.pem
  join_token_file: join.token
YAML
}

is_attached() {
  [[ $(rest GET /postern/v1/vms) == *'"attached":true'* ]]
}

vm_group() {
  within 10 is_attached || true
  rest GET /postern/v1/vms | text_of group
}

put_policy() {
  rest PUT "$POLICY?$API_VERSION" "{\"kind\":\"Basic\",\"properties\":{\"virtualMachines\":[{
    \"id\":\"$VM_ID\",\"ports\":[{\"number\":22,\"protocol\":\"TCP\",
    \"allowedSourceAddressPrefix\":\"*\",\"maxRequestAccessDuration\":\"PT1H\"}]}]}}" |
    text_of provisioningState
}

# initiate DURATION: port 22 for whoever calls. A refusal leaves REQUEST empty.
initiate() {
  REQUEST=$(rest POST "$POLICY/initiate?$API_VERSION" "{\"virtualMachines\":[{\"id\":\"$VM_ID\",
    \"ports\":[{\"number\":22,\"duration\":\"$1\"}]}],\"justification\":\"quickstart\"}" |
    grep -o '"postern":{"id":"[^"]*"' | cut -d '"' -f 6) || true
}

request_status() {
  rest GET "/postern/v1/requests/$REQUEST" | text_of status
}

is_initiated() {
  [[ $(request_status) == Initiated ]]
}

await_initiated() {
  within 10 is_initiated || true
  request_status
}

is_closed() {
  [[ $(knock controller) == 'all closed' ]]
}

await_closed() {
  within 10 is_closed || true
  knock controller
}

audit_line() {
  rest GET '/postern/v1/audit?format=csv' | grep -c 'initiate/action,Succeeded,user:owner' || true
}

# fleet ARGUMENT...: posternctl, as the owner, from the controller's namespace.
fleet() {
  at controller env POSTERN_CONTROLLER="https://$CONTROLLER:$REST_PORT" \
    POSTERN_CA="$STAGE/fleet/state/ca.pem" POSTERN_TOKEN_FILE="$STAGE/fleet/state/owner.token" \
    "$BIN/cli/posternctl" "$@" 2>>"$STAGE/posternctl.log"
}

# request_by_tool: port 22 for 10 min, once the VM has opened it.
request_by_tool() {
  local answer
  answer=$(fleet request create --vm vm --port 22 --for 10m --wait -o json) || true
  REQUEST=$(text_of id <<<"${answer//\": /\":}")
}

revoke_by_tool() {
  fleet request revoke "$REQUEST" --reason 'not needed' >/dev/null || true
}
