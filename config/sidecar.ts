// The settings of a sidecar. Loaded by sidecars: never import anything large here.
import { isIP } from 'node:net';
import { durationPattern } from '#base/duration';
import { parseHostPort } from '#base/host-port';
import { type Schema, s } from '#base/schema';
import { type Limits, limitBounds } from '#proxy/limits';
import { bareAddress, clash, hostPort, isAnyPort, isLocal, protocolAddress } from './addresses.ts';
import { loggingSettings } from './logging.ts';
import { optionalSetting, readSettings, type SettingsInput, setting, type ValuesOf } from './settings.ts';

export const limitsSchema = s.object(
  Object.fromEntries(
    Object.entries(limitBounds).map(([name, { default: usual, least = 1, description }]) => [
      name,
      s.optional(s.integer({ minimum: least, maximum: Number.MAX_SAFE_INTEGER, description, default: usual })),
    ]),
  ),
  { description: 'a bound of the data plane other than its default (see below); may be repeated' },
) as Schema<Partial<Limits>>;

export const sidecarSettings = {
  token: optionalSetting(
    s.string({
      maxLength: 65_536,
      minLength: 1,
      description: 'the join token; needed once, until the home holds an identity',
    }),
    { value: 'TOKEN', secret: true },
  ),
  tokenFile: optionalSetting(s.string({ maxLength: 4_096, description: 'a file that holds the join token' }), {
    value: 'FILE',
  }),
  app: setting(
    protocolAddress(['http', 'h2c', 'tcp'], {
      default: '127.0.0.1:8080',
      description:
        'the application that inbound requests go to: HTTP/1.1, or h2c:// before it for HTTP/2 and gRPC, tcp:// for anything else',
    }),
    { value: '[PROTOCOL://]HOST:PORT' },
  ),
  inbound: setting(hostPort({ default: '0.0.0.0:15008', description: 'where peers connect, by mTLS' }), {
    value: 'HOST:PORT',
  }),
  advertise: optionalSetting(
    hostPort({
      description: 'the address told to peers, when it is not the inbound one; a name must be a full one in DNS',
    }),
    {
      value: 'HOST:PORT',
    },
  ),
  outbound: setting(hostPort({ default: '127.0.0.1:15001', description: 'where the application sends its calls' }), {
    value: 'HOST:PORT',
  }),
  upstreams: setting(
    s.record(protocolAddress(['http', 'tcp']), {
      maxProperties: 256,
      description: 'a port of its own for a called service, tcp:// before it for one that is not HTTP; may be repeated',
    }),
    { value: 'NAME=[tcp://]HOST:PORT', flag: 'upstream' },
  ),
  admin: setting(hostPort({ default: '127.0.0.1:15000', description: 'the read-only admin page' }), {
    value: 'HOST:PORT',
  }),
  metrics: setting(hostPort({ default: '127.0.0.1:15020', description: 'metrics and health' }), { value: 'HOST:PORT' }),
  labels: setting(
    s.record(s.string({ maxLength: 256 }), {
      maxProperties: 64,
      description: 'a label of this instance; may be repeated',
    }),
    { value: 'NAME=VALUE', flag: 'label' },
  ),
  zone: optionalSetting(
    s.string({
      minLength: 1,
      maxLength: 128,
      description: 'where this instance runs, such as eu-1a: callers in the same zone choose it first',
    }),
    { value: 'NAME' },
  ),
  weight: optionalSetting(
    s.integer({
      minimum: 0,
      maximum: 1_000,
      description: 'the share of calls that this instance gets beside the others of its service; 1 for each by default',
    }),
    { value: 'N' },
  ),
  dns: optionalSetting(
    s.string({
      pattern: '^(\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[0-9]{1,5}(,(\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[0-9]{1,5})*$',
      title: 'addresses of name servers as ADDRESS:PORT, with commas between',
      maxLength: 300,
      description: 'name servers for clusters and endpoints that are known by name; those of the system otherwise',
    }),
    { value: 'ADDRESS:PORT' },
  ),
  drain: setting(
    s.string({
      pattern: durationPattern,
      title: 'a duration such as 30s',
      default: '20s',
      description: 'how long what runs may take to end once the sidecar is told to stop',
    }),
    { value: 'DURATION' },
  ),
  workers: setting(
    s.integer({
      minimum: 1,
      maximum: 256,
      default: 1,
      description:
        'threads that share the ports, for a sidecar that keeps more than one processor busy; Linux only above 1',
    }),
    { value: 'N' },
  ),
  limits: setting(limitsSchema, { value: 'NAME=N', flag: 'limit' }),
  auditMode: setting(
    s.enum(['count', 'block'], {
      default: 'count',
      description: 'when decisions cannot be written: count those that are lost, or block (refuse) requests',
    }),
    { value: 'MODE' },
  ),
  auditMaskable: setting(
    s.string({
      pattern: '^(endpoint|host|path|peer|remote|traceId)(,(endpoint|host|path|peer|remote|traceId))*$',
      title: 'a list of endpoint, host, path, peer, remote, traceId with commas between',
      maxLength: 200,
      default: 'host,path,remote',
      description: 'fields of decisions that can be erased later without breaking a proof',
    }),
    { value: 'FIELDS' },
  ),
  auditMaxMegabytes: setting(
    s.integer({ minimum: 1, maximum: 1_048_576, default: 256, description: 'disk for decisions, in MiB' }),
    { value: 'N' },
  ),
  auditMaxAge: setting(
    s.string({
      pattern: durationPattern,
      title: 'a duration such as 30d',
      default: '30d',
      description: 'decisions that the control plane has are removed here after so long',
    }),
    { value: 'DURATION' },
  ),
  unsafeAdminNonLoopback: setting(
    s.boolean({ default: false, description: 'let other machines read the admin page, which has no authentication' }),
    { value: '' },
  ),
  unsafeOutboundNonLoopback: setting(
    s.boolean({
      default: false,
      description: "let other machines call with this service's identity, without any authentication",
    }),
    { value: '' },
  ),
  ...loggingSettings,
} as const;

export type SidecarSettings = ValuesOf<typeof sidecarSettings>;

/** Throws `CONFIG_INVALID` with every problem. */
export function sidecarConfig(input: SettingsInput): SidecarSettings {
  const contradictions = [
    keepsAdminHome,
    keepsOutboundHome,
    listensOnceEach,
    advertisesARealPort,
    hasOneToken,
    asksRealNameServers,
  ];
  return readSettings({ process: 'the sidecar', settings: sidecarSettings, contradictions, ...input });
}

function keepsAdminHome({ admin, unsafeAdminNonLoopback }: SidecarSettings): string | undefined {
  return isLocal(admin) || unsafeAdminNonLoopback
    ? undefined
    : `--admin ${admin} can be reached by other machines and has no authentication: use 127.0.0.1, or add --unsafe-admin-non-loopback`;
}

function asksRealNameServers({ dns }: SidecarSettings): string | undefined {
  const wrong = dns?.split(',').find((one) => !isServer(one));
  return wrong === undefined ? undefined : `--dns ${wrong} is not the address and port of a name server`;
}

function isServer(text: string): boolean {
  const parts = parseHostPort(text);
  return parts !== undefined && isIP(parts.host) !== 0 && parts.port > 0;
}

function keepsOutboundHome({
  outbound,
  upstreams = {},
  unsafeOutboundNonLoopback,
}: SidecarSettings): string | undefined {
  const open = [outbound, ...Object.values(upstreams).map(bareAddress)].find((address) => !isLocal(address));
  return open === undefined || unsafeOutboundNonLoopback
    ? undefined
    : `whoever reaches ${open} could call with this service's identity: use 127.0.0.1, or add --unsafe-outbound-non-loopback`;
}

function listensOnceEach({ inbound, outbound, admin, metrics, upstreams = {} }: SidecarSettings): string | undefined {
  const two = clash([
    ['--inbound', inbound],
    ['--outbound', outbound],
    ['--admin', admin],
    ['--metrics', metrics],
    ...Object.entries(upstreams).map(([name, address]) => [`--upstream ${name}`, bareAddress(address)] as const),
  ]);
  return two && `${two[0]} and ${two[1]} want the same port`;
}

function advertisesARealPort({ advertise }: SidecarSettings): string | undefined {
  return advertise !== undefined && isAnyPort(advertise) ? '--advertise must name a port, not 0' : undefined;
}

function hasOneToken({ token, tokenFile }: SidecarSettings): string | undefined {
  return token !== undefined && tokenFile !== undefined
    ? '--token and --token-file say the same thing twice: give one of them'
    : undefined;
}
