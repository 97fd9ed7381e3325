// A status as a label: itself when it is registered, its class otherwise, so that nobody makes numbers by making up statuses.
import { STATUS_CODES } from 'node:http';

const labels = new Map(Object.keys(STATUS_CODES).map((code) => [Number(code), code]));

export function statusLabel(status: number | undefined): string {
  if (status === undefined) return 'none';
  return labels.get(status) ?? `${Math.floor(status / 100)}xx`;
}
