// Answers of this mesh's own as strangers may see them: what and whom a refusal was about stays inside, in the record that its id leads to.
import type { Downstream, ResponseHead } from './exchange.ts';
import { fieldsFromApp } from './headers.ts';
import { type FieldList, unknownLength } from './request-head.ts';

/**
 * Passes everything on but the words of proxies, this one and those behind it; applications cannot speak as a proxy. A proxy behind this one may be in
 * somebody else's hands: what stands in place of its refusal is whole whatever came of that, so that nobody reads the next answer as the rest of it.
 */
export class EdgeDownstream implements Downstream {
  readonly #downstream: Downstream;
  readonly #method: string;
  #isOurs = false;

  /** `method`: of the request, which says whether an answer has a body. */
  constructor(downstream: Downstream, method: string) {
    this.#downstream = downstream;
    this.#method = method;
  }

  inform(head: ResponseHead): void {
    this.#downstream.inform({ ...head, fields: fieldsFromApp(head.fields) });
  }

  head(head: ResponseHead): void {
    const isRefusal = fieldOf(head.fields, 'x-postern-hop') !== undefined;
    const grpcStatus = isRefusal ? fieldOf(head.fields, 'grpc-status') : undefined;
    if (grpcStatus === undefined && !(isRefusal && head.status >= 400))
      return this.#downstream.head({ ...head, fields: fieldsFromApp(head.fields) });
    this.#isOurs = true;
    if (grpcStatus !== undefined)
      return this.#downstream.head({ ...head, fields: grpcFields(head, grpcStatus), length: unknownLength });
    const decision = fieldOf(head.fields, 'x-postern-decision');
    const body = Buffer.from(`${JSON.stringify({ error: { message: wordFor(head.status), decision } })}\n`);
    const fields: string[] = ['content-type', 'application/json; charset=utf-8', 'cache-control', 'no-store'];
    for (const name of told) {
      const value = fieldOf(head.fields, name);
      if (value !== undefined) fields.push(name, value);
    }
    this.#downstream.head({ ...head, fields, length: body.length });
    if (this.#method !== 'HEAD') this.#downstream.data(body);
  }

  data(bytes: Buffer): boolean {
    return this.#isOurs || this.#downstream.data(bytes);
  }

  end(trailers: FieldList): void {
    this.#downstream.end(this.#isOurs ? [] : fieldsFromApp(trailers));
  }

  abort(atOnce: boolean): void {
    this.#downstream.abort(atOnce);
  }

  pauseRequest(): void {
    this.#downstream.pauseRequest();
  }

  resumeRequest(): void {
    this.#downstream.resumeRequest();
  }
}

function grpcFields({ fields }: ResponseHead, status: string): FieldList {
  const decision = fieldOf(fields, 'x-postern-decision');
  const kept = ['content-type', 'application/grpc', 'grpc-status', status, 'grpc-message', 'refused by the mesh'];
  return decision === undefined ? kept : [...kept, 'x-postern-decision', decision];
}

function fieldOf(fields: FieldList, name: string): string | undefined {
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}

/** What a stranger may know beside the status. */
const told = ['x-postern-decision', 'www-authenticate', 'retry-after', 'allow'];

const words: Readonly<Record<number, string>> = {
  401: 'a valid token is needed',
  403: 'access is denied',
  404: 'there is nothing here',
  408: 'the request took too long',
  413: 'the request is too large',
  421: 'this host is not served on this connection',
  429: 'too many requests',
  502: 'the service cannot be reached now',
  503: 'the service cannot be reached now',
  504: 'the service did not answer in time',
};

function wordFor(status: number): string {
  return words[status] ?? (status >= 500 ? 'the request failed' : 'the request was refused');
}

/** The answer that leads a caller to the same address by HTTPS. */
export function redirectReply(
  status: number,
  location: string,
): { readonly head: ResponseHead; readonly body: Buffer } {
  const fields = ['location', location, 'cache-control', 'no-store'];
  return {
    head: { status, reason: status === 308 ? 'Permanent Redirect' : 'Redirect', fields, length: 0 },
    body: Buffer.alloc(0),
  };
}
