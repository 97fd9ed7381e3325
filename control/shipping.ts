// Decisions to other systems, as part of the server: each destination on its own, from where it was, until it has taken them. What it has not taken stays in
// the store; a destination that is away, or slow, holds up neither another one nor any proxy.
import { join } from 'node:path';
import { deliverToFile, deliverToOtlp, type ExportFormat, type RecordStore, shipRecords } from '#audit';
import type { Clock } from '#base/clock';
import { messageOf } from '#base/error';
import { makePrivateFolder } from '#base/files';
import type { Log } from '#base/log';

export interface Destination {
  /** Its cursor is kept under this name. */
  readonly name: string;
  /** An OTLP/HTTP endpoint, or `file:` and an absolute path. */
  readonly to: string;
  /** Of files. */
  readonly format: ExportFormat;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Shipping {
  /** Destinations that do not take what is sent to them now. */
  readonly inTrouble: number;
  close(): void;
}

const againMs = 5_000;

export function startShipping(o: {
  readonly home: string;
  readonly destinations: readonly Destination[];
  readonly records: Pick<RecordStore, 'query'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly onShipped: (destination: string, count: number) => void;
}): Shipping {
  const { destinations, records, clock, random } = o;
  const stop = new AbortController();
  const { signal } = stop;
  const troubled = new Set<string>();
  const wait = (ms: number, until: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (until.aborted) return resolve();
      const done = (): void => {
        cancel();
        until.removeEventListener('abort', done);
        resolve();
      };
      const cancel = clock.after(ms, done);
      until.addEventListener('abort', done);
    });
  const folder = join(o.home, 'ship');
  if (destinations.length > 0) makePrivateFolder(folder);

  const ship = async ({ name, to, format, headers }: Destination): Promise<void> => {
    const log = o.log.with({ destination: name });
    while (!signal.aborted) {
      try {
        await shipRecords({
          fetch: async (after, limit) => records.query({ after, limit }),
          deliver: to.startsWith('file:')
            ? deliverToFile(to.slice('file:'.length), format)
            : deliverToOtlp(to, headers),
          ...{ cursorPath: join(folder, `${name}.cursor`), signal, wait, random },
          onTrouble: (message, isOver) => {
            if (isOver) troubled.delete(name);
            else troubled.add(name);
            log.warn(message);
          },
          onShipped: (count) => o.onShipped(name, count),
        });
      } catch (thrown) {
        // How far it is could not be kept: the same records are sent again.
        troubled.add(name);
        log.error(`decisions cannot be handed on: ${messageOf(thrown)}`);
        await wait(againMs, signal);
        troubled.delete(name);
      }
    }
  };
  for (const destination of destinations) void ship(destination);
  return {
    get inTrouble() {
      return troubled.size;
    },
    close: () => stop.abort(),
  };
}
