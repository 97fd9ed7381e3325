// SETTINGS (RFC 9113 section 6.5): what we announce, and what the other side has announced, checked value by value.
import { frameHead, frameType, read32, writeFrameHead } from './frames.ts';
import { tableBytes } from './hpack-table.ts';
import type { LinkLimits } from './limits.ts';
import { errorCode, LinkError } from './link-error.ts';

const setting = {
  tableSize: 0x1,
  enablePush: 0x2,
  streams: 0x3,
  window: 0x4,
  frameSize: 0x5,
  listSize: 0x6,
  connectProtocol: 0x8,
  noPriorities: 0x9,
} as const;

/** What the other side allows; the values before it has said anything are those of section 6.5.2. */
export interface PeerSettings {
  tableSize: number;
  streams: number;
  window: number;
  frameSize: number;
  /** Whether CONNECT may carry `:protocol` (RFC 8441). */
  connectProtocol: boolean;
  /** RFC 9218 section 2.1: said once, in the first SETTINGS, or never. */
  noPriorities: number | undefined;
}

/** Streams taken for granted until the other side says how many it takes. */
const assumedStreams = 100;
export const defaultWindow = 65_535;
export const largestWindow = 0x7fff_ffff;
const leastFrame = 16_384;
const mostFrame = 16_777_215;
const mostSettings = 32;

export function initialSettings(): PeerSettings {
  return {
    tableSize: tableBytes,
    streams: assumedStreams,
    window: defaultWindow,
    frameSize: leastFrame,
    connectProtocol: false,
    noPriorities: undefined,
  };
}

/** Our SETTINGS as a frame. */
export function settingsFrame(o: {
  limits: LinkLimits;
  listBytes: number;
  isServer: boolean;
  takesConnect: boolean;
}): Buffer {
  const pairs: [number, number][] = [
    [setting.streams, o.isServer ? o.limits.streams : 0],
    [setting.window, o.limits.streamWindow],
    [setting.frameSize, o.limits.frameBytes],
    [setting.listSize, o.listBytes],
  ];
  if (!o.isServer) pairs.push([setting.enablePush, 0]);
  if (o.isServer && o.takesConnect) pairs.push([setting.connectProtocol, 1]);
  const frame = Buffer.alloc(frameHead + pairs.length * 6);
  writeFrameHead(frame, 0, pairs.length * 6, frameType.settings, 0, 0);
  for (const [index, [id, value]] of pairs.entries()) {
    frame.writeUInt16BE(id, frameHead + index * 6);
    frame.writeUInt32BE(value, frameHead + index * 6 + 2);
  }
  return frame;
}

/** Takes over the payload `bytes[from, to)`; throws `LinkError`. Later values win, as if they had come one after the other. */
export function readSettings(
  settings: PeerSettings,
  o: { bytes: Buffer; from: number; to: number; isServer: boolean },
): void {
  if ((o.to - o.from) % 6 !== 0) throw new LinkError(errorCode.frameSize, 'a SETTINGS frame has a broken entry');
  if (o.to - o.from > mostSettings * 6)
    throw new LinkError(errorCode.enhanceYourCalm, 'a SETTINGS frame has too many entries', 'http2-settings');
  for (let at = o.from; at < o.to; at += 6) {
    const id = (o.bytes[at]! << 8) | o.bytes[at + 1]!;
    const value = read32(o.bytes, at + 2);
    switch (id) {
      case setting.tableSize:
        settings.tableSize = value;
        break;
      case setting.enablePush:
        if (value > 1 || (value === 1 && !o.isServer)) refuse('ENABLE_PUSH');
        break;
      case setting.streams:
        settings.streams = value;
        break;
      case setting.window:
        if (value > largestWindow) throw new LinkError(errorCode.flowControl, 'INITIAL_WINDOW_SIZE is out of range');
        settings.window = value;
        break;
      case setting.frameSize:
        if (value < leastFrame || value > mostFrame) refuse('MAX_FRAME_SIZE');
        settings.frameSize = value;
        break;
      case setting.connectProtocol:
        if (value > 1 || (value === 0 && settings.connectProtocol)) refuse('ENABLE_CONNECT_PROTOCOL');
        settings.connectProtocol = value === 1;
        break;
      case setting.noPriorities:
        if (value > 1 || (settings.noPriorities ?? value) !== value) refuse('NO_RFC7540_PRIORITIES');
        settings.noPriorities = value;
        break;
    }
  }
  settings.noPriorities ??= 0;
}

function refuse(name: string): never {
  throw new LinkError(errorCode.protocol, `${name} is out of range`);
}
