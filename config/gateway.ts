// The configuration file of a gateway: read, checked and made ready as a whole, with the files that it names. Every problem at once, each with its place;
// nothing of a file with problems is returned.
import { dirname, resolve } from 'node:path';
import { parseDuration } from '#base/duration';
import { isPosternError, messageOf, type Problem } from '#base/error';
import { readPrivateFile } from '#base/files';
import { formatHostPort, type HostPort, parseHostPort } from '#base/host-port';
import { check } from '#base/schema';
import { readBlock } from '#policy';
import type { EdgePort, GatewayConfig, GatewayService, Group } from '#proxy';
import { validateTraffic } from '#routing/tools';
import type { ClusterResource } from '#wire';
import { bareAddress, clash, isAnyPort, isLocal } from './addresses.ts';
import { type CertificatePair, readCertificate } from './certificate-files.ts';
import { fail } from './errors.ts';
import {
  type GatewaySettings,
  gatewaySchema,
  type InstancesSettings,
  type ListenerSettings,
  type ServiceSettings,
} from './gateway-schema.ts';
import { sidecarSettings } from './sidecar.ts';
import { readText } from './text-file.ts';
import { type LocatedDocument, placeOf, readDocuments } from './yaml.ts';

export { watchFiles } from './file-watch.ts';
export { gatewaySchema };

export interface LoadedGateway {
  /** Absent when there are problems. */
  readonly config?: GatewayConfig;
  readonly problems: readonly Problem[];
  /** What does not keep it from working, but will. */
  readonly warnings: readonly Problem[];
  /** Every file that it was read from, absolute, whether it is there or not: when one changes it is to be read again. */
  readonly files: readonly string[];
}

/** `tokens` are those of the command line, by service. */
export function loadGateway(
  file: string,
  o: { readonly now: number; readonly tokens: ReadonlyMap<string, string> },
): LoadedGateway {
  const path = resolve(file);
  const read = readText(path);
  if ('problem' in read) return { problems: [{ ...read.problem, file }], warnings: [], files: [path] };
  return parseGateway(read.text, file, o);
}

/** Throws `CONFIG_INVALID` with every problem when there are any. */
export function assertUsable({ config, problems }: LoadedGateway): GatewayConfig {
  if (!config) throw fail('CONFIG_INVALID', { process: 'the gateway' }, { problems: [...problems] });
  return config;
}

/** The same for the text of such a file; `file` names it, and files that it names are beside it. */
export function parseGateway(
  text: string,
  file: string,
  o: { readonly now: number; readonly tokens: ReadonlyMap<string, string> },
): LoadedGateway {
  const path = resolve(file);
  const { documents, problems } = readDocuments(text, file);
  const reading = new Reading(file, documents[0], o);
  if (problems.length === 0 && documents.length !== 1)
    problems.push({ message: documents.length === 0 ? 'it is empty' : 'it holds more than one document', file });
  const files = (): string[] => [...new Set([path, ...reading.files])];
  if (problems.length > 0) return { problems, warnings: [], files: files() };
  const found = check(gatewaySchema, documents[0]!.value);
  for (const problem of found) reading.report(problem.pointer ?? '', problem.message, problem.hint);
  if (found.length > 0) return { problems: reading.problems, warnings: [], files: files() };
  const config = reading.config(documents[0]!.value as GatewaySettings);
  if (reading.problems.length > 0) return { problems: reading.problems, warnings: reading.warnings, files: files() };
  return { config, problems: [], warnings: reading.warnings, files: files() };
}

/** One reading of a file that has the right shape; collects what is wrong with its meaning. */
class Reading {
  readonly problems: Problem[] = [];
  readonly warnings: Problem[] = [];
  readonly files: string[] = [];
  readonly #file: string;
  readonly #document: LocatedDocument | undefined;
  readonly #now: number;
  readonly #tokens: ReadonlyMap<string, string>;

  constructor(
    file: string,
    document: LocatedDocument | undefined,
    o: { readonly now: number; readonly tokens: ReadonlyMap<string, string> },
  ) {
    this.#file = file;
    this.#document = document;
    this.#now = o.now;
    this.#tokens = o.tokens;
  }

  report(pointer: string, message: string, hint?: string, into: Problem[] = this.problems): void {
    const [line, column] = this.#document
      ? placeOf(this.#document, pointer, message.startsWith('unknown key'))
      : [1, 1];
    const key = pointer.split('/').at(-1)!;
    const isNamed = key !== '' && !/^\d+$/.test(key) && !message.startsWith('unknown key');
    into.push({
      message: isNamed ? `${key} ${message}` : message,
      file: this.#file,
      line,
      column,
      pointer,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  config(settings: GatewaySettings): GatewayConfig {
    const {
      admin = '127.0.0.1:15000',
      metrics = '127.0.0.1:15020',
      unsafeAdminNonLoopback = false,
      drain = '20s',
    } = settings;
    if (!isLocal(admin) && !unsafeAdminNonLoopback)
      this.report(
        '/admin',
        `${admin} can be reached by other machines and has no authentication`,
        'use 127.0.0.1, or set unsafeAdminNonLoopback: true',
      );
    this.#assertOnce(settings, { admin, metrics });
    return {
      admin: this.#address(admin, '/admin'),
      metrics: this.#address(metrics, '/metrics'),
      unsafeAdminNonLoopback,
      drainMs: parseDuration(drain) as number,
      nameServers: settings.dns?.split(','),
      services: settings.services.map((service, index) => this.#service(service, `/services/${index}`)),
    };
  }

  #service(o: ServiceSettings, at: string): GatewayService {
    const { inbound, advertise, outbound, app, egress = false, listeners = [], upstreams = {}, audit = {} } = o;
    if (!inbound && !outbound && listeners.length === 0 && Object.keys(upstreams).length === 0)
      this.report(at, `${o.service} listens nowhere`, 'give it inbound, outbound, upstreams or listeners');
    if (inbound && !app && !egress)
      this.report(`${at}/inbound`, 'leads nowhere', 'say what is behind it: app, or egress: true');
    if (app && egress) this.report(`${at}/egress`, 'stands beside app: give them services of their own');
    if (app && !inbound) this.report(`${at}/app`, 'is never reached: there is no inbound');
    if (egress && !inbound) this.report(`${at}/egress`, 'is never reached: there is no inbound');
    if (advertise !== undefined && !inbound)
      this.report(`${at}/advertise`, 'is the address of nothing: there is no inbound');
    if (advertise !== undefined && isAnyPort(advertise)) this.report(`${at}/advertise`, 'must name a port, not 0');
    const out = typeof outbound === 'string' ? { listen: outbound, from: undefined } : outbound;
    if (out?.from) this.#blocks(out.from, `${at}/outbound/from`);
    const open = [...(out ? [['outbound', out.listen]] : []), ...Object.entries(upstreams)].find(
      ([, address]) => !isLocal(bareAddress(address!)),
    );
    if (open && !out?.from)
      this.report(
        open[0] === 'outbound' ? `${at}/outbound` : `${at}/upstreams/${open[0]}`,
        `${open[1]} can be reached by other machines, which could call as ${o.service}`,
        'say who may: outbound: { listen: HOST:PORT, from: [10.0.0.0/24] }',
      );
    return {
      service: o.service,
      token: this.#token(o, at),
      ports: {
        behind: egress ? 'outside' : app === undefined ? undefined : this.#group(app, o.service, `${at}/app`),
        inbound: inbound === undefined ? undefined : this.#address(inbound, `${at}/inbound`),
        outbound: out && this.#address(out.listen, `${at}/outbound`),
        outboundFrom: out?.from,
        upstreams: Object.entries(upstreams).map(([name, value]) => {
          const { protocol, ...listen } = this.#protocolAddress(value, `${at}/upstreams/${name}`, ['http', 'tcp']);
          return { name, protocol, listen };
        }),
        edges: listeners.map((listener, index) => this.#edge(listener, `${at}/listeners/${index}`)),
      },
      advertise,
      labels: o.labels ?? {},
      zone: o.zone,
      weight: o.weight,
      limits: o.limits ?? {},
      workers: o.workers ?? 1,
      audit: {
        mode: audit.mode ?? 'count',
        maskable: (audit.maskable ?? (sidecarSettings.auditMaskable.schema.default as string)).split(',') as never,
        maxBytes: (audit.maxMegabytes ?? (sidecarSettings.auditMaxMegabytes.schema.default as number)) * 2 ** 20,
        maxAgeMs: parseDuration(audit.maxAge ?? (sidecarSettings.auditMaxAge.schema.default as string)) as number,
      },
    };
  }

  /** Read as the endpoints of a cluster are, so that they mean the same. */
  #group(app: string | InstancesSettings, service: string, at: string): Group {
    if (typeof app === 'string') {
      const { protocol, ...address } = this.#protocolAddress(app, at, ['http', 'h2c', 'tcp']);
      if (address.port === 0) this.report(at, 'must name a port, not 0');
      return { endpoints: { static: [formatHostPort(address)] }, protocol };
    }
    const { static: places, dns, ...rest } = app;
    if ((places === undefined) === (dns === undefined)) {
      this.report(at, 'needs one of: static, dns');
      return { endpoints: { static: [] } };
    }
    const endpoints = (places === undefined ? { dns } : { static: places }) as Group['endpoints'];
    const resource: ClusterResource = { kind: 'Cluster', name: service, endpoints, ...rest, plaintext: true };
    for (const { pointer = '', message, hint } of validateTraffic([{ resource }], { trustDomain: 'example.org' }))
      this.report(`${at}${pointer.replace(/^\/endpoints/, '')}`, message.replace(/^Cluster [^:]*: /, ''), hint);
    return { endpoints, ...rest };
  }

  #edge(o: ListenerSettings, at: string): EdgePort {
    const { hosts = [], tls, redirectToHttps, passthrough = false, trustedProxies = [], from } = o;
    const isRedirect = redirectToHttps !== undefined && redirectToHttps !== false;
    if (isRedirect && tls)
      this.report(`${at}/redirectToHttps`, 'stands beside tls: what came by HTTPS is there already');
    if (!isRedirect && hosts.length === 0)
      this.report(at, 'hosts is missing', 'list the names that may be called from outside; nothing else can be');
    if (passthrough && (tls || isRedirect))
      this.report(`${at}/passthrough`, 'stands beside what needs TLS to end here: tls, redirectToHttps');
    this.#blocks(trustedProxies, `${at}/trustedProxies`);
    if (from) this.#blocks(from, `${at}/from`);
    const { port = 443, status = 308 } = typeof redirectToHttps === 'object' ? redirectToHttps : {};
    if (![301, 302, 307, 308].includes(status))
      this.report(`${at}/redirectToHttps/status`, 'must be 301, 302, 307 or 308');
    return {
      listen: this.#address(o.listen, `${at}/listen`),
      hosts,
      tls: tls && this.#tls(tls, `${at}/tls`, hosts),
      passthrough,
      redirect: isRedirect ? { port, status } : undefined,
      trustedProxies,
      from,
    };
  }

  #tls(o: NonNullable<ListenerSettings['tls']>, at: string, hosts: readonly string[]): EdgePort['tls'] {
    const { certFile, keyFile, issued = false, certificates } = o;
    const ways = [certFile !== undefined || keyFile !== undefined, issued, certificates !== undefined];
    if (ways.filter(Boolean).length !== 1)
      this.report(at, 'needs one of: certFile with keyFile, certificates, or issued: true');
    if ((certFile === undefined) !== (keyFile === undefined))
      this.report(at, `${certFile === undefined ? 'certFile' : 'keyFile'} is missing`);
    const minVersion = o.minVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2';
    if (issued) return { minVersion, certificates: [{ hosts, own: undefined }] };
    const listed =
      certificates?.map((one, index) => ({ ...one, at: `${at}/certificates/${index}` })) ??
      (certFile !== undefined && keyFile !== undefined ? [{ certFile, keyFile, hosts: undefined, at }] : []);
    const pairs = listed.flatMap((one) => {
      const pair = this.#pair(one.certFile, one.keyFile, one.at);
      if (!pair) return [];
      const named = one.hosts ?? pair.names;
      if (named.length === 0 && listed.length > 1)
        this.report(one.at, 'hosts is missing, and the certificate names none');
      return [{ hosts: named, own: { cert: pair.cert, key: pair.key } }];
    });
    if (listed.length > 1 && pairs.length === listed.length)
      for (const host of hosts)
        if (!pairs.some((pair) => pair.hosts.some((pattern) => covers(pattern, host))))
          this.report(at, `has no certificate for ${host}`, 'add one, or take the name out of hosts');
    return { minVersion, certificates: pairs };
  }

  #pair(certFile: string, keyFile: string, at: string): CertificatePair | undefined {
    const [cert, key] = [this.#beside(certFile), this.#beside(keyFile)];
    const pair = readCertificate(cert, key);
    if ('fault' in pair) {
      this.report(`${at}/${pair.of}`, pair.fault);
      return undefined;
    }
    if (pair.notAfter <= this.#now)
      this.report(
        `${at}/certFile`,
        `${certFile} expired at ${new Date(pair.notAfter).toISOString()}`,
        undefined,
        this.warnings,
      );
    return pair;
  }

  #token({ service, tokenFile }: ServiceSettings, at: string): () => string | undefined {
    const given = this.#tokens.get(service);
    if (given !== undefined) return () => given;
    if (tokenFile === undefined) return () => undefined;
    const path = this.#beside(tokenFile);
    return () => {
      try {
        return readPrivateFile(path).toString().trim();
      } catch (thrown) {
        // Only whoever needs it is told, with the place where it is named.
        if (isPosternError(thrown) && thrown.code === 'FILE_EXPOSED') throw thrown;
        const [line] = this.#document ? placeOf(this.#document, `${at}/tokenFile`, false) : [1];
        throw new TypeError(`${this.#file}:${line}: ${messageOf(thrown)}`, { cause: thrown });
      }
    };
  }

  /** No two services of a name, no two listeners that want one port. */
  #assertOnce({ services }: GatewaySettings, { admin, metrics }: { admin: string; metrics: string }): void {
    const names = new Set<string>();
    services.forEach(({ service }, index) => {
      if (names.has(service)) this.report(`/services/${index}/service`, `${service} is there twice`);
      names.add(service);
    });
    const wanted: { readonly at: string; readonly address: string }[] = [
      { at: '/admin', address: admin },
      { at: '/metrics', address: metrics },
    ];
    services.forEach((one, index) => {
      const at = `/services/${index}`;
      if (one.inbound) wanted.push({ at: `${at}/inbound`, address: one.inbound });
      const outbound = typeof one.outbound === 'string' ? one.outbound : one.outbound?.listen;
      if (outbound) wanted.push({ at: `${at}/outbound`, address: outbound });
      for (const [name, address] of Object.entries(one.upstreams ?? {}))
        wanted.push({ at: `${at}/upstreams/${name}`, address: bareAddress(address) });
      (one.listeners ?? []).forEach(({ listen }, nth) => {
        wanted.push({ at: `${at}/listeners/${nth}/listen`, address: listen });
      });
    });
    wanted.forEach(({ at, address }, index) => {
      const other = wanted.slice(0, index).find((before) =>
        clash([
          ['a', before.address],
          ['b', address],
        ]),
      );
      if (other) this.report(at, `${address} wants the port of ${other.at.slice(1).replaceAll('/', ' ')}`);
    });
  }

  #blocks(blocks: readonly string[], at: string): void {
    blocks.forEach((text, index) => {
      const block = readBlock(text);
      if (typeof block === 'string') this.report(`${at}/${index}`, `${text}: ${block}`);
    });
  }

  #address(text: string, at: string): HostPort {
    const address = parseHostPort(text);
    if (address) return address;
    this.report(at, `must be HOST:PORT, not ${text}`);
    return { host: '127.0.0.1', port: 0 };
  }

  #protocolAddress<P extends string>(
    text: string,
    at: string,
    protocols: readonly P[],
  ): HostPort & { readonly protocol: P } {
    const [, named] = /^([a-z0-9]+):\/\//.exec(text) ?? [];
    const protocol = protocols.find((one) => one === (named ?? protocols[0]))!;
    return { ...this.#address(bareAddress(text), at), protocol };
  }

  #beside(file: string): string {
    const path = resolve(dirname(resolve(this.#file)), file);
    this.files.push(path);
    return path;
  }
}

function covers(pattern: string, host: string): boolean {
  if (pattern === host) return true;
  return pattern.startsWith('*.') && host.replace(/^\*\./, '').endsWith(pattern.slice(1)) && host !== pattern.slice(2);
}
