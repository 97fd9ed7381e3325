// HTTP/1.1 heads as bytes (latin1 text). Framing fields are written here only, from what is known of the body, never from what somebody sent.
import { createHash } from 'node:crypto';
import type { ResponseHead } from '../exchange.ts';
import type { FieldList, RequestHead } from '../request-head.ts';
import { unknownLength } from '../request-head.ts';

/** Methods for which a missing Content-Length would leave some servers waiting (RFC 9110 section 8.6). */
const expectsBody = new Set(['POST', 'PUT', 'PATCH']);

/** `webSocketKey`: of a WebSocket, a fresh one (RFC 6455 section 4.1). */
export function requestText(head: RequestHead, fields: FieldList, webSocketKey = ''): string {
  if (head.tunnel === 'connect') {
    const target = head.authority.includes(':', head.authority.indexOf(']') + 1)
      ? head.authority
      : `${head.authority}:80`;
    return `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n${fieldText(fields)}\r\n`;
  }
  if (head.tunnel === 'websocket') {
    const upgrade = `connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${webSocketKey}\r\n`;
    return `GET ${head.path}${head.query} HTTP/1.1\r\nhost: ${head.authority}\r\n${upgrade}${fieldText(fields)}\r\n`;
  }
  let text = `${head.method} ${head.path}${head.query} HTTP/1.1\r\nhost: ${head.authority}\r\n`;
  if (head.length === unknownLength) text += 'transfer-encoding: chunked\r\n';
  else if (head.length > 0 || expectsBody.has(head.method)) text += `content-length: ${head.length}\r\n`;
  if (head.expectsContinue) text += 'expect: 100-continue\r\n';
  return `${text}${fieldText(fields)}\r\n`;
}

/** `framing`: how the body will be sent. `none` also for HEAD and 304, whose declared length is still told. */
export function responseText(
  head: ResponseHead,
  o: { framing: 'length' | 'chunked' | 'close' | 'none'; close: boolean; minor: 0 | 1 },
): string {
  let text = `HTTP/1.1 ${head.status} ${head.reason}\r\n${fieldText(head.fields)}`;
  if (o.framing === 'chunked') text += 'transfer-encoding: chunked\r\n';
  else if (head.length !== unknownLength && mayHaveLength(head.status)) text += `content-length: ${head.length}\r\n`;
  if (o.close) text += 'connection: close\r\n';
  return `${text}\r\n`;
}

/** The positive answer after which bytes follow. `webSocketKey`: the one of the request, when it was for a WebSocket. */
export function tunnelText(head: ResponseHead, webSocketKey: string | undefined): string {
  if (webSocketKey === undefined)
    return `HTTP/1.1 ${head.status} ${head.reason || 'OK'}\r\n${fieldText(head.fields)}\r\n`;
  const upgrade = `connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${webSocketAccept(webSocketKey)}\r\n`;
  return `HTTP/1.1 101 Switching Protocols\r\n${upgrade}${fieldText(head.fields)}\r\n`;
}

/** What proves that a server has read the key (RFC 6455 section 4.2.2). */
export function webSocketAccept(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

export function chunkHead(size: number): string {
  return `${size.toString(16)}\r\n`;
}

export function chunkedEnd(trailers: FieldList): string {
  return trailers.length === 0 ? '0\r\n\r\n' : `0\r\n${fieldText(trailers)}\r\n`;
}

/** 1xx and 204 never carry a length (RFC 9110 section 8.6). */
function mayHaveLength(status: number): boolean {
  return status >= 200 && status !== 204;
}

function fieldText(fields: FieldList): string {
  let text = '';
  for (let at = 0; at < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`;
  return text;
}
