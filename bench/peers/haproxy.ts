// HAProxy as a pair of proxies with mutual TLS 1.3 and HTTP/2 between them, one thread each.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HopOptions } from './nginx.ts';
import { type Measured, startServer } from './processes.ts';
import { neededPath } from './programs.ts';

async function start(o: { folder: string; port: number; bind: string; server: string }): Promise<Measured> {
  mkdirSync(o.folder, { recursive: true });
  const file = join(o.folder, 'haproxy.cfg');
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 6000
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  http-reuse always
frontend here
  bind 127.0.0.1:${o.port}${o.bind}
  default_backend next
backend next
  server next 127.0.0.1:${o.server}
`,
  );
  return startServer({ command: neededPath('haproxy'), args: ['-db', '-q', '-f', file], port: o.port });
}

/** The hop beside the caller: plain in, mutual TLS out. */
export function startHaproxyOut({ folder, port, to, certificates: { root, web } }: HopOptions): Promise<Measured> {
  const checked = `verify required ca-file ${root} sni str(payments) verifyhost payments`;
  return start({ folder, port, bind: '', server: `${to} ssl alpn h2 crt ${web.both} ${checked}` });
}

/** The hop beside the application: mutual TLS in, plain out. */
export function startHaproxyIn({ folder, port, to, certificates: { root, payments } }: HopOptions): Promise<Measured> {
  const bind = ` ssl alpn h2 crt ${payments.both} verify required ca-file ${root}`;
  return start({ folder, port, bind, server: String(to) });
}
