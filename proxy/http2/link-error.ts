// What ends a whole HTTP/2 connection: an error code of RFC 9113 section 7 and why. Thrown by the readers of this folder and caught in one
// place, link.ts; it never leaves the folder.

export const errorCode = {
  none: 0x0,
  protocol: 0x1,
  internal: 0x2,
  flowControl: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSize: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compression: 0x9,
  connect: 0xa,
  enhanceYourCalm: 0xb,
} as const;

export class LinkError extends Error {
  readonly code: number;
  /** Which bound of ours has bitten, when it was one. */
  readonly limit: string | undefined;

  constructor(code: number, reason: string, limit?: string) {
    super(reason);
    this.name = 'LinkError';
    this.code = code;
    this.limit = limit;
  }
}
