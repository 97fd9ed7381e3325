// nginx: as the application that all pairs stand before, and as a pair of proxies with mutual TLS 1.3 and HTTP/1.1 kept alive between them.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PeerCertificates } from './certificates.ts';
import { type Measured, startServer } from './processes.ts';
import { neededPath } from './programs.ts';

/** One worker, nothing logged, connections kept for as long as anybody wants them. */
async function start(o: { folder: string; port: number; http: string }): Promise<Measured> {
  mkdirSync(o.folder, { recursive: true, mode: 0o755 });
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const file = join(o.folder, 'nginx.conf');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    file,
    `${user}
daemon off; worker_processes 1; worker_rlimit_nofile 16384; pid ${join(o.folder, 'nginx.pid')}; error_log stderr error;
events { worker_connections 12000; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 300; tcp_nodelay on;
  ${temporary.map((name) => `${name}_temp_path ${join(o.folder, name)};`).join(' ')}
  ${o.http}
}
`,
  );
  return startServer({ command: neededPath('nginx'), args: ['-p', o.folder, '-c', file], port: o.port });
}

/** Answers every request with 1 KB, and paths below /files/ with files of `files`. */
export function startNginxApp(o: { folder: string; port: number; files: string }): Promise<Measured> {
  const answer = `return 200 "${'x'.repeat(1_024)}";`;
  const files = `location /files/ { alias ${o.files}/; sendfile on; }`;
  return start({ ...o, http: `server { listen 127.0.0.1:${o.port} backlog=1024; location / { ${answer} } ${files} }` });
}

const onward = `proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_request_buffering off; client_max_body_size 0;`;
const upstream = (port: number): string =>
  `upstream next { server 127.0.0.1:${port}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 300; }`;

export interface HopOptions {
  readonly folder: string;
  readonly port: number;
  readonly to: number;
  readonly certificates: PeerCertificates;
}

/** The hop beside the caller: plain in, mutual TLS out. */
export function startNginxOut({ folder, port, to, certificates: { root, web } }: HopOptions): Promise<Measured> {
  return start({
    folder,
    port,
    http: `${upstream(to)}
  server { listen 127.0.0.1:${port} backlog=4096; location / { proxy_pass https://next; ${onward}
    proxy_ssl_protocols TLSv1.3; proxy_ssl_certificate ${web.certificate}; proxy_ssl_certificate_key ${web.key};
    proxy_ssl_verify on; proxy_ssl_trusted_certificate ${root}; proxy_ssl_name payments; } }`,
  });
}

/** The hop beside the application: mutual TLS in, plain out. */
export function startNginxIn({ folder, port, to, certificates: { root, payments } }: HopOptions): Promise<Measured> {
  return start({
    folder,
    port,
    http: `${upstream(to)}
  server { listen 127.0.0.1:${port} ssl backlog=4096; ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
    ssl_certificate ${payments.certificate}; ssl_certificate_key ${payments.key};
    ssl_verify_client on; ssl_client_certificate ${root};
    location / { proxy_pass http://next; ${onward} } }`,
  });
}
