// Header compression against the vectors of RFC 7541 appendix C, against nghttp2 as it is in Node, and against itself.
import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fieldFault, fieldKind } from '../../../proxy/http2/field-kinds.ts';
import { HpackDecoder } from '../../../proxy/http2/hpack-decode.ts';
import { HpackEncoder } from '../../../proxy/http2/hpack-encode.ts';
import { staticTable } from '../../../proxy/http2/hpack-table.ts';
import { decodeHuffman } from '../../../proxy/http2/huffman.ts';
import { Output } from '../../../proxy/output.ts';
import { ask, callOurs, hello, serveOurs } from '../../helpers/http2.ts';

const limits = { listBytes: 20_000, fields: 134 };
const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');
const decodeAll = (blocks: readonly string[]): string[][] => {
  const decoder = new HpackDecoder(limits);
  return blocks.map((text) => decoder.decode(hex(text), 0, hex(text).length));
};
/** A table of 256 bytes, as the examples of C.5 and C.6 have it. */
const small = '3fe101';

describe('RFC 7541 appendix C', () => {
  const requests = [
    [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
    [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com', 'cache-control', 'no-cache'],
    [
      ':method',
      'GET',
      ':scheme',
      'https',
      ':path',
      '/index.html',
      ':authority',
      'www.example.com',
      'custom-key',
      'custom-value',
    ],
  ];
  const dates = ['Mon, 21 Oct 2013 20:13:21 GMT', 'Mon, 21 Oct 2013 20:13:22 GMT'];
  const location = 'https://www.example.com';
  const cookie = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';
  const responses = [
    [':status', '302', 'cache-control', 'private', 'date', dates[0]!, 'location', location],
    [':status', '307', 'cache-control', 'private', 'date', dates[0]!, 'location', location],
    [
      ':status',
      '200',
      'cache-control',
      'private',
      'date',
      dates[1]!,
      'location',
      location,
      'content-encoding',
      'gzip',
      'set-cookie',
      cookie,
    ],
  ];
  test.each([
    [
      'C.2.1 literal with indexing',
      ['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'],
      [['custom-key', 'custom-header']],
    ],
    ['C.2.2 literal without indexing', ['040c 2f73 616d 706c 652f 7061 7468'], [[':path', '/sample/path']]],
    ['C.2.3 literal never indexed', ['1008 7061 7373 776f 7264 0673 6563 7265 74'], [['password', 'secret']]],
    ['C.2.4 indexed', ['82'], [[':method', 'GET']]],
    [
      'C.3 requests',
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
      requests,
    ],
    [
      'C.4 requests with Huffman',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
      requests,
    ],
    [
      'C.5 responses, with eviction',
      [
        `${small} 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        '4803 3330 37c1 c0bf',
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
      ],
      responses,
    ],
    [
      'C.6 responses with Huffman, with eviction',
      [
        `${small} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        '4883 640e ffc1 c0bf',
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      ],
      responses,
    ],
  ])('%s', (_, blocks, fields) => {
    expect(decodeAll(blocks)).toEqual(fields);
  });

  test('the static table has 61 entries', () => {
    expect(staticTable.slice(1).map((entry) => `${entry!.name} ${entry!.value}`)).toHaveLength(61);
    expect(staticTable[61]!.name).toBe('www-authenticate');
    expect(staticTable[16]).toMatchObject({ name: 'accept-encoding', value: 'gzip, deflate' });
  });
});

describe('what is no header block', () => {
  test.each([
    ['an index of zero', '80'],
    ['an index outside the tables', 'be'],
    ['a name index outside the tables', '7f00 0161'],
    ['an integer that ends early', 'ff'],
    ['an integer that never ends', 'ffffffffffff00'],
    ['an integer above 2^28', 'ff8080808001'],
    ['a string longer than the block', '4005 6162'],
    ['a value that is missing', '4001 61'],
    ['a table size above the announced one', '3fe21f'],
    ['a table size update after a field', '8220'],
    ['three table size updates', '202020'],
    ['Huffman padding of a whole byte', '0081 ffff 0161'],
    ['Huffman padding of zeros', '0081 0001 61'],
    ['Huffman with EOS in it', '0084 ffff fffc 0161'],
    ['Huffman cut inside a code', '0081 fe01 61'],
  ])('%s is refused', (_, text) => {
    expect(() => decodeAll([text])).toThrow(/header block is invalid/);
  });

  test('an entry larger than the table empties it', () => {
    const decoder = new HpackDecoder(limits);
    decoder.decode(hex('4001 6101 62'), 0, 5);
    const large = Buffer.concat([hex('4001 637f 811f'), Buffer.alloc(4_096, 'x')]);
    decoder.decode(large, 0, large.length);
    expect(() => decoder.decode(hex('be'), 0, 1)).toThrow(/outside the tables/);
  });

  test('P4: a block that decodes to far more than it weighs is read to its end, and nothing of the excess is kept', () => {
    const decoder = new HpackDecoder({ listBytes: 16_384, fields: 100_000 });
    const bomb = Buffer.concat([hex('4001 617f 8118'), Buffer.alloc(3_200, 'x'), Buffer.alloc(14_000, 0xbe)]);
    const fields = decoder.decode(bomb, 0, bomb.length);
    expect(decoder.isTooLarge).toBe(true);
    expect(fields.length / 2).toBeLessThan(6);
    expect(decoder.decode(hex('be'), 0, 1)[0]).toBe('a');
    expect(decoder.isTooLarge).toBe(false);
  });

  test.each([
    ['an upper-case name', '0001 4101 62', fieldFault.name],
    ['an empty name', '0000 0162', fieldFault.name],
    ['a name with a colon inside', '0003 613a 6201 62', fieldFault.name],
    ['a name of a colon only', '0001 3a01 62', fieldFault.name],
    ['a name with a space', '0002 6120 0162', fieldFault.name],
    ['a value with NUL', '0001 6101 00', fieldFault.control | 0],
    ['a value with CR', '0001 6103 620d 62', fieldFault.control],
    ['a value with LF', '0001 6103 620a 62', fieldFault.control],
    ['a value with DEL', '0001 6101 7f', fieldFault.control],
    ['a value with a high byte', '0001 6101 ff', fieldFault.high],
    ['a value that begins with a space', '0001 6102 2062', fieldFault.edge],
    ['a value that ends with a tab', '0001 6102 6209', fieldFault.edge],
    ['a value with a space inside', '0001 6103 6220 62', fieldFault.none],
    ['an empty value', '0001 6100', fieldFault.none],
  ])('%s is told', (_, text, fault) => {
    const decoder = new HpackDecoder(limits);
    decoder.decode(hex(text), 0, hex(text).length);
    expect(decoder.fault).toBe(fault);
  });

  test('what was wrong with an entry is still known when its index is used', () => {
    const decoder = new HpackDecoder(limits);
    decoder.decode(hex('4001 4101 62'), 0, 5);
    decoder.decode(hex('be'), 0, 1);
    expect(decoder.fault).toBe(fieldFault.name);
    decoder.decode(hex('7e01 63'), 0, 3);
    expect(decoder.fault).toBe(fieldFault.name);
  });

  test('special names are known in every spelling of a block', () => {
    const decoder = new HpackDecoder(limits);
    const literal = Buffer.concat([hex('000a'), Buffer.from('connection'), hex('0161')]);
    decoder.decode(literal, 0, literal.length);
    expect(decoder.kinds[0]).toBe(fieldKind.connection);
    decoder.decode(hex('7901 61'), 0, 3);
    expect(decoder.kinds[0]).toBe(fieldKind.connection);
  });
});

test('arbitrary bytes are decoded or refused, nothing else', () => {
  const decoder = { one: new HpackDecoder(limits) };
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const block = Buffer.from(bytes);
      try {
        decoder.one.decode(block, 0, block.length);
      } catch (thrown) {
        expect((thrown as Error).name).toBe('LinkError');
        decoder.one = new HpackDecoder(limits);
      }
    }),
    { numRuns: 20_000 },
  );
});

test('Huffman decoding writes only into its target and never more than it says', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const target = Buffer.alloc(Math.ceil((bytes.length * 8) / 5));
      const size = decodeHuffman(bytes, 0, bytes.length, target);
      expect(size).toBeLessThanOrEqual(target.length);
    }),
    { numRuns: 20_000 },
  );
});

const name = fc
  .stringMatching(/^[a-z0-9_.~-]{1,24}$/)
  .filter((text) => !/^(?:te|host|connection|upgrade|keep-alive)$/.test(text));
const value = fc.oneof(
  fc.constantFrom('', 'a', 'same', 'x'.repeat(400)),
  fc.stringMatching(/^[!-~]([ -~]{0,40}[!-~])?$/),
);
const list = fc.array(fc.tuple(fc.oneof(fc.constantFrom('cookie', 'x-a', 'x-b', 'content-type'), name), value), {
  maxLength: 12,
});

test('what our encoder writes our decoder reads, whatever the table may hold', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(list, fc.option(fc.integer({ min: 0, max: 5_000 }))), { maxLength: 30 }),
      (blocks) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder({ listBytes: 1_000_000, fields: 1_000 });
        const out = new Output();
        for (const [fields, size] of blocks) {
          if (size !== null) encoder.setLimit(size);
          const flat = fields.flat();
          out.room(40_000);
          const start = out.at;
          encoder.begin(out);
          encoder.fields(out, flat);
          expect(decoder.decode(out.bytes, start, out.at)).toEqual(flat);
          out.take(() => true);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('secrets are never put into a table', () => {
  const encoder = new HpackEncoder();
  const out = new Output();
  out.room(1_000);
  const sizes = [1, 2, 3].map(() => {
    const start = out.at;
    encoder.begin(out);
    encoder.field(out, 'authorization', 'Bearer abc');
    expect(out.bytes[start]! & 0xf0).toBe(0x10);
    return out.at - start;
  });
  expect(new Set(sizes).size).toBe(1);
});

describe('nghttp2', () => {
  // Names that could be taken for one another are refused above the codec.
  const plain = fc.stringMatching(/^[a-z][a-z0-9-]{5,24}$/).filter((text) => !/^(?:upgrade|keep-alive)$/.test(text));
  const headers = fc.uniqueArray(fc.tuple(plain, fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/)), {
    selector: ([key]) => key,
    maxLength: 10,
  });

  test('reads what our encoder writes, over one connection', async () => {
    const server = http2.createServer({ maxHeaderListPairs: 200 }, (incoming, response) => {
      const { headers: got } = incoming;
      response.end(JSON.stringify(Object.entries(got).filter(([key]) => !key.startsWith(':'))));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const call = await callOurs((server.address() as AddressInfo).port);
    await fc.assert(
      fc.asyncProperty(headers, async (pairs) => {
        const answer = await ask(call.upstream, { fields: pairs.flat() });
        const got = new Map(JSON.parse(answer.body.toString()) as [string, string][]);
        expect([...got].toSorted()).toEqual(pairs.map(([key, text]) => [key, text]).toSorted());
      }),
      { numRuns: 300 },
    );
    call.close();
    server.close();
  });

  test('writes what our decoder reads, over one connection, every byte that a value may have', async () => {
    const ours = await serveOurs(hello);
    const client = http2.connect(`http://127.0.0.1:${ours.port}`);
    await fc.assert(
      fc.asyncProperty(headers, async (pairs) => {
        const before = ours.requests.length;
        const stream = client.request({ ...Object.fromEntries(pairs), ':path': '/' });
        stream.resume();
        await once(stream, 'response');
        const { fields } = ours.requests[before]!;
        const got: [string, string][] = [];
        for (let at = 0; at < fields.length; at += 2) got.push([fields[at]!, fields[at + 1]!]);
        expect(got.toSorted()).toEqual(pairs.toSorted());
      }),
      { numRuns: 300 },
    );
    client.close();
    ours.close();
  });
});
