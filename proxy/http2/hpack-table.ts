// The static table of HPACK (RFC 7541 appendix A), and the ring that holds a dynamic one (section 2.3.2).
import { kindOf } from './field-kinds.ts';

export interface Entry {
  readonly name: string;
  readonly value: string;
  /** `fieldKind` of the name. */
  readonly kind: number;
  /** `fieldFault` bits of name and value. */
  readonly fault: number;
  /** `fieldFault` bits of the name alone. */
  readonly nameFault: number;
}

/** What an entry weighs beside its name and value (section 4.1). */
export const entryOverhead = 32;

/** The table's size for both directions of every link; we neither announce nor use more than the default. */
export const tableBytes = 4_096;

const listed: readonly string[] = [
  ':authority',
  ':method GET',
  ':method POST',
  ':path /',
  ':path /index.html',
  ':scheme http',
  ':scheme https',
  ':status 200',
  ':status 204',
  ':status 206',
  ':status 304',
  ':status 400',
  ':status 404',
  ':status 500',
  'accept-charset',
  'accept-encoding gzip, deflate',
  'accept-language',
  'accept-ranges',
  'accept',
  'access-control-allow-origin',
  'age',
  'allow',
  'authorization',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'etag',
  'expect',
  'expires',
  'from',
  'host',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'last-modified',
  'link',
  'location',
  'max-forwards',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'referer',
  'refresh',
  'retry-after',
  'server',
  'set-cookie',
  'strict-transport-security',
  'transfer-encoding',
  'user-agent',
  'vary',
  'via',
  'www-authenticate',
];

/** Entry n of the table is at n; there is none at 0. */
export const staticTable: readonly (Entry | undefined)[] = [
  undefined,
  ...listed.map((line) => {
    const gap = line.indexOf(' ');
    const name = gap < 0 ? line : line.slice(0, gap);
    return { name, value: gap < 0 ? '' : line.slice(gap + 1), kind: kindOf(name), fault: 0, nameFault: 0 };
  }),
];

export const staticEntries = listed.length;

/** As many slots as the smallest entries can fill. */
const slots = tableBytes / entryOverhead;

/** Entries in the order they came; the oldest go first when there is no room. */
export class DynamicTable {
  /** Bytes it may hold; see `resize`. */
  limit = tableBytes;
  count = 0;
  #bytes = 0;
  #next = 0;
  readonly #ring: (Entry | undefined)[] = [];

  /** The entry at `place` counted from the newest, which is 0. */
  at(place: number): Entry | undefined {
    return place < this.count ? this.#ring[(this.#next - 1 - place) & (slots - 1)] : undefined;
  }

  /** An entry larger than the table empties it and is not kept (section 4.4). */
  insert(entry: Entry): void {
    const bytes = sizeOf(entry);
    this.#evict(this.limit - bytes);
    if (bytes > this.limit) return;
    this.#ring[this.#next & (slots - 1)] = entry;
    this.#next++;
    this.#bytes += bytes;
    this.count++;
  }

  resize(limit: number): void {
    this.limit = limit;
    this.#evict(limit);
  }

  #evict(most: number): void {
    while (this.count > 0 && this.#bytes > most) {
      const oldest = (this.#next - this.count) & (slots - 1);
      this.#bytes -= sizeOf(this.#ring[oldest]!);
      this.#ring[oldest] = undefined;
      this.count--;
    }
  }
}

function sizeOf({ name, value }: Entry): number {
  return name.length + value.length + entryOverhead;
}
