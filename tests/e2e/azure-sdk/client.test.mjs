// Azure's own client against postern-controller: whoever asks for access by it
// today needs only another endpoint. run.py starts the controller and an agent,
// and says by the environment where they are.

import assert from 'node:assert/strict';
import {randomUUID} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {setTimeout as sleep} from 'node:timers/promises';

import {SecurityCenter} from '@azure/arm-security';

const ENDPOINT = process.env.POSTERN_ENDPOINT;
const VM = process.env.POSTERN_VM;
const [, , SUBSCRIPTION, , GROUP] = VM.split('/');
const REGION = process.env.POSTERN_LOCATION;
const SOURCE = '203.0.113.7';
const PREFIX = '198.51.100.0/24';
const TYPE = 'Microsoft.Security/locations/jitNetworkAccessPolicies';

function readToken(file) {
  return readFileSync(file, 'utf8').trim();
}

function policiesAs(token, subscription = SUBSCRIPTION) {
  const credential = {
    getToken: async () => ({token, expiresOnTimestamp: Date.now() + 3_600_000}),
  };
  return new SecurityCenter(credential, subscription, {endpoint: ENDPOINT})
      .jitNetworkAccessPolicies;
}

const policies = policiesAs(readToken(process.env.POSTERN_OWNER_TOKEN_FILE));

function policyOf(...ports) {
  return {kind: 'Basic', virtualMachines: [{id: VM, ports}]};
}

const SSH = {
  number: 22,
  protocol: 'TCP',
  allowedSourceAddressPrefix: '*',
  maxRequestAccessDuration: 'PT3H',
};
const WINRM = {
  number: 5986,
  protocol: '*',
  allowedSourceAddressPrefixes: [PREFIX, `${SOURCE}/32`],
  maxRequestAccessDuration: 'PT5M',
};

function inMinutes(minutes) {
  return new Date(Date.now() + minutes * 60_000);
}

function askFor(...ports) {
  return {virtualMachines: [{id: VM, ports}], justification: 'deploy 142'};
}

// Every page of a listing.
async function all(iterator) {
  const items = [];
  for await (const item of iterator) items.push(item);
  return items;
}

function names(items) {
  return items.map((item) => item.name).sort();
}

// The error of a call that has to fail, as callers of the SDK see it.
async function refusal(promise, statusCode, code) {
  const error = await promise.then(() => assert.fail('it was not refused'), (thrown) => thrown);
  assert.equal(error.name, 'RestError', error.stack);
  assert.equal(error.statusCode, statusCode, error.message);
  assert.equal(error.code, code, error.message);
  assert.equal(error.details.code, code);
  assert.equal(error.details.message, JSON.parse(error.response.bodyAsText).error.message);
  assert.ok(error.details.message.length > 0);
  assert.match(error.response.headers.get('x-ms-request-id'), /^[0-9a-f-]{36}$/);
  return error;
}

// The port of the newest request, once the VM's agent has told what became of it.
async function settled(name) {
  for (let tries = 0; tries < 100; ++tries) {
    const {requests: [newest]} = await policies.get(GROUP, REGION, name);
    const [port] = newest.virtualMachines[0].ports;
    if (port.status !== 'Initiating') return port;
    await sleep(100);
  }
  return assert.fail('the agent has not answered');
}

test('an empty subscription lists nothing', async () => {
  assert.deepEqual(await all(policies.list()), []);
});

test('createOrUpdate makes a policy, and answers it whole', async () => {
  const made = await policies.createOrUpdate(GROUP, REGION, 'default', policyOf(SSH, WINRM));
  assert.equal(made.name, 'default');
  assert.equal(made.type, TYPE);
  assert.equal(made.kind, 'Basic');
  assert.equal(made.location, REGION);
  assert.equal(made.provisioningState, 'Succeeded');
  assert.equal(
      made.id,
      `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers/Microsoft.Security/` +
          `locations/${REGION}/jitNetworkAccessPolicies/default`);
  assert.deepEqual(made.requests, []);
  assert.deepEqual(made.virtualMachines, [{id: VM, ports: [SSH, WINRM]}]);
});

test('get answers the same, whatever the case of the names', async () => {
  const got = await policies.get(GROUP, REGION, 'default');
  assert.deepEqual(got.virtualMachines, [{id: VM, ports: [SSH, WINRM]}]);
  const upper = await policies.get(GROUP.toUpperCase(), REGION.toUpperCase(), 'DEFAULT');
  assert.equal(upper.id, got.id);
});

test('createOrUpdate replaces, and takes no history', async () => {
  const forged = {
    startTimeUtc: inMinutes(0),
    requestor: 'user:somebody',
    virtualMachines: [{
      id: VM,
      ports: [{
        number: 22,
        allowedSourceAddressPrefix: SOURCE,
        endTimeUtc: inMinutes(5),
        status: 'Initiated',
        statusReason: 'UserRequested',
      }],
    }],
  };
  const changed = await policies.createOrUpdate(
      GROUP, REGION, 'default', {...policyOf(SSH), requests: [forged]});
  assert.deepEqual(changed.requests, []);
  assert.deepEqual(changed.virtualMachines, [{id: VM, ports: [SSH]}]);
});

test('initiate opens the port until the end that it names', async () => {
  const endTimeUtc = inMinutes(10);
  const request = await policies.initiate(
      GROUP, REGION, 'default', askFor({number: 22, allowedSourceAddressPrefix: SOURCE, endTimeUtc}));
  assert.equal(request.requestor, 'user:owner');
  assert.equal(request.justification, 'deploy 142');
  assert.ok(Math.abs(request.startTimeUtc - Date.now()) < 60_000, request.startTimeUtc);
  const [vm] = request.virtualMachines;
  assert.equal(vm.id, VM);
  assert.equal(vm.ports[0].number, 22);
  assert.ok(Math.abs(vm.ports[0].endTimeUtc - endTimeUtc) <= 1, vm.ports[0].endTimeUtc);

  const port = await settled('default');
  assert.equal(port.status, 'Initiated');
  assert.equal(port.statusReason, 'UserRequested');
  assert.match(port.allowedSourceAddressPrefix, /^203\.0\.113\.7(\/32)?$/);
  assert.ok(Math.abs(port.endTimeUtc - endTimeUtc) <= 1, port.endTimeUtc);
});

test('initiate without a source opens to the caller', async () => {
  const request = await policies.initiate(
      GROUP, REGION, 'default', askFor({number: 22, endTimeUtc: inMinutes(10)}));
  assert.match(
      request.virtualMachines[0].ports[0].allowedSourceAddressPrefix, /^127\.0\.0\.1(\/32)?$/);
  assert.equal((await settled('default')).status, 'Initiated');
  const {requests} = await policies.get(GROUP, REGION, 'default');
  assert.equal(requests.length, 2);
  // The one before, of the same person for the same port, has had its day.
  const [older] = requests[1].virtualMachines[0].ports;
  assert.equal(older.status, 'Revoked');
  assert.equal(older.statusReason, 'NewerRequestInitiated');
});

test('a repeat of initiate, as the SDK makes it, is the same request', async () => {
  const options = {
    requestOptions: {customHeaders: {'x-ms-client-request-id': randomUUID()}},
  };
  const asked = askFor({number: 22, endTimeUtc: inMinutes(10)});
  const first = await policies.initiate(GROUP, REGION, 'default', asked, options);
  const again = await policies.initiate(GROUP, REGION, 'default', asked, options);
  assert.deepEqual(again.startTimeUtc, first.startTimeUtc);
  assert.equal((await policies.get(GROUP, REGION, 'default')).requests.length, 3);
});

test('initiate of what the policy does not allow is InvalidInitiateInput', async () => {
  const ask = (port) => policies.initiate(GROUP, REGION, 'default', askFor(port));
  for (const port of [
    {number: 23, endTimeUtc: inMinutes(10)},
    {number: 22, endTimeUtc: inMinutes(181)},
    {number: 22, endTimeUtc: inMinutes(-1)},
  ]) {
    await refusal(ask(port), 400, 'InvalidInitiateInput');
  }
  await refusal(
      policies.initiate(GROUP, REGION, 'default', {virtualMachines: []}), 400,
      'InvalidInitiateInput');
  assert.equal((await policies.get(GROUP, REGION, 'default')).requests.length, 3);
});

test('a policy that cannot be is refused, and the error says where', async () => {
  const error = await refusal(
      policies.createOrUpdate(GROUP, REGION, 'default', policyOf({...SSH, number: 65536})), 400,
      'InvalidRequestContent');
  assert.equal(error.details.target, 'properties.virtualMachines[0].ports[0].number');
  await refusal(
      policies.createOrUpdate(
          GROUP, REGION, 'default', policyOf({...SSH, maxRequestAccessDuration: 'P2D'})),
      400, 'InvalidPolicyInput');
});

test('what is not there is not found', async () => {
  await refusal(policies.get(GROUP, REGION, 'none'), 404, 'PolicyNotFound');
  await refusal(
      policies.initiate(
          GROUP, REGION, 'none', askFor({number: 22, endTimeUtc: inMinutes(10)})),
      404, 'PolicyNotFound');
  await refusal(
      policies.createOrUpdate(
          GROUP, REGION, 'other', {kind: 'Basic', virtualMachines: [{id: `${VM}-2`, ports: [SSH]}]}),
      404, 'ResourceNotFound');
});

test('a wrong token and a role that does not suffice are told apart', async () => {
  await refusal(all(policiesAs('wrong').list()), 401, 'AuthenticationFailed');
  const reader = policiesAs(readToken(process.env.POSTERN_READER_TOKEN_FILE));
  assert.equal((await reader.get(GROUP, REGION, 'default')).name, 'default');
  await refusal(
      reader.initiate(
          GROUP, REGION, 'default', askFor({number: 22, endTimeUtc: inMinutes(10)})),
      403, 'AuthorizationFailed');
  await refusal(
      reader.createOrUpdate(GROUP, REGION, 'default', policyOf(SSH)), 403, 'AuthorizationFailed');
  await refusal(reader.delete(GROUP, REGION, 'default'), 403, 'AuthorizationFailed');
});

test('the four listings, page after page, at the rate that the controller allows', async () => {
  // More than a page holds, and more calls than it takes at once: the SDK waits
  // as Retry-After says.
  const wanted = ['default'];
  for (let i = 0; i < 120; ++i) wanted.push(`p${i}`);
  wanted.push('odd_(1).name-');
  for (const name of wanted.slice(1)) {
    const region = name === 'p7' ? 'elsewhere' : REGION;
    await policies.createOrUpdate(GROUP, region, name, policyOf(SSH));
  }
  wanted.sort();
  const here = wanted.filter((name) => name !== 'p7');
  assert.deepEqual(names(await all(policies.list())), wanted);
  assert.deepEqual(names(await all(policies.listByRegion(REGION))), here);
  assert.deepEqual(names(await all(policies.listByResourceGroup(GROUP))), wanted);
  assert.deepEqual(names(await all(policies.listByResourceGroupAndRegion(GROUP, REGION))), here);
  assert.deepEqual(names(await all(policies.listByRegion('elsewhere'))), ['p7']);
  assert.deepEqual(await all(policies.listByResourceGroup('nobody')), []);
  assert.deepEqual(await all(policiesAs(
      readToken(process.env.POSTERN_OWNER_TOKEN_FILE), randomUUID()).list()), []);
  assert.equal((await policies.get(GROUP, REGION, 'odd_(1).name-')).name, 'odd_(1).name-');
});

test('delete ends what is open, and repeats in peace', async () => {
  await policies.initiate(
      GROUP, REGION, 'default',
      askFor({number: 22, allowedSourceAddressPrefix: SOURCE, endTimeUtc: inMinutes(10)}));
  assert.equal((await settled('default')).status, 'Initiated');
  await policies.delete(GROUP, REGION, 'default');
  await policies.delete(GROUP, REGION, 'default');
  await refusal(policies.get(GROUP, REGION, 'default'), 404, 'PolicyNotFound');
});
